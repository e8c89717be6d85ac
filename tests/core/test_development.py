"""Development mode is never taken for the real thing."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.core.development import ISSUER_PATH, MARKER, is_marked
from sidecar.core.errors import InvalidToken, ProviderUnavailable
from sidecar.core.runtime import Provider
from sidecar.core.tokens import parse_jwks, parse_metadata, verify_id_token

ISSUER = "http://localhost:9000"
NOW = 1_800_000_000


def provider(issuer: str, *, is_development: bool) -> Provider:
    return Provider(
        key="main",
        type="oidc",
        display_name="x",
        issuer=issuer,
        client_id="app",
        redirect_path="/oauth2/callback",
        is_development=is_development,
    )


def document(issuer: str, **more: object) -> bytes:
    endpoints = {
        name: f"{issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
    }
    return json.dumps({"issuer": issuer, **endpoints, **more}).encode()


@pytest.mark.parametrize("marked", [{MARKER: True}, {MARKER: False}, {"iss": ISSUER + ISSUER_PATH}])
def test_a_marker_or_the_issuers_path_marks(marked: dict[str, object]) -> None:
    assert is_marked(marked)
    assert not is_marked({"iss": ISSUER, "issuer": ISSUER, "sub": MARKER})


@pytest.mark.parametrize(("issuer", "more"), [(ISSUER + ISSUER_PATH, {}), (ISSUER, {MARKER: True})])
def test_metadata_of_an_embedded_provider_are_refused_in_normal_mode(
    issuer: str, more: dict[str, Any]
) -> None:
    """S72: its issuer never validates."""
    with pytest.raises(ProviderUnavailable, match="metadata_development"):
        parse_metadata(document(issuer, **more), provider(issuer, is_development=False))
    assert parse_metadata(document(issuer, **more), provider(issuer, is_development=True)).issuer == issuer


@pytest.mark.parametrize(("issuer", "more"), [(ISSUER + ISSUER_PATH, {}), (ISSUER, {MARKER: True})])
def test_tokens_of_an_embedded_provider_are_refused_in_normal_mode(issuer: str, more: dict[str, Any]) -> None:
    """S72: even with its key configured, what it signs never logs anybody in."""
    key = ec.generate_private_key(ec.SECP256R1())
    claims = {"iss": issuer, "aud": "app", "sub": "ada", "nonce": "n", "iat": NOW, "exp": NOW + 60, **more}
    token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "1"})
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    keys = parse_jwks(json.dumps({"keys": [{**public, "kid": "1"}]}).encode())
    for is_development in (False, True):
        ours = provider(issuer, is_development=is_development)
        metadata = parse_metadata(document(issuer), provider(issuer, is_development=True))
        if is_development:
            assert verify_id_token(token, ours, metadata, keys, nonce="n", now=NOW)["sub"] == "ada"
        else:
            with pytest.raises(InvalidToken, match="development_token"):
                verify_id_token(token, ours, metadata, keys, nonce="n", now=NOW)
