"""How we prove to a token endpoint who we are (OpenID Connect Core §9, RFC 6749 §2.3, RFC 7523)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, assert_never
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from sidecar.core.runtime import Provider
    from sidecar.core.secret import Secret

__all__ = ["ClientAuthentication", "authenticate_client"]

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS: Final = 60
_JTI_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class ClientAuthentication:
    """What to add to a request to the token endpoint: header fields, and fields of its form."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    form: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def authenticate_client(
    provider: Provider, *, now: float, entropy: Callable[[int], bytes]
) -> ClientAuthentication:
    """Return the client authentication of one request: an assertion serves once."""
    match provider.auth_method:
        case "client_secret_basic":
            return _basic(provider.client_id, _revealed(provider.client_secret))
        case "client_secret_post":
            secret = _revealed(provider.client_secret)
            return ClientAuthentication(form=(("client_id", provider.client_id), ("client_secret", secret)))
        case "private_key_jwt":
            return _private_key_jwt(provider, now, entropy(_JTI_BYTES))
        case "none":
            # RFC 6749 §3.2.1: a public client names itself.
            return ClientAuthentication(form=(("client_id", provider.client_id),))
        case _ as never:
            assert_never(never)


def _basic(client_id: str, client_secret: str) -> ClientAuthentication:
    # RFC 6749 §2.3.1: both parts are form-encoded first, so that a colon or a percent sign survives.
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    value = base64.b64encode(pair.encode("ascii")).decode("ascii")
    return ClientAuthentication(headers=(("Authorization", f"Basic {value}"),))


def _private_key_jwt(provider: Provider, now: float, jti: bytes) -> ClientAuthentication:
    from jwt.api_jwt import PyJWT

    claims = {
        "iss": provider.client_id,
        "sub": provider.client_id,
        # One string, never a list: an assertion for two is one that the first can use at the second (S18).
        "aud": provider.assertion_audience or provider.issuer,
        "jti": base64.urlsafe_b64encode(jti).rstrip(b"=").decode("ascii"),
        "iat": int(now),
        "exp": int(now) + _ASSERTION_SECONDS,
    }
    headers = {"kid": provider.private_key_id} if provider.private_key_id else None
    assertion = PyJWT().encode(
        claims,
        _revealed(provider.private_key),
        algorithm=provider.private_key_alg,
        headers=headers,
    )
    return ClientAuthentication(
        form=(
            ("client_id", provider.client_id),
            ("client_assertion_type", _ASSERTION_TYPE),
            ("client_assertion", assertion),
        )
    )


def _revealed(secret: Secret | None) -> str:
    """Return the secret's text; the configuration makes sure that there is one where one is needed."""
    return secret.reveal().decode("utf-8") if secret is not None else ""
