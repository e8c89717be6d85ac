"""The signed assertion, verified as an application would: with PyJWT and the published keys."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sidecar.core.assertion import RENEW_SECONDS, Signer, jwks, session_hash
from sidecar.core.errors import ConfigurationError
from sidecar.core.identity import Identity
from sidecar.core.runtime import AssertionPolicy
from sidecar.core.secret import Secret
from sidecar.core.session import Session

NOW = 1_700_000_000.0
SESSION = Session(
    id="session-id",
    site="main",
    provider="main",
    identity=Identity(
        issuer="https://id.example.com",
        subject="248289",
        user="alice",
        email="alice@example.com",
        groups=("admins",),
        claims={},
    ),
    created_at=NOW,
    seen_at=NOW,
    absolute_end=NOW + 3600,
)


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Secret:
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


KEYS = (pem(ec.generate_private_key(ec.SECP256R1())), pem(ec.generate_private_key(ec.SECP256R1())))
POLICY = AssertionPolicy(
    header="X-Doorward-Assertion", keys=KEYS, issuer="https://app.example.com", audience="app"
)


def verified(token: bytes, document: bytes, audience: str = "app") -> dict[str, Any]:
    """Verify as an application does, but for the clock."""
    text = token.decode("ascii")
    key = jwt.PyJWKSet.from_json(document.decode())[jwt.get_unverified_header(text)["kid"]]
    claims: dict[str, Any] = jwt.decode(
        text,
        key.key,
        algorithms=["ES256"],
        audience=audience,
        issuer="https://app.example.com",
        options={"verify_exp": False, "verify_iat": False},
    )
    return claims


class TestMinting:
    def test_an_application_verifies_it_with_the_published_keys(self) -> None:
        name, token = Signer(POLICY).mint(SESSION, NOW)
        assert name == b"X-Doorward-Assertion"
        assert verified(token, jwks(POLICY)) == {
            "iss": "https://app.example.com",
            "aud": "app",
            "sub": "248289",
            "idp": "https://id.example.com",
            "user": "alice",
            "email": "alice@example.com",
            "groups": ["admins"],
            "sid": session_hash("session-id"),
            "iat": int(NOW),
            "exp": int(NOW) + 60,
        }

    def test_another_audience_refuses_it(self) -> None:
        token = Signer(POLICY).mint(SESSION, NOW)[1]
        with pytest.raises(jwt.InvalidAudienceError):
            verified(token, jwks(POLICY), audience="other")

    def test_the_session_id_does_not_appear_in_it(self) -> None:
        """S27: whoever reads the application's log can't use it."""
        claims = verified(Signer(POLICY).mint(SESSION, NOW)[1], jwks(POLICY))
        assert "session-id" not in json.dumps(claims)

    def test_it_never_outlives_its_session(self) -> None:
        token = Signer(POLICY).mint(replace(SESSION, absolute_end=NOW + 5), NOW)[1]
        assert verified(token, jwks(POLICY))["exp"] == int(NOW) + 5

    def test_the_first_key_signs_and_all_are_published(self) -> None:
        token = Signer(POLICY).mint(SESSION, NOW)[1]
        keys = json.loads(jwks(POLICY))["keys"]
        assert keys[0]["kid"] == jwt.get_unverified_header(token)["kid"]
        assert len({key["kid"] for key in keys}) == 2
        assert all(set(key) == {"alg", "crv", "kid", "kty", "use", "x", "y"} for key in keys)

    def test_a_token_of_a_key_that_was_rotated_in_verifies_with_the_old_set(self) -> None:
        rotated = replace(POLICY, keys=KEYS[::-1])
        assert verified(Signer(rotated).mint(SESSION, NOW)[1], jwks(POLICY))["sub"] == "248289"


class TestThumbprint:
    def test_a_kid_is_the_thumbprint_of_its_key(self) -> None:
        """RFC 7638 §3: computed anew here from the published members."""
        import hashlib
        from base64 import urlsafe_b64encode

        key = json.loads(jwks(POLICY))["keys"][0]
        members = json.dumps({k: key[k] for k in ("crv", "kty", "x", "y")}, separators=(",", ":"))
        digest = hashlib.sha256(members.encode()).digest()
        assert key["kid"] == urlsafe_b64encode(digest).rstrip(b"=").decode()


class TestReuse:
    def test_one_is_minted_for_a_session_in_half_a_minute(self) -> None:
        signer = Signer(POLICY)
        first, until = signer.edits(SESSION, NOW)
        assert until == NOW + RENEW_SECONDS
        assert signer.edits(SESSION, until - 0.1)[0] is first
        assert signer.edits(SESSION, until)[0] is not first

    def test_a_refreshed_session_gets_its_own(self) -> None:
        """Its identity may have changed."""
        signer = Signer(POLICY)
        refreshed = replace(SESSION, generation=1)
        assert signer.edits(SESSION, NOW)[0] is not signer.edits(refreshed, NOW)[0]

    def test_it_is_replaced_long_before_it_expires(self) -> None:
        short = Signer(replace(POLICY, lifetime_seconds=20.0))
        assert short.edits(SESSION, NOW)[1] == NOW + 10

    def test_what_is_remembered_is_bounded(self) -> None:
        signer = Signer(POLICY)
        for number in range(2100):
            signer.edits(replace(SESSION, id=str(number)), NOW)
        assert len(signer._minted) <= 2048


class TestKeys:
    def test_a_policy_without_a_key_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="no key"):
            Signer(replace(POLICY, keys=()))

    @pytest.mark.parametrize(
        "key",
        [
            Secret(b"nonsense"),
            pem(ec.generate_private_key(ec.SECP384R1())),
            pem(rsa.generate_private_key(65537, 2048)),
        ],
    )
    def test_a_key_that_does_not_fit_is_refused_without_showing_it(self, key: Secret) -> None:
        with pytest.raises(ConfigurationError, match="assertion key 1") as raised:
            jwks(replace(POLICY, keys=(KEYS[0], key)))
        assert "nonsense" not in str(raised.value)
