"""What a login's state holds: S66."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import InvalidCookie
from sidecar.core.loginstate import LoginSecrets, LoginState, pack_url, unpack_url
from sidecar.core.returnurl import MAX_RETURN_URL_BYTES
from tests.core.sessionsetup import RING, Entropy

SITE = "https://app.example.com"
STATE = LoginState(
    id="abcdefgh",
    proof="proof",
    created_at=1_700_000_000,
    attempts=2,
    provider="main",
    issuer="https://id.example.com",
    return_to="/a?b=1#c",
)

ascii_urls = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=300)


def seal(plain: bytes) -> str:
    return RING.seal(plain, purpose="state", name=b"state", site=SITE, entropy=Entropy()).decode()


def test_state_comes_back() -> None:
    sealed = STATE.seal(RING, SITE, Entropy())
    assert LoginState.open(RING, SITE, sealed) == STATE
    assert len(sealed) == STATE.sealed_chars


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"{}\n=/",
        b"[]\n=/",
        b'[2,"a","b",3,4,"c","d"]\n=/',
        b'[1,"a","b",3,4,"c"]\n=/',
        b'[1,"a","b","3",4,"c","d"]\n=/',
        b'[1,"a","b",3,4,"c","d"]\n!/',
        b'[1,"a","b",3,4,"c","d"]\n=\xff',
        b'[1,"a","b",3,4,"c","d"]\n~\xff\xff',
        b'[1,"a","b",3,4,"c","d"]',
        b"\xff\n=/",
    ],
)
def test_state_of_another_version_is_refused(plain: bytes) -> None:
    with pytest.raises(InvalidCookie):
        LoginState.open(RING, SITE, seal(plain))


@pytest.mark.parametrize("text", ["", "é", "\ud800", "A" * 100])
def test_text_that_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(InvalidCookie):
        LoginState.open(RING, SITE, text)


@given(ascii_urls)
def test_every_url_comes_back(url: str) -> None:
    assert unpack_url(pack_url(url)) == url
    assert len(pack_url(url)) <= len(url) + 1


def test_deflated_url_is_bounded() -> None:
    """S25."""
    bomb = b"~" + zlib.compress(b"a" * 1_000_000, 9, -zlib.MAX_WBITS)
    assert len(unpack_url(bomb)) <= MAX_RETURN_URL_BYTES


def test_secrets_are_derived_apart_and_hidden() -> None:
    """S02, S27."""
    secrets = LoginSecrets.derive(b"s" * 32)
    assert secrets == LoginSecrets.derive(b"s" * 32)
    values = [
        secrets.id,
        secrets.proof,
        secrets.nonce,
        secrets.code_verifier.reveal().decode(),
        secrets.claim.decode(),
    ]
    assert len({value.removeprefix("login:")[:8] for value in values}) == len(values)
    assert not any(value in repr(secrets) for value in values[1:])


def test_shortened_state_keeps_the_path_or_nothing() -> None:
    assert STATE.shortened(4000).return_to == "/a"
    assert STATE.shortened(10).return_to == "/"
