"""The sealed format: S33, S34, S72, S74."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ConfigurationError, InvalidCookie
from sidecar.core.seal import (
    MAX_TOKEN_BYTES,
    SEALING_OVERHEAD,
    KeyRing,
    decode_base64url,
    encode_base64url,
    sealed_length,
)
from sidecar.core.secret import Secret
from tests.core.sessionsetup import KEY_A, KEY_B, RING, Entropy

PLAIN = b"ada@example.com"
SITE = "https://app.example.com"


def seal(ring: KeyRing = RING, plain: bytes = PLAIN) -> bytes:
    return ring.seal(plain, purpose="session", name=b"c", site=SITE, entropy=Entropy())


def unseal(token: bytes, ring: KeyRing = RING) -> bytes:
    return ring.open(token, purpose="session", name=b"c", site=SITE)


class TestFormat:
    def test_sealed_opens(self) -> None:
        assert unseal(seal()) == PLAIN

    def test_token_is_version_key_id_nonce_and_ciphertext(self) -> None:
        data = decode_base64url(seal())
        assert data[0] == 1
        assert data[5:17] == Entropy()(12)
        assert len(data) == len(PLAIN) + SEALING_OVERHEAD

    def test_token_shows_nothing_of_its_content(self) -> None:
        """S33: neither as it is nor decoded."""
        token = seal()
        assert PLAIN not in token
        assert PLAIN not in decode_base64url(token)

    def test_token_is_made_of_cookie_characters(self) -> None:
        alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        assert set(seal(plain=bytes(range(256)))) <= set(alphabet)

    @given(st.binary(max_size=300))
    def test_every_plaintext_comes_back_and_its_length_is_known(self, plain: bytes) -> None:
        token = seal(plain=plain)
        assert len(token) == sealed_length(len(plain))
        assert unseal(token) == plain

    def test_each_seal_has_its_own_nonce(self) -> None:
        entropy = Entropy()
        tokens = {RING.seal(PLAIN, purpose="p", name=b"n", site=SITE, entropy=entropy) for _ in range(50)}
        assert len({decode_base64url(token)[5:17] for token in tokens}) == 50


class TestBinding:
    """S33: purpose, name and site are associated data."""

    @pytest.mark.parametrize(
        ("purpose", "name", "site"),
        [
            ("transaction", b"c", SITE),
            ("session", b"d", SITE),
            ("session", b"c", "https://other.example.com"),
            ("session", b"c" + SITE.encode(), ""),
            ("sessio", b"nc", SITE),
            ("session", b"", "c" + SITE),
        ],
    )
    def test_other_purpose_name_or_site_does_not_open(self, purpose: str, name: bytes, site: str) -> None:
        with pytest.raises(InvalidCookie):
            RING.open(seal(), purpose=purpose, name=name, site=site)

    def test_one_key_serves_each_purpose_with_a_key_of_its_own(self) -> None:
        """S74: with the same nonce and plaintext two purposes yield different ciphertexts."""
        first, second = (
            RING.seal(PLAIN, purpose=purpose, name=b"c", site=SITE, entropy=Entropy()) for purpose in "ab"
        )
        assert decode_base64url(first)[17 : 17 + len(PLAIN)] != decode_base64url(second)[17 : 17 + len(PLAIN)]


class TestRefusal:
    @pytest.mark.parametrize("position", range(sealed_length(len(PLAIN))))
    def test_any_changed_character_is_refused(self, position: int) -> None:
        """S33: also one whose surplus bits most decoders ignore (the last character)."""
        token = seal()
        for other in b"AQgw-_+/=. \x00\xff":
            if other != token[position]:
                changed = token[:position] + bytes((other,)) + token[position + 1 :]
                with pytest.raises(InvalidCookie):
                    unseal(changed)

    @pytest.mark.parametrize("bit", range(8 * (len(PLAIN) + SEALING_OVERHEAD)))
    def test_any_flipped_bit_is_refused(self, bit: int) -> None:
        """S33: version, key id, nonce, ciphertext and tag alike, and always with the same code."""
        data = bytearray(decode_base64url(seal()))
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidCookie) as caught:
            unseal(encode_base64url(bytes(data)))
        assert str(caught.value) == "sealed_invalid"

    @pytest.mark.parametrize(
        "change",
        [
            lambda token: token[:0],
            lambda token: token[:-1],
            lambda token: token[1:],
            lambda token: token + b"A",
            lambda token: token + b"=",
            lambda token: token + b"\n",
            lambda token: b" " + token,
            lambda token: token + token,
            lambda token: b'"' + token + b'"',
            lambda token: token[:40],
            lambda token: base64.b64encode(decode_base64url(token)),
            lambda token: b"A" * len(token),
        ],
    )
    def test_anything_else_is_refused_with_the_same_code(self, change: Callable[[bytes], bytes]) -> None:
        token = seal(plain=b"\xff" * 20)
        if change(token) != token:
            with pytest.raises(InvalidCookie) as caught:
                unseal(change(token))
            assert str(caught.value) == "sealed_invalid"

    def test_a_huge_token_is_refused_before_it_is_decoded(self) -> None:
        """S25: 100 KB of cookie."""
        with pytest.raises(InvalidCookie):
            unseal(b"A" * (MAX_TOKEN_BYTES + 1))

    @given(st.binary(max_size=400))
    def test_no_bytes_open_by_chance(self, token: bytes) -> None:
        with pytest.raises(InvalidCookie):
            unseal(token)

    @given(st.binary(max_size=120))
    def test_base64url_has_one_spelling(self, text: bytes) -> None:
        try:
            data = decode_base64url(text)
        except InvalidCookie:
            return
        assert encode_base64url(data) == text


class TestKeys:
    def test_every_key_opens_and_the_first_seals(self) -> None:
        """S34: the way of a rotation."""
        old = seal(KeyRing.from_secrets([KEY_A]))
        both = KeyRing.from_secrets([KEY_B, KEY_A])
        assert unseal(old, both) == PLAIN
        new = seal(both)
        assert unseal(new, KeyRing.from_secrets([KEY_B])) == PLAIN
        with pytest.raises(InvalidCookie):
            unseal(new, KeyRing.from_secrets([KEY_A]))

    def test_removed_key_opens_nothing(self) -> None:
        """S34: as if there was no cookie."""
        with pytest.raises(InvalidCookie):
            unseal(seal(), KeyRing.from_secrets([KEY_B]))

    def test_development_and_normal_mode_never_open_each_others(self) -> None:
        """S72: not even with the same key."""
        live, dev = KeyRing.from_secrets([KEY_A]), KeyRing.from_secrets([KEY_A], mode="dev")
        assert unseal(seal(dev), dev) == PLAIN
        for token, ring in ((seal(dev), live), (seal(live), dev)):
            with pytest.raises(InvalidCookie):
                unseal(token, ring)

    def test_no_key_is_an_error_of_the_operator(self) -> None:
        with pytest.raises(ConfigurationError, match="at least one key"):
            KeyRing.from_secrets([])

    @pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
    def test_key_of_another_length_is_an_error_that_tells_the_length(self, length: int) -> None:
        with pytest.raises(ConfigurationError, match=rf"session.keys\[1\] has {length} bytes") as caught:
            KeyRing.from_secrets([KEY_A, Secret(b"z" * length)])
        assert "zzz" not in str(caught.value)

    def test_same_key_twice_is_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match="twice"):
            KeyRing.from_secrets([KEY_A, KEY_A])

    def test_ring_shows_no_key(self) -> None:
        assert repr(KeyRing.from_secrets([KEY_A, KEY_B])) == "KeyRing(2 keys)"
