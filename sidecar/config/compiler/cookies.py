"""Our cookies: their names, and who else would see them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, Literal

from sidecar.config.addresses import is_loopback
from sidecar.config.compiler.context import Context
from sidecar.config.models.session import CookieSettings
from sidecar.config.problems import Path, quoted
from sidecar.core.runtime import CookiePolicy, Origin, Site

__all__ = ["compile_cookie", "refuse_collisions"]

_HOST: Final = "__Host-"
_SECURE: Final = "__Secure-"
_SAME_SITE: Final[dict[str, Literal["Lax", "None"]]] = {
    "lax": "Lax",
    "none": "None",
}


def compile_cookie(
    context: Context, path: Path, settings: CookieSettings, public_url: Origin
) -> CookiePolicy:
    """Return a site's cookies.

    A browser takes a `__Host-` cookie from https only, without Domain and for the path / (RFC 6265bis
    §4.1.3.2): no other host can set or replace it. On loopback over http there is none of that, and all ports
    share their cookies: there the port is in the name.
    """
    is_local = public_url.scheme == "http" and is_loopback(public_url.host)
    domain = (
        None if settings.domain is None else _domain(context, (*path, "domain"), settings.domain, public_url)
    )
    name = _base_name(context, (*path, "name"), settings, is_local=is_local)
    prefix = "" if is_local else _HOST if settings.domain is None else _SECURE
    suffix = f"-{public_url.port}" if is_local else ""
    _check_same_site(context, path, settings, is_local=is_local)
    return CookiePolicy(
        session_name=f"{prefix}{name}{suffix}".encode(),
        transaction_name=f"{prefix}{name}-login{suffix}".encode(),
        secure=not is_local,
        same_site=_SAME_SITE[settings.same_site],
        partitioned=settings.partitioned,
        domain=domain,
    )


def _base_name(context: Context, path: Path, settings: CookieSettings, *, is_local: bool) -> str:
    """Return the name without a prefix; an operator may write the one that we put there anyway."""
    lower = settings.name.lower()
    if lower.startswith(_HOST.lower()) and settings.domain is not None:
        # S29: browsers drop such a cookie, and nobody could log in.
        context.refuse(
            path,
            f"{quoted(settings.name)} can't go with domain: a cookie whose name starts with __Host- has none;"
            f" write {quoted(settings.name[len(_HOST) :])}, to which __Secure- is added",
            (*path[:-1], "domain"),
        )
    elif is_local and lower.startswith((_HOST.lower(), _SECURE.lower())):
        context.refuse(
            path,
            f"{quoted(settings.name)} can't be set over http: names that start with __Host- or __Secure- need"
            f" https; write {quoted(settings.name.partition('-')[2])}",
        )
    elif lower.startswith(_SECURE.lower()) and settings.domain is None:
        context.refuse(
            path,
            f"{quoted(settings.name)} is weaker than need be without domain;"
            f" write {quoted(settings.name[len(_SECURE) :])}, to which __Host- is added",
        )
    for prefix in (_HOST, _SECURE):
        if lower.startswith(prefix.lower()):
            return settings.name[len(prefix) :]
    return settings.name


def _domain(context: Context, path: Path, domain: str, public_url: Origin) -> str:
    """Return the domain. It covers public_url's host; others may get their sessions handed over."""
    bare = domain.lower()
    if bare.startswith("."):
        context.refuse(
            path, f"{quoted(domain)} begins with a dot, which no longer means anything; write {bare[1:]}"
        )
    elif "." not in bare or _is_address(bare):
        context.refuse(
            path, f"{quoted(domain)} is no domain with hosts below it; write example.com, or remove it"
        )
    elif public_url.host != bare and not public_url.host.endswith(f".{bare}"):
        context.refuse(
            path, f"{quoted(domain)} does not cover {public_url.host} of public_url; name a domain above it"
        )
    return bare


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _check_same_site(context: Context, path: Path, settings: CookieSettings, *, is_local: bool) -> None:
    if settings.same_site == "none" and is_local:
        context.refuse((*path, "same_site"), "none needs https: browsers drop such a cookie else; write lax")
    if settings.partitioned and settings.same_site != "none":
        context.refuse(
            (*path, "partitioned"),
            "is for sites inside other sites' frames, where only same_site: none arrives; add that, or remove"
            " it",
            (*path, "same_site"),
        )


def refuse_collisions(context: Context, sites: Iterable[tuple[Path, Site]]) -> None:
    """Refuse two sites whose cookies a browser would send to both: each would end the other's sessions.

    Cookies know no ports (RFC 6265bis §8.5), and one with Domain goes to every host below it.
    """
    seen: list[tuple[Path, Site]] = []
    for path, site in sites:
        for _, other in seen:
            if _cookie_names(other) & _cookie_names(site) and _share(other, site):
                name = site.cookie.session_name.decode()
                context.refuse(
                    (*path, "cookie"),
                    f"has the name {quoted(name)} of the site {other.name}'s, and browsers would send each to"
                    " both; give one of them another cookie.name",
                    (*path, "public_url"),
                    at_key=True,
                )
                break
        seen.append((path, site))


def _cookie_names(site: Site) -> set[bytes]:
    return {site.cookie.session_name, site.cookie.transaction_name}


def _share(one: Site, other: Site) -> bool:
    """Tell whether a browser sends cookies of one of the sites to a host of the other.

    Sites of the very same host were refused before, for that.
    """
    if one.hosts & other.hosts:
        return False
    mine, theirs = _names(one), _names(other)
    if mine & theirs:
        return True
    return _reaches(one.cookie.domain, theirs) or _reaches(other.cookie.domain, mine)


def _reaches(domain: str | None, names: set[str]) -> bool:
    return domain is not None and any(name == domain or name.endswith(f".{domain}") for name in names)


def _names(site: Site) -> set[str]:
    return {_without_port(host) for host in site.hosts}


def _without_port(authority: str) -> str:
    host, _, port = authority.rpartition(":")
    return host if host and port.isdigit() else authority
