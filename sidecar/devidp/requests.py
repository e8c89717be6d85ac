"""Authorization requests: which are answered with a page, which with a redirect (RFC 6749 §4.1.2.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode, urlsplit

from sidecar.devidp.values import OAuthError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.flows.parameters import Parameters
    from sidecar.devidp.values import Client

__all__ = ["AuthorizationRequest", "Return", "find_return", "origin_of", "parse_authorization"]

_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # the base64url of a SHA-256 (RFC 7636 §4.2)
_NOT_SUPPORTED: Final = {
    "request": "request_not_supported",
    "request_uri": "request_uri_not_supported",
    "registration": "registration_not_supported",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Where and how an answer goes back: known to be the client's before anything is sent there."""

    client: Client
    redirect_uri: str
    state: str | None
    mode: Literal["query", "form_post"] = "query"

    def url(self, parameters: Mapping[str, str]) -> str:
        """Return the redirect with `parameters`; a query that the URI has stays (RFC 6749 §3.1.2)."""
        joint = "&" if "?" in self.redirect_uri else "?"
        return self.redirect_uri + joint + urlencode(parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """A valid request (OIDC Core §3.1.2.1)."""

    back: Return
    scopes: frozenset[str]
    challenge: str
    nonce: str | None = None
    prompts: frozenset[str] = frozenset()
    max_age: int | None = None
    login_hint: str = ""
    id_token_hint: str | None = None


def find_return(parameters: Parameters, clients: Mapping[str, Client]) -> Return:
    """Return where the answer goes. Raises OAuthError, which then only a page may tell.

    The client and its redirect URI, compared as strings (RFC 9700 §2.1), come first: whoever names another
    one gets no redirect, not even with an error (RFC 6749 §4.1.2.1).
    """
    client = clients.get(_single(parameters, "client_id") or "")
    if client is None:
        raise OAuthError("invalid_client", "No client of this name is registered here.")
    redirect_uri = _single(parameters, "redirect_uri")
    if redirect_uri not in client.redirect_uris or redirect_uri is None:
        raise OAuthError(
            "invalid_redirect_uri", "The redirect_uri is not registered for this client, to the letter."
        )
    mode: Literal["query", "form_post"]
    mode = "form_post" if _single(parameters, "response_mode") == "form_post" else "query"
    return Return(client=client, redirect_uri=redirect_uri, state=_single(parameters, "state"), mode=mode)


def parse_authorization(parameters: Parameters, back: Return) -> AuthorizationRequest:
    """Check the rest. Raises OAuthError, which goes back to the client."""
    for name, code in _NOT_SUPPORTED.items():
        if _single(parameters, name) is not None:
            raise OAuthError(code, f"{name} is not supported")
    if _single(parameters, "response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code")
    if _single(parameters, "response_mode") not in {None, "query", "form_post"}:
        raise OAuthError("invalid_request", "response_mode must be query or form_post")
    scopes = frozenset((_single(parameters, "scope") or "").split())
    if "openid" not in scopes:
        raise OAuthError("invalid_scope", "scope must hold openid")
    return AuthorizationRequest(
        back=back,
        scopes=scopes,
        challenge=_challenge(parameters),
        nonce=_single(parameters, "nonce"),
        prompts=_prompts(parameters),
        max_age=_max_age(parameters),
        login_hint=_single(parameters, "login_hint") or "",
        id_token_hint=_single(parameters, "id_token_hint"),
    )


def _challenge(parameters: Parameters) -> str:
    # RFC 9700 §2.1.1: PKCE always, and never `plain`, which is what a missing method means (RFC 7636 §4.3).
    challenge = _single(parameters, "code_challenge") or ""
    if _single(parameters, "code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", "code_challenge with code_challenge_method S256 is required")
    return challenge


def _prompts(parameters: Parameters) -> frozenset[str]:
    prompts = frozenset((_single(parameters, "prompt") or "").split())
    if not prompts <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
        raise OAuthError("invalid_request", "prompt must be none alone, or of login, consent, select_account")
    return prompts


def _max_age(parameters: Parameters) -> int | None:
    text = _single(parameters, "max_age")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:  # noqa: PLR2004  thirty years
        raise OAuthError("invalid_request", "max_age must be a number of seconds")
    return int(text)


def _single(parameters: Parameters, name: str) -> str | None:
    """Return a parameter's value; an empty one counts as absent (RFC 6749 §3.1)."""
    return parameters.single(name) or None


def origin_of(url: str) -> str:
    """Return scheme and authority of a URL that is registered here."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
