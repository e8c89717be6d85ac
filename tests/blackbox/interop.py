"""npm's certified provider, set up for Doorwards on given ports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.interop.provider import InteropProvider, interop_provider

__all__ = ["certified_provider", "provider_settings"]

_SCOPES = ["openid", "profile", "email", "groups"]


@contextlib.contextmanager
def certified_provider(
    folder: Path, origins: Iterable[str], *, callback: str = "/oauth2/callback", **settings: object
) -> Iterator[InteropProvider]:
    """Run the provider with the callbacks of Doorwards at `origins` registered."""
    at = list(origins)
    with interop_provider(
        folder,
        redirect_uris=[f"{origin}{callback}" for origin in at],
        post_logout_redirect_uris=[f"{origin}/oauth2/sign_out/return" for origin in at],
        **settings,
    ) as provider:
        yield provider


def provider_settings(provider: InteropProvider, client_id: str, **more: object) -> dict[str, object]:
    """Return the `provider` of a configuration for one of the provider's clients."""
    credentials: dict[str, dict[str, object]] = {
        "confidential": {"client_secret": provider.client_secret},
        "confidential-post": {
            "client_secret": provider.client_secret,
            "auth_method": "client_secret_post",
        },
        "private-key": {
            "private_key": provider.private_key_pem,
            "private_key_id": "interop-client",
            "auth_method": "private_key_jwt",
        },
        "public": {},
    }
    return {
        "type": "oidc",
        "issuer": provider.issuer,
        "client_id": client_id,
        "scopes": _SCOPES,
        **credentials[client_id],
        **more,
    }
