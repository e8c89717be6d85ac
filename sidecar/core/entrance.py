"""Where a site lets people in: which of its hosts begin a login, and how the others send there.

One callback is registered at the provider, at `public_url`, and a login's cookies must be there when it is
called. So a site with several hosts has three kinds of them:

    here        public_url's own host: a login begins where it ends
    auth_host   a host that shares public_url's cookies, by name or by `cookie.domain`: sends the browser to
                begin at public_url; the session's cookie is this host's too
    handoff     a host that shares none: it gets the session handed over (`core.flows.handoff`)

No URL is ever made from a Host field: a host's authority is looked up among the configured ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from sidecar.core.errors import BadRequest
from sidecar.core.hosts import parse_authority

if TYPE_CHECKING:
    from sidecar.core.runtime import Site

__all__ = [
    "Entrance",
    "absolute",
    "entrance",
    "handoff_hosts",
    "is_host",
    "origin_at",
    "site_at",
    "start_location",
]

type Entrance = Literal["here", "auth_host", "handoff"]


def entrance(site: Site, host: str) -> Entrance:
    """Tell what a host of the site is to a login; `host` as in a Host field. An unknown one is "here"."""
    authority = _authority(site, host)
    if authority == site.public_url.authority:
        return "here"
    name = _name(authority)
    # Cookies know no ports (RFC 6265bis §8.5).
    if name == _name(site.public_url.authority):
        return "auth_host"
    domain = site.cookie.domain
    covered = domain is not None and (name == domain or name.endswith(f".{domain}"))
    return "auth_host" if covered else "handoff"


def handoff_hosts(site: Site) -> frozenset[str]:
    """Return the site's authorities that get their sessions handed over."""
    return frozenset(host for host in site.hosts if entrance(site, host) == "handoff")


def site_at(site: Site, host: str) -> Site:
    """Return the site as it is at one of its hosts: another one where sessions are handed over, by its name.

    A browser takes no cookie for a domain that the host is not in (RFC 6265bis §5.7), so those name none. And
    a session's cookie is worth nothing at another host: behind an ingress the application sees it.
    """
    if entrance(site, host) != "handoff":
        return site
    return replace(site, cookie=replace(site.cookie, outside=_name(_authority(site, host))))


def origin_at(site: Site, host: str) -> str:
    """Return the origin under which browsers reach a host of the site."""
    return f"{site.public_url.scheme}://{_authority(site, host)}"


def is_host(site: Site, host: str) -> bool:
    """Tell whether a Host field means one of the site's hosts."""
    return _found(site, host) is not None


def absolute(site: Site, host: str, url: str) -> str:
    """Return a return URL that was given at `host` so that it means the same at every other one."""
    return origin_at(site, host) + url if url.startswith("/") else url


def start_location(site: Site, host: str, return_to: str, *, cause: str | None = None) -> bytes:
    """Return the absolute URL of the start endpoint for a browser that asked at `host` for `return_to`.

    `return_to` is path and query as sent, or a whole URL. `cause` "denied": the browser was refused it, and
    start behaves as `login.begin` then; None is a click on a link.
    """
    if entrance(site, host) == "auth_host":
        origin, wanted = str(site.public_url), absolute(site, host, return_to)
    else:
        origin, wanted = origin_at(site, host), return_to
    told = "" if cause is None else f"&cause={quote(cause, safe='')}"
    return f"{origin}{site.prefix}/start?rd={quote(wanted, safe='')}{told}".encode("ascii")


def _authority(site: Site, host: str) -> str:
    """Return which of the site's authorities a Host field means, public_url's when it is none of them."""
    return _found(site, host) or site.public_url.authority


def _found(site: Site, host: str) -> str | None:
    """Return which of the site's authorities a Host field means, None when it is none of them.

    A port that no authority has is a container's, or a load balancer's inner one (`core.hosts`).
    """
    try:
        name, port = parse_authority(host.encode("ascii"))
    except (BadRequest, UnicodeEncodeError):
        return None
    for authority in (f"{name}:{port}", name):
        if authority in site.hosts:
            return authority
    public = site.public_url.authority
    named = sorted(authority for authority in site.hosts if _name(authority) == name)
    return public if public in named else next(iter(named), None)


def _name(authority: str) -> str:
    return parse_authority(authority.encode("ascii"))[0]
