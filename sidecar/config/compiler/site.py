"""One site."""

from __future__ import annotations

from collections.abc import Iterable

from sidecar.config.addresses import is_loopback, parse_authority, parse_origin
from sidecar.config.compiler.context import Context
from sidecar.config.compiler.cookies import compile_cookie
from sidecar.config.compiler.headers import claims_in, compile_headers, sources_in
from sidecar.config.compiler.keys import key_ring
from sidecar.config.compiler.providers import compile_providers
from sidecar.config.compiler.rules import rules_of
from sidecar.config.compiler.upstreams import compile_routes
from sidecar.config.models.session import SessionSettings
from sidecar.config.models.site import SiteSettings
from sidecar.config.problems import Path, quoted
from sidecar.config.values import duration_text
from sidecar.core.policy import All, AnyOf, Condition, EmailDomains, Emails, Not, claims_used, is_public
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import HeaderPolicy, Origin, Provider, SessionPolicy, Site

__all__ = ["compile_site"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


def compile_site(context: Context, path: Path, name: str, settings: SiteSettings) -> Site | None:
    """Return the site, None after a problem that leaves nothing to make one of."""
    public_url = parse_origin(settings.public_url)
    _check_public_url(context, (*path, "public_url"), settings.public_url, public_url)
    hosts = _hosts(settings, public_url)
    routes = compile_routes(context, path, settings)
    providers = compile_providers(context, path, settings)
    rules = rules_of(context, path, settings, hosts)
    headers = compile_headers(context, (*path, "headers"), settings.headers, public_url)
    session = _session(context, path, settings, public_url, _Needs(rules, headers, providers))
    _check_sign_in(context, path, settings)
    _warn_of_rules(context, path, rules, providers)
    cookie = compile_cookie(context, (*path, "cookie"), settings.cookie, public_url)
    if session is None:
        return None
    return Site(
        name=name,
        public_url=public_url,
        hosts=hosts,
        prefix=settings.prefix,
        routes=routes,
        providers=providers,
        rules=RuleTable.build(rules, fold_case=settings.path_case == "fold"),
        cookie=cookie,
        session=session,
        headers=headers,
        sign_in="page" if len(providers) > 1 else settings.sign_in,
        trusted_origins=frozenset(str(parse_origin(origin)) for origin in settings.trusted_origins),
        return_hosts=frozenset(settings.return_hosts),
        csrf_check=settings.csrf_check,
    )


def _check_public_url(context: Context, path: Path, text: str, public_url: Origin) -> None:
    if public_url.scheme == "http" and not is_loopback(public_url.host):
        context.refuse(
            path,
            f"{quoted(text)} is http, and whoever is in between could take over sessions; write https"
            " (http is for 127.0.0.0/8, ::1, localhost and *.localhost)",
        )


def _hosts(settings: SiteSettings, public_url: Origin) -> frozenset[str]:
    """Return the site's authorities: in lower case, without a default port."""
    return frozenset(
        {public_url.authority, *(_authority(host, public_url.scheme) for host in settings.hosts)}
    )


def _authority(text: str, scheme: str) -> str:
    host, port = parse_authority(text)
    name = f"[{host}]" if ":" in host else host
    return name if port in {None, _DEFAULT_PORTS[scheme]} else f"{name}:{port}"


def _check_sign_in(context: Context, path: Path, settings: SiteSettings) -> None:
    several = settings.providers is not None and len(settings.providers) > 1
    if several and settings.sign_in == "redirect" and context.is_written((*path, "sign_in")):
        context.refuse(
            (*path, "sign_in"),
            "can't be redirect with several providers, of which people choose one; write page",
            (*path, "providers"),
        )


class _Needs:
    """What a session of the site must hold, and no more than that."""

    def __init__(self, rules: Iterable[Rule], headers: HeaderPolicy, providers: dict[str, Provider]) -> None:
        sources = sources_in(headers)
        self.access_token = "access_token" in sources
        # Besides headers, the ID token is only good for telling the provider whom to sign out
        # (OpenID Connect RP-Initiated Logout §2, `id_token_hint`).
        may_log_out = any(p.discovery or p.end_session_endpoint is not None for p in providers.values())
        self.id_token = "id_token" in sources or may_log_out
        used = set[str]().union(*(claims_used(rule.allow) for rule in rules))
        self.claims = tuple(sorted(used | claims_in(headers)))


def _session(
    context: Context, site: Path, settings: SiteSettings, public_url: Origin, needs: _Needs
) -> SessionPolicy | None:
    path, session = (*site, "session"), settings.session
    keys = key_ring(context, (*path, "keys"), session.keys, is_local=is_loopback(public_url.host))
    _check_lifetimes(context, path, session)
    if keys is None:
        return None
    return SessionPolicy(
        keys=keys,
        idle_seconds=session.idle,
        absolute_seconds=session.absolute,
        store=session.store,
        refresh_before_seconds=session.refresh_before,
        keep_access_token=needs.access_token,
        keep_id_token=needs.id_token,
        kept_claims=needs.claims,
    )


def _check_lifetimes(context: Context, path: Path, session: SessionSettings) -> None:
    if session.idle > session.absolute and context.is_written((*path, "idle")):
        context.warn(
            (*path, "idle"),
            f"is {duration_text(session.idle)} and never ends a session: absolute ends it after"
            f" {duration_text(session.absolute)}",
            (*path, "absolute"),
        )


def _warn_of_rules(context: Context, path: Path, rules: list[Rule], providers: dict[str, Provider]) -> None:
    if rules and all(is_public(rule.allow) for rule in rules):
        context.warn((*path, "access"), "lets everybody in: no rule asks anybody to sign in", at_key=True)
    if any(_asks_for_email(rule.allow) for rule in rules):
        for provider in providers.values():
            section = (
                (*path, "provider")
                if context.is_written((*path, "provider"))
                else (*path, "providers", provider.key)
            )
            if "email" not in provider.scopes:
                context.warn(
                    (*section, "scopes"),
                    "lacks email, and rules ask for e-mail addresses, which many providers then do not tell",
                )


def _asks_for_email(condition: Condition) -> bool:
    match condition:
        case Emails() | EmailDomains():
            return True
        case All() | AnyOf():
            return any(map(_asks_for_email, condition.conditions))
        case Not():
            return _asks_for_email(condition.condition)
        case _:
            return False
