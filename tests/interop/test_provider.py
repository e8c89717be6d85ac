"""The certified provider serves what the login tests against it rely on."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit
from uuid import uuid4

import httpx
import jwt
import pytest

from tests.interop.provider import InteropProvider, interop_provider

CALLBACK = "http://localhost:8080/oauth2/callback"
VERIFIER = "a-code-verifier-of-at-least-forty-three-characters"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteropProvider]:
    folder: Path = tmp_path_factory.mktemp("interop")
    people = {"eve": {"email_verified": False, "groups": ["admins", "a,b"]}}
    with interop_provider(folder, redirect_uris=[CALLBACK], access_token_seconds=7, people=people) as running:
        yield running


def authorization_url(provider: InteropProvider, client_id: str) -> str:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": client_id,
        "response_type": "code",
        "scope": "openid email profile groups",
        "redirect_uri": CALLBACK,
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{provider.issuer}/auth?{urlencode(query)}"


def authentication(provider: InteropProvider, client_id: str) -> dict[str, dict[str, str]]:
    """Return the keyword arguments for httpx that authenticate the client."""
    if client_id == "confidential":
        # RFC 6749 §2.3.1: both parts are form-encoded before they are put together.
        pair = f"{client_id}:{quote_plus(provider.client_secret)}"
        return {"headers": {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}, "data": {}}
    if client_id == "confidential-post":
        return {"data": {"client_id": client_id, "client_secret": provider.client_secret}}
    if client_id == "public":
        return {"data": {"client_id": client_id}}
    now = int(time.time())
    # Of one use: the provider refuses a `jti` that it has seen.
    claims = {"iss": client_id, "sub": client_id, "jti": str(uuid4()), "iat": now, "exp": now + 60}
    claims["aud"] = provider.issuer
    assertion = jwt.encode(claims, provider.private_key_pem, algorithm="ES256")
    return {"data": {"client_assertion_type": JWT_BEARER, "client_assertion": assertion}}


def redeem(provider: InteropProvider, client_id: str, grant: dict[str, str]) -> dict[str, Any]:
    arguments = authentication(provider, client_id)
    arguments["data"] |= grant
    answer = httpx.post(f"{provider.issuer}/token", **arguments)  # type: ignore[arg-type]  # two keywords at most
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def test_discovery_names_the_issuer_it_was_asked_at(provider: InteropProvider) -> None:
    metadata = httpx.get(f"{provider.issuer}/.well-known/openid-configuration").json()

    assert metadata["issuer"] == provider.issuer
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert {"query", "form_post"} <= set(metadata["response_modes_supported"])
    assert metadata["end_session_endpoint"].startswith(provider.issuer)


@pytest.mark.parametrize("client_id", ["confidential", "confidential-post", "public", "private-key"])
def test_each_client_can_log_in_and_refresh(provider: InteropProvider, client_id: str) -> None:
    callback = provider.sign_in(authorization_url(provider, client_id), "eve")
    query = parse_qs(urlsplit(callback).query)
    assert query["state"] == ["the-state"]
    assert query["iss"] == [provider.issuer]

    grant = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    tokens = redeem(provider, client_id, grant | {"code": query["code"][0]})
    assert tokens["expires_in"] == 7
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    claims = httpx.get(f"{provider.issuer}/me", headers=bearer).json()
    assert claims["email"] == "eve@example.com"
    assert claims["email_verified"] is False
    assert claims["groups"] == ["admins", "a,b"]

    refreshed = redeem(
        provider, client_id, {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    )
    assert refreshed["access_token"] != tokens["access_token"]


def test_a_person_can_refuse(provider: InteropProvider) -> None:
    callback = provider.sign_in(authorization_url(provider, "public"), "")

    assert parse_qs(urlsplit(callback).query)["error"] == ["access_denied"]
