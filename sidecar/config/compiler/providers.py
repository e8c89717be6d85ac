"""Identity providers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sidecar.config.addresses import is_loopback, parse_origin
from sidecar.config.compiler.context import Context
from sidecar.config.compiler.keys import private_key, signing_algorithms
from sidecar.config.compiler.tls import check_authorities
from sidecar.config.models.provider import ClaimSettings, EndpointSettings, ProviderSettings
from sidecar.config.models.site import SiteSettings
from sidecar.config.problems import Path, quoted
from sidecar.core.runtime import ClaimNames, Origin, Provider
from sidecar.core.secret import Secret

__all__ = ["ONLY_PROVIDER", "compile_providers"]

ONLY_PROVIDER: Final = "default"
"""The key of the one that stands under `provider`."""

_WELL_KNOWN: Final = "/.well-known/openid-configuration"

type _AuthMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]


def compile_providers(context: Context, site: Path, settings: SiteSettings) -> dict[str, Provider]:
    """Return a site's providers by key, none after a problem.

    The one under `provider` is called back at `<prefix>/callback`; each of several at a path of its own, so
    that a code for one is never redeemed at another (S06).
    """
    one, several = (*site, "provider"), (*site, "providers")
    public_url = parse_origin(settings.public_url)
    callback = f"{settings.prefix}/callback"
    if settings.provider is not None and settings.providers is not None:
        context.refuse(
            several, "can't stand beside provider; move that into it, under a name", one, at_key=True
        )
    if settings.provider is not None:
        part = _Part(context, one, public_url)
        return {ONLY_PROVIDER: part.build(ONLY_PROVIDER, callback, settings.provider)}
    if settings.providers is None:
        example = "{type: oidc, issuer: https://id.example.com, client_id: app}"
        context.refuse(one, f"is missing; write `provider: {example}`", several, at_key=True)
        return {}
    return {
        name: _Part(context, (*several, name), public_url).build(name, f"{callback}/{name}", provider)
        for name, provider in settings.providers.items()
    }


@dataclass(frozen=True, slots=True)
class _Part:
    """The compilation of one provider's settings, at `path`, for a site with this public URL."""

    context: Context
    path: Path
    public_url: Origin

    def build(self, key: str, redirect_path: str, settings: ProviderSettings) -> Provider:
        self._check_urls(settings)
        self._check_discovery(settings)
        self._check_scopes(settings)
        self._check_response_mode(settings)
        secret = self.context.secret((*self.path, "client_secret"), settings.client_secret)
        signing = self.context.secret((*self.path, "private_key"), settings.private_key)
        ca_file = self.context.file((*self.path, "ca_file"), settings.ca_file)
        check_authorities(self.context, (*self.path, "ca_file"), ca_file)
        endpoints = settings.endpoints
        return Provider(
            key=key,
            type=settings.type,
            display_name=settings.display_name or parse_origin(settings.issuer).authority,
            issuer=settings.issuer,
            client_id=settings.client_id,
            redirect_path=redirect_path,
            client_secret=secret,
            auth_method=self._auth_method(settings),
            private_key=signing,
            private_key_id=settings.private_key_id,
            private_key_alg=self._signing_algorithm(settings, signing),
            assertion_audience=settings.assertion_audience,
            scopes=settings.scopes,
            response_mode=settings.response_mode,
            audience=settings.audience,
            extra_params=tuple(settings.extra_params.items()),
            forwarded_params=frozenset(settings.forwarded_params),
            max_state_chars=settings.max_state,
            authorization_endpoint=endpoints.authorization,
            token_endpoint=endpoints.token,
            userinfo_endpoint=endpoints.userinfo,
            jwks_uri=endpoints.jwks,
            end_session_endpoint=endpoints.end_session,
            discovery=settings.discovery,
            discovery_url=settings.discovery_url,
            algorithms=settings.algorithms,
            claims=_claim_names(settings.claims),
            require_verified_email=settings.require_verified_email,
            userinfo=settings.userinfo,
            leeway_seconds=settings.clock_skew,
            call_seconds=settings.timeout,
            call_max_bytes=settings.max_answer,
            keys_min_refetch_seconds=settings.keys_refetch,
            ca_file=ca_file,
            http_proxy=settings.http_proxy,
            insecure_http=settings.insecure_http,
        )

    def _refuse(self, key: str, message: str, *concerned: str, at_key: bool = False) -> None:
        paths = [(*self.path, name) for name in concerned]
        self.context.refuse((*self.path, key), message, *paths, at_key=at_key)

    def _check_urls(self, settings: ProviderSettings) -> None:
        issuer = settings.issuer
        if issuer.rstrip("/").endswith(_WELL_KNOWN):
            self._refuse("issuer", f"is the issuer's own name, without {_WELL_KNOWN}; end it before that")
        elif "?" in issuer:
            # OpenID Connect Discovery §3: an issuer has no query and no fragment.
            self._refuse(
                "issuer", f"{quoted(issuer)} holds a query, which no issuer has; end it before the ?"
            )
        self._check_scheme(("issuer",), issuer, settings)
        self._check_scheme(("discovery_url",), settings.discovery_url, settings)
        for name in EndpointSettings.model_fields:
            self._check_scheme(("endpoints", name), getattr(settings.endpoints, name), settings)

    def _check_scheme(self, below: Path, url: str | None, settings: ProviderSettings) -> None:
        """Refuse http: whoever is in between could log in as anybody (S16)."""
        if url is None or settings.insecure_http:
            return
        origin = parse_origin(url)
        if origin.scheme == "http" and not is_loopback(origin.host):
            self.context.refuse(
                (*self.path, *below),
                f"{quoted(url)} is http, and whoever is in between could log in as anybody; write https,"
                " or set insecure_http: true where that network is yours alone",
                (*self.path, "insecure_http"),
            )

    def _check_discovery(self, settings: ProviderSettings) -> None:
        if settings.discovery:
            return
        if settings.discovery_url is not None:
            self._refuse(
                "discovery_url", "is of no use with discovery: false; remove one of them", "discovery"
            )
        for name in ("authorization", "token", "jwks"):
            if getattr(settings.endpoints, name) is None:
                self.context.refuse(
                    (*self.path, "endpoints", name),
                    "is missing, and without discovery nothing else tells it; write its URL",
                    (*self.path, "discovery"),
                    at_key=True,
                )

    def _check_scopes(self, settings: ProviderSettings) -> None:
        if "openid" not in settings.scopes:
            self._refuse("scopes", "lacks openid, without which there is no ID token; add it")

    def _check_response_mode(self, settings: ProviderSettings) -> None:
        is_local = is_loopback(self.public_url.host)
        if settings.response_mode == "form_post" and self.public_url.scheme == "http" and not is_local:
            self.context.refuse(
                (*self.path, "response_mode"),
                "form_post needs https: the answer comes by a POST from the provider's page, and browsers"
                " send the login's cookie with that only if it is SameSite=None and Secure; write query",
                (*self.path[:-1], "public_url"),
            )

    def _auth_method(self, settings: ProviderSettings) -> _AuthMethod:
        has_secret, has_key = settings.client_secret is not None, settings.private_key is not None
        match settings.auth_method:
            case "auto" if has_secret and has_key:
                self._refuse(
                    "auth_method",
                    "is open: client_secret and private_key are both set; write private_key_jwt,"
                    " client_secret_basic or client_secret_post",
                    "client_secret",
                    "private_key",
                    at_key=True,
                )
            case "auto":
                return "private_key_jwt" if has_key else "client_secret_basic" if has_secret else "none"
            case "none" if has_secret:
                self._refuse(
                    "client_secret", "is not sent with auth_method: none; remove it, or that", "auth_method"
                )
            case ("client_secret_basic" | "client_secret_post") as method if not has_secret:
                self._refuse(
                    "client_secret",
                    f"is missing, and auth_method is {method}; add it",
                    "auth_method",
                    at_key=True,
                )
            case "private_key_jwt" if not has_key:
                self._refuse(
                    "private_key",
                    "is missing, and auth_method is private_key_jwt; add it",
                    "auth_method",
                    at_key=True,
                )
            case method:
                return method
        return "none"

    def _signing_algorithm(self, settings: ProviderSettings, secret: Secret | None) -> str:
        path = (*self.path, "private_key")
        key = None if secret is None else private_key(self.context, path, secret)
        fitting = () if key is None else signing_algorithms(self.context, path, key)
        wanted = settings.private_key_algorithm
        if not fitting:
            return wanted or "RS256"
        if wanted is not None and wanted not in fitting:
            self._refuse(
                "private_key_algorithm", f'"{wanted}" does not fit private_key; write {" or ".join(fitting)}'
            )
        return wanted or fitting[0]


def _claim_names(settings: ClaimSettings) -> ClaimNames:
    return ClaimNames(
        user=(settings.user,) if isinstance(settings.user, str) else settings.user,
        email=settings.email,
        email_verified=settings.email_verified,
        preferred_username=settings.preferred_username,
        name=settings.name,
        groups=settings.groups,
        roles=settings.roles,
    )
