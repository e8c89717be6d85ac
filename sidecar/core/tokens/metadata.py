"""The provider's metadata: OpenID Connect Discovery 1.0, RFC 8414, and the operator's overrides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sidecar.core.development import is_marked
from sidecar.core.errors import ProviderUnavailable
from sidecar.core.hosts import is_loopback_name
from sidecar.core.tokens.strictjson import parse_json_object

if TYPE_CHECKING:
    from sidecar.core.identity import Json
    from sidecar.core.runtime import Provider

__all__ = ["ProviderMetadata", "build_metadata", "metadata_url", "parse_metadata"]

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
# What a URL may consist of (RFC 3986 §2); a blank, a backslash or a control character makes two parsers
# disagree about where it leads.
_URL_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_MAX_URL_CHARACTERS: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMetadata:
    """Where the provider's endpoints are and what it says it can; `issuer` is the configured one exactly.

    `code_challenge_methods` None = the provider does not say (S03: state and nonce protect all the same).
    `sends_iss` is RFC 9207's `authorization_response_iss_parameter_supported`.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    code_challenge_methods: tuple[str, ...] | None = None
    sends_iss: bool = False


def metadata_url(provider: Provider) -> str:
    """Return where the discovery document is (OIDC Discovery §4: a slash at the issuer's end goes)."""
    return provider.discovery_url or provider.issuer.removesuffix("/") + _WELL_KNOWN


def parse_metadata(document: bytes, provider: Provider) -> ProviderMetadata:
    """Check a discovery document. Raises ProviderUnavailable, whose detail tells the operator what is wrong.

    The issuer must be the configured one byte for byte (OIDC Discovery §4.3, S16): else one provider could
    speak for another.
    """
    try:
        unverified = parse_json_object(document)
    except ValueError as error:
        raise ProviderUnavailable("metadata_unreadable", str(error)) from error
    issuer = unverified.get("issuer")
    if issuer != provider.issuer:
        detail = f"the provider calls itself {_shown(issuer)}, the configuration says '{provider.issuer}'"
        raise ProviderUnavailable("metadata_issuer_mismatch", detail)
    if is_marked(unverified) and not provider.is_development:
        detail = "an embedded provider, for development only: whoever runs it chooses who they are"
        raise ProviderUnavailable("metadata_development", detail)
    return _build(unverified, provider)


def build_metadata(provider: Provider) -> ProviderMetadata:
    """Return the metadata of a provider without discovery, from its settings alone."""
    return _build({}, provider)


def _build(unverified: dict[str, Json], provider: Provider) -> ProviderMetadata:
    methods = unverified.get("code_challenge_methods_supported")
    return ProviderMetadata(
        issuer=provider.issuer,
        authorization_endpoint=_required(
            provider, "authorization_endpoint", provider.authorization_endpoint, unverified
        ),
        token_endpoint=_required(provider, "token_endpoint", provider.token_endpoint, unverified),
        jwks_uri=_required(provider, "jwks_uri", provider.jwks_uri, unverified),
        userinfo_endpoint=_endpoint(provider, "userinfo_endpoint", provider.userinfo_endpoint, unverified),
        end_session_endpoint=_endpoint(
            provider, "end_session_endpoint", provider.end_session_endpoint, unverified
        ),
        code_challenge_methods=(
            tuple(name for name in methods if isinstance(name, str)) if isinstance(methods, list) else None
        ),
        sends_iss=unverified.get("authorization_response_iss_parameter_supported") is True,
    )


def _required(provider: Provider, name: str, override: str | None, unverified: dict[str, Json]) -> str:
    endpoint = _endpoint(provider, name, override, unverified)
    if endpoint is None:
        raise ProviderUnavailable("metadata_incomplete", f"{name} is missing")
    return endpoint


def _endpoint(provider: Provider, name: str, override: str | None, unverified: dict[str, Json]) -> str | None:
    url = override if override is not None else unverified.get(name)
    if url is None:
        return None
    if not isinstance(url, str) or not _allows_endpoint(url, provider, is_override=override is not None):
        raise ProviderUnavailable("metadata_endpoint_refused", f"{name} is {_shown(url)}")
    return url


def _allows_endpoint(url: str, provider: Provider, *, is_override: bool) -> bool:
    """Tell whether we may call, or send a browser to, this URL (S16)."""
    if len(url) > _MAX_URL_CHARACTERS or not _URL_CHARACTERS.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    # RFC 6749 §3.1: an endpoint has no fragment. Credentials in a URL end up in logs.
    if not host or parts.fragment or "@" in parts.netloc:
        return False
    if parts.scheme == "https" or (parts.scheme == "http" and provider.insecure_http):
        return True
    # A remote provider's document can't point us at a port of this machine; the operator can.
    is_local = is_override or is_loopback_name(urlsplit(provider.issuer).hostname or "")
    return parts.scheme == "http" and is_local and is_loopback_name(host)


def _shown(value: Json) -> str:
    """Return a value of the document as an operator may see it: short, on one line."""
    return "missing" if value is None else repr(value)[:200]
