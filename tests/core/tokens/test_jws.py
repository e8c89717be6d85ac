from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import InvalidToken
from sidecar.core.runtime import Provider
from sidecar.core.tokens import KeySet, parse_unverified_kid
from sidecar.core.tokens.jws import MAX_TOKEN_CHARACTERS, open_token
from tests.core.oidcsetup import b64, claims, ec_key, ed_key, jwk, key_set, provider, rsa_key, sign

ALGORITHMS = provider().algorithms


def refusal(token: str, keys: KeySet | None = None, algorithms: tuple[str, ...] = ALGORITHMS) -> str:
    with pytest.raises(InvalidToken) as caught:
        open_token(token, algorithms, keys or key_set())
    return caught.value.code


class TestSignatures:
    """RFC 7515 §5.2."""

    def test_rs256_is_verified(self) -> None:
        opened = open_token(sign(claims()), ALGORITHMS, key_set())

        assert opened.alg == "RS256"
        assert opened.signed_claims == claims()

    @pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256"])
    def test_rsa_algorithms_are_verified(self, alg: str) -> None:
        assert open_token(sign(claims(), alg=alg), ALGORITHMS, key_set()).alg == alg

    @pytest.mark.parametrize(
        ("alg", "curve"), [("ES256", ec.SECP256R1), ("ES384", ec.SECP384R1), ("ES512", ec.SECP521R1)]
    )
    def test_ecdsa_is_verified(self, alg: str, curve: type[ec.EllipticCurve]) -> None:
        key = ec_key(1, curve)

        assert open_token(sign(claims(), key, alg), ALGORITHMS, key_set(jwk(key, kid="k1"))).alg == alg

    def test_eddsa_is_verified(self) -> None:
        keys = key_set(jwk(ed_key(), kid="k1"))

        assert open_token(sign(claims(), ed_key(), "EdDSA"), ALGORITHMS, keys).alg == "EdDSA"

    def test_another_key_is_refused(self) -> None:
        assert refusal(sign(claims(), rsa_key(2))) == "bad_signature"

    @pytest.mark.parametrize("part", [0, 1, 2])
    def test_a_changed_part_is_refused(self, part: int) -> None:
        parts = sign(claims()).split(".")
        replaced = {0: b64(b'{"alg":"RS256","kid":"k1"}'), 1: b64(b'{"sub":"x"}'), 2: b64(bytes(256))}
        parts[part] = replaced[part]

        assert refusal(".".join(parts)) == "bad_signature"

    def test_without_a_kid_each_key_of_the_type_is_tried(self) -> None:
        keys = key_set(jwk(ec_key(), kid="e"), jwk(rsa_key(2), kid="a"), jwk(rsa_key(), kid="b"))

        assert open_token(sign(claims(), kid=None), ALGORITHMS, keys).signed_claims == claims()

    def test_an_unknown_kid_is_told_apart(self) -> None:
        assert refusal(sign(claims(), kid="k2")) == "unknown_key"


class TestAlgorithms:
    """S20: RFC 8725 §2.1, §3.1, §3.2."""

    @pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
    def test_an_unsigned_token_is_refused(self, name: str) -> None:
        token = f"{b64(json.dumps({'alg': name}).encode())}.{b64(json.dumps(claims()).encode())}."

        assert refusal(token) == "alg_refused"
        assert refusal(token, algorithms=("none", name)) == "alg_refused"

    @pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
    def test_a_public_key_is_never_a_shared_secret(self, alg: str) -> None:
        public = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signing_input = (
            f"{b64(json.dumps({'alg': alg, 'kid': 'k1'}).encode())}.{b64(json.dumps(claims()).encode())}"
        )
        digest = getattr(hashlib, f"sha{alg[2:]}")
        token = f"{signing_input}.{b64(hmac.new(public, signing_input.encode(), digest).digest())}"

        assert refusal(token) == "alg_refused"
        assert refusal(token, algorithms=(*ALGORITHMS, alg)) == "alg_refused"

    def test_an_algorithm_that_is_not_configured_is_refused(self) -> None:
        assert refusal(sign(claims(), alg="PS256"), algorithms=("RS256",)) == "alg_refused"

    def test_a_key_of_another_type_is_not_tried(self) -> None:
        assert refusal(sign(claims(), ec_key(), "ES256")) == "unknown_key"

    def test_a_key_for_another_algorithm_is_not_tried(self) -> None:
        assert (
            refusal(sign(claims(), alg="PS256"), key_set(jwk(rsa_key(), kid="k1", alg="RS256")))
            == "unknown_key"
        )

    def test_a_curve_that_does_not_fit_is_not_tried(self) -> None:
        key = ec_key(1, ec.SECP384R1)
        token = sign(claims(), ec_key(), "ES256")

        assert refusal(token, key_set(jwk(key, kid="k1"))) == "unknown_key"


class TestHeader:
    """S20: RFC 7515 §4, RFC 8725 §3.10, §3.11."""

    def test_crit_is_refused(self) -> None:
        assert refusal(sign(claims(), crit=["exp"])) == "crit_refused"
        assert refusal(sign(claims(), crit=[])) == "crit_refused"

    def test_an_unencoded_payload_is_refused(self) -> None:
        assert refusal(sign(claims(), b64=False)) == "bad_signature"

    @pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
    def test_a_token_cannot_name_its_own_key(self, name: str) -> None:
        values: dict[str, Any] = {"jwk": jwk(rsa_key(2)), "x5c": ["AAAA"]}
        header = {name: values.get(name, "https://evil.example/keys")}

        assert refusal(sign(claims(), rsa_key(2), **header)) == "bad_signature"
        assert open_token(sign(claims(), **header), ALGORITHMS, key_set()).alg == "RS256"

    @pytest.mark.parametrize(
        "kind", ["at+jwt", "application/at+jwt", "AT+JWT", "logout+jwt", "secevent+jwt", 7]
    )
    def test_a_token_of_another_kind_is_refused(self, kind: object) -> None:
        assert refusal(sign(claims(), typ=kind)) == "typ_refused"

    @pytest.mark.parametrize("kind", ["JWT", "jwt", "application/jwt", "ID", None])
    def test_a_token_that_claims_no_other_kind_is_read(self, kind: str | None) -> None:
        assert open_token(sign(claims(), typ=kind), ALGORITHMS, key_set()).alg == "RS256"

    @pytest.mark.parametrize("header", [b"", b"[]", b"{", b'{"alg":"RS256","alg":"RS256"}', b'{"kid":"k1"}'])
    def test_an_unreadable_header_is_refused(self, header: bytes) -> None:
        assert refusal(f"{b64(header) or 'A'}.e30.AAAA") == "header_unreadable"

    @pytest.mark.parametrize("kid", [7, ["k1"], {}])
    def test_a_kid_that_is_no_text_is_refused(self, kid: object) -> None:
        assert refusal(sign(claims(), kid=kid)) == "header_unreadable"


class TestForm:
    """RFC 7515 §7.1."""

    @pytest.mark.parametrize(
        "token",
        [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c.d",
            " a.b.c",
            "a.b.c\n",
            "a=.b.c",
            "a+.b.c",
            "a.b/.c",
            "é.b.c",
            "a.b.c ",
        ],
    )
    def test_what_is_no_compact_jws_is_refused(self, token: str) -> None:
        assert refusal(token) == "token_malformed"

    def test_an_encrypted_token_is_told_apart(self) -> None:
        assert refusal("a.b.c.d.e") == "token_encrypted"

    def test_a_token_beyond_the_limit_is_not_looked_at(self) -> None:
        """S25: a megabyte of ID token."""
        assert refusal("a" * (MAX_TOKEN_CHARACTERS + 1)) == "token_too_large"

    def test_ten_thousand_groups_are_read_or_refused_by_size_alone(self) -> None:
        """S25: 10,000 short groups fit; 10,000 object ids do not."""
        short = sign(claims(groups=[f"g{number}" for number in range(10_000)]))
        long = sign(claims(groups=[f"{number:036d}" for number in range(10_000)]))

        assert len(open_token(short, ALGORITHMS, key_set()).signed_claims["groups"]) == 10_000  # type: ignore[arg-type]
        assert refusal(long) == "token_too_large"

    @pytest.mark.parametrize("payload", [b"", b"[]", b'{"sub":"a","sub":"b"}', b"\xff", b'"text"'])
    def test_claims_that_are_no_object_are_refused(self, payload: bytes) -> None:
        token = sign(payload) if payload else sign(b" ")

        assert refusal(token) == "claims_unreadable"


def test_the_key_id_is_read_before_anything_is_verified() -> None:
    assert parse_unverified_kid(sign(claims(), rsa_key(2), kid="new")) == "new"
    assert parse_unverified_kid(sign(claims(), kid=None)) is None


@given(st.text(max_size=60) | st.text(alphabet="eyJhbGciOi.-_=9", max_size=60))
def test_whatever_comes_it_is_refused_as_invalid(token: str) -> None:
    settings: Provider = provider()

    with pytest.raises(InvalidToken):
        open_token(token, settings.algorithms, key_set())
