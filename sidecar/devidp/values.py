"""The values of the embedded provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.core.errors import ConfigurationError, PeerError

if TYPE_CHECKING:
    from sidecar.core.http import HeaderPair, Response
    from sidecar.core.identity import Json
    from sidecar.core.secret import Secret

__all__ = ["Client", "LogoutNotice", "OAuthError", "Person", "ProviderRequest", "Reply"]


class OAuthError(PeerError):
    """A request that the provider refuses; `code` is its `error`, `detail` its `error_description`.

    The description goes to the caller: this is a tool for developers, who need to know.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A relying party as it is registered. Without `secret` it is a public one.

    The URIs are compared as strings (RFC 9700 §2.1). `access_token_seconds` is how long its access tokens
    live: short ones let a developer watch refreshes.
    """

    client_id: str
    redirect_uris: tuple[str, ...]
    name: str = ""
    secret: Secret | None = None
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str | None = None
    access_token_seconds: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody to be. `claims` are further claims; none of the protocol's own (`people.PROTOCOL_CLAIMS`)."""

    sub: str
    name: str = ""
    email: str | None = None
    email_verified: bool = True
    groups: tuple[str, ...] = ()
    about: str = ""
    claims: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sub or len(self.sub) > 255 or not self.sub.isprintable():  # noqa: PLR2004  OIDC Core §2
            raise ConfigurationError(
                "A person of the embedded provider needs a sub of 1 to 255 printable characters."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """One request to the provider. `path` is what follows the issuer, `query` without "?"."""

    method: str
    path: str
    query: bytes = b""
    headers: tuple[HeaderPair, ...] = ()
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutNotice:
    """A logout token that must be posted to a relying party (OIDC Back-Channel Logout §2.5)."""

    client_id: str
    url: str
    logout_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer, and whom to tell of a logout before it is sent."""

    response: Response
    notices: tuple[LogoutNotice, ...] = ()
