"""The authorization request (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1) as a value.

Steps of a login may transform it before it becomes the URL to which the browser is sent: each takes one and
returns another (a provider family that adds a parameter, a request object later).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from sidecar.core.runtime import Provider

__all__ = ["RESERVED_PARAMETERS", "AuthorizationRequest", "build_authorization_request"]

RESERVED_PARAMETERS: Final = frozenset(
    {
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "nonce",
        "redirect_uri",
        "request",
        "request_uri",
        "response_mode",
        "response_type",
        "scope",
        "state",
    }
)
"""What neither `extra_params` nor a forwarded parameter can set: the security of the flow hangs on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """An endpoint and the parameters for it, each name once."""

    endpoint: str
    parameters: tuple[tuple[str, str], ...]

    def with_parameters(self, added: Iterable[tuple[str, str]]) -> AuthorizationRequest:
        """Return a request with these set besides; a name that is there already gets the new value."""
        return replace(self, parameters=tuple({**dict(self.parameters), **dict(added)}.items()))

    def url(self) -> str:
        """Return the URL. A query that the endpoint has of its own stays (RFC 6749 §3.1)."""
        parts = urlsplit(self.endpoint)
        ours = dict(self.parameters)
        own = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in ours]
        return parts._replace(query=urlencode([*own, *self.parameters])).geturl()


def build_authorization_request(
    provider: Provider,
    endpoint: str,
    *,
    redirect_uri: str,
    state: str,
    nonce: str,
    code_challenge: str,
    forwarded: Iterable[tuple[str, str]] = (),
) -> AuthorizationRequest:
    """Return the request of one login: code flow, PKCE with S256, state and nonce always (S02, S03, S07).

    `forwarded` are parameters of the browser's own request; only those that the provider's settings list
    are taken, and no reserved one.
    """
    additions = {name: value for name, value in provider.extra_params if name not in RESERVED_PARAMETERS}
    allowed = provider.forwarded_params - RESERVED_PARAMETERS
    additions.update((name, value) for name, value in forwarded if name in allowed)
    if provider.audience is not None:
        additions["audience"] = provider.audience
    required = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(provider.scopes),
        "state": state,
        "nonce": nonce,
        "code_challenge": code_challenge,
        "code_challenge_method": "S256",
    }
    if provider.response_mode != "query":
        required["response_mode"] = provider.response_mode
    return AuthorizationRequest(endpoint=endpoint, parameters=tuple({**required, **additions}.items()))
