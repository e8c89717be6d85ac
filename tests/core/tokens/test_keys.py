from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ProviderUnavailable
from sidecar.core.tokens import parse_jwks
from tests.core.oidcsetup import ec_key, ed_key, jwk, jwks, key_set, rsa_key


def kids(document: bytes) -> list[str | None]:
    return [key.kid for key in parse_jwks(document).keys]


def test_keys_of_every_kind_are_read_in_order() -> None:
    document = jwks(jwk(rsa_key(), kid="r"), jwk(ec_key(), kid="e"), jwk(ed_key(), kid="d"))

    assert kids(document) == ["r", "e", "d"]


def test_a_key_that_cannot_be_used_is_passed_over() -> None:
    """S20: encryption keys, symmetric keys, short keys, broken keys, keys of types to come."""
    good = jwk(rsa_key(), kid="good")
    useless: list[Any] = [
        jwk(rsa_key(), use="enc"),
        jwk(rsa_key(), key_ops=["encrypt"]),
        jwk(rsa_key(), key_ops="verify"),
        jwk(rsa_key(1, 1024)),
        {**good, "d": "AQAB"},
        {**good, "n": None},
        {**good, "n": "!"},
        {**good, "e": 3},
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {**jwk(ec_key()), "crv": "P-384"},
        {**jwk(ec_key()), "y": jwk(ec_key(2))["y"]},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
        {"kty": ["RSA"]},
        {},
        "text",
        None,
        7,
    ]

    assert kids(jwks(*useless, good)) == ["good"]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "keys_unreadable"),
        (b"[]", "keys_unreadable"),
        (b"{}", "keys_unreadable"),
        (b'{"keys": {}}', "keys_unreadable"),
        (b'{"keys": []}', "keys_unusable"),
        (b'{"keys": [{"kty": "oct", "k": "AAAA"}]}', "keys_unusable"),
        (b'{"keys": [' + b"{}," * 100 + b"{}]}", "keys_too_many"),
    ],
)
def test_a_document_without_usable_keys_is_refused(document: bytes, code: str) -> None:
    """S25: a hundred keys at most."""
    with pytest.raises(ProviderUnavailable) as caught:
        parse_jwks(document)

    assert caught.value.code == code


class TestFitting:
    """RFC 7515 §4.1.4, RFC 7517 §4, OIDC Core §10.1."""

    @pytest.mark.parametrize(
        ("alg", "expected"),
        [
            ("RS256", ["r", "r256"]),
            ("PS256", ["r"]),
            ("ES256", ["e256"]),
            ("ES384", ["e384"]),
            ("ES512", []),
            ("EdDSA", ["d"]),
        ],
    )
    def test_type_curve_and_algorithm_must_fit(self, alg: str, expected: list[str]) -> None:
        """S20: a key's type must match the algorithm."""
        keys = key_set(
            jwk(rsa_key(), kid="r"),
            jwk(rsa_key(2), kid="r256", alg="RS256"),
            jwk(ec_key(), kid="e256"),
            jwk(ec_key(1, ec.SECP384R1), kid="e384"),
            jwk(ed_key(), kid="d"),
        )

        assert [key.kid for key in keys.fitting(alg, None)] == expected

    def test_a_kid_chooses_its_key(self) -> None:
        keys = key_set(jwk(rsa_key(), kid="a"), jwk(rsa_key(2), kid="b"))

        assert [key.kid for key in keys.fitting("RS256", "b")] == ["b"]

    def test_a_key_without_a_kid_fits_every_kid(self) -> None:
        keys = key_set(jwk(rsa_key()), jwk(rsa_key(2), kid="b"))

        assert [key.kid for key in keys.fitting("RS256", "x")] == [None]

    def test_an_unknown_kid_fits_nothing(self) -> None:
        assert key_set(jwk(rsa_key(), kid="a")).fitting("RS256", "b") == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
jwk_like = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "d"]),
    st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "sig", "A" * 43]) | json_values,
)


@given(st.lists(jwk_like, max_size=4))
def test_whatever_is_in_the_list_a_good_key_is_found(members: list[dict[str, Any]]) -> None:
    assert "good" in kids(jwks(*members, jwk(rsa_key(), kid="good")))
