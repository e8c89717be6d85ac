"""The process: listeners, limits, and all sites together."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.config.addresses import is_loopback, parse_network, parse_origin
from sidecar.config.compiler.context import Context
from sidecar.config.compiler.cookies import refuse_collisions
from sidecar.config.compiler.forwardauth import (
    compile_forward_auth,
    refuse_unix_peers,
    warn_of_forward_auth,
)
from sidecar.config.compiler.site import compile_site
from sidecar.config.compiler.tls import check_authorities, check_pair
from sidecar.config.models.document import LongDocument, ShortDocument
from sidecar.config.models.process import UNIX_PEERS, LimitSettings, ProcessSettings
from sidecar.config.models.site import SiteSettings
from sidecar.config.problems import Path, quoted
from sidecar.core.runtime import Limits, ListenerTls, Runtime, Site, Upstream

__all__ = ["compile_document"]


def compile_document(context: Context, document: ShortDocument | LongDocument) -> Runtime | None:
    """Return the Runtime; None when `context` has got problems."""
    sites: list[tuple[Path, Site]] = []
    for path, name, settings in _sites(document):
        site = compile_site(context, path, name, settings)
        if site is not None:
            sites.append((path, site))
    _refuse_shared_hosts(context, sites)
    refuse_collisions(context, sites)
    _check_listeners(context, document)
    _check_engine(context, document, [site for _, site in sites])
    _refuse_circles(context, document.listen, sites)
    tls = _tls(context, document)
    forward_auth = compile_forward_auth(context, document, tls)
    warn_of_forward_auth(context, document, sites)
    if context.problems:
        return None
    return Runtime(
        sites=tuple(site for _, site in sites),
        trusted_proxies=tuple(parse_network(text) for text in document.trusted_proxies if text != UNIX_PEERS),
        trusts_unix_peers=UNIX_PEERS in document.trusted_proxies,
        listen=document.listen,
        admin=document.admin,
        tls=tls,
        limits=_limits(document.limits),
        workers=document.workers,
        engine=document.engine,
        mode=document.mode,
        authority_folder=_authority_folder(context, document),
        forward_auth=forward_auth,
        compat=document.compat,
        access_log=document.log.access,
        log_format=document.log.format,
        log_level=document.log.level,
    )


def _sites(document: ShortDocument | LongDocument) -> Iterator[tuple[Path, str, SiteSettings]]:
    """Yield each site with its path and name; a site without a name is called by its host."""
    if isinstance(document, ShortDocument):
        yield (), _host_name(document), document
    elif isinstance(document.sites, dict):
        for name, site in document.sites.items():
            yield ("sites", name), name, site
    else:
        for index, listed in enumerate(document.sites):
            yield ("sites", index), listed.name or _host_name(listed), listed


def _host_name(settings: SiteSettings) -> str:
    return parse_origin(settings.public_url).authority


def _refuse_shared_hosts(context: Context, sites: list[tuple[Path, Site]]) -> None:
    by_host: dict[str, Site] = {}
    names: set[str] = set()
    for path, site in sites:
        shared = sorted(host for host in site.hosts if host in by_host)
        for host in shared:
            context.refuse(
                (*path, "public_url"),
                f"{quoted(host)} is a host of the site {by_host[host].name} too; a host belongs to one site",
                (*path, "hosts"),
            )
        if site.name in names and not shared:
            context.refuse((*path, "name"), f"{quoted(site.name)} is another site's name too; choose another")
        names.add(site.name)
        by_host.update(dict.fromkeys(site.hosts, site))


def _check_listeners(context: Context, document: ProcessSettings) -> None:
    is_fixed = not document.listen.endswith(":0")
    if document.admin is not None and document.admin == document.listen and is_fixed:
        # S71: health and metrics are nobody's business on the public listener.
        context.refuse(("admin",), "is the address of listen; give it another port", ("listen",))
    refuse_unix_peers(context, ("trusted_proxies",), document.trusted_proxies, (document.listen,))


def _refuse_circles(context: Context, listen: str, sites: list[tuple[Path, Site]]) -> None:
    """Refuse an upstream that is ourselves: each request would come back until something breaks."""
    for path, site in sites:
        for route in site.routes:
            if _is_served_by(listen, route.upstream):
                several = (*path, "upstreams", route.prefix)
                context.refuse(
                    several if context.is_written(several) else (*path, "upstream"),
                    "is the address of listen, so requests would go round; name the application's",
                    ("listen",),
                )


def _is_served_by(listen: str, upstream: Upstream) -> bool:
    if upstream.unix_path is not None:
        return listen == f"unix:{upstream.unix_path}"
    host, _, port = listen.rpartition(":")
    if port != str(upstream.port):
        return False
    host = host.strip("[]")
    return host == upstream.host or (
        is_loopback(upstream.host) and (is_loopback(host) or host in {"0.0.0.0", "::"})  # noqa: S104
    )


def _check_engine(context: Context, document: ProcessSettings, sites: list[Site]) -> None:
    """Refuse what the chosen engine can't do, instead of doing something else."""
    if document.engine == "express":
        for key, value, default in (
            ("mode", document.mode, "reverse"),
            ("authority_folder", document.authority_folder, None),
        ):
            if value != default:
                context.refuse(
                    (key,), "is of the interception engine; write engine: interception", ("engine",)
                )
        return
    if document.workers > 1:
        context.refuse(("workers",), "is 1 with the interception engine; write 1", ("engine",))
    if document.listen.startswith("unix:"):
        context.refuse(
            ("listen",), "can't be a unix socket with the interception engine; write host:port", ("engine",)
        )
    if document.tls is not None and document.tls.client_ca is not None:
        context.refuse(("tls", "client_ca"), "is of the express engine; remove it", ("engine",))
    if document.tls is not None and document.mode != "reverse":
        context.refuse(
            ("tls",),
            f"is of mode reverse; in mode {document.mode} the authority's certificates are shown",
            ("mode",),
        )
    for site in sites:
        if any(route.upstream.unix_path is not None for route in site.routes):
            context.refuse(
                ("engine",),
                f"interception can't reach the upstream of {site.name} by its unix socket; use express",
            )


def _authority_folder(context: Context, document: ProcessSettings) -> str | None:
    if document.authority_folder is None:
        return None
    return context.place(document.authority_folder)


def _tls(context: Context, document: ProcessSettings) -> ListenerTls | None:
    if document.tls is None:
        return None
    certificate = context.file(("tls", "certificate"), document.tls.certificate)
    key = context.file(("tls", "key"), document.tls.key)
    check_pair(context, ("tls",), certificate, key)
    authority = context.file(("tls", "client_ca"), document.tls.client_ca)
    check_authorities(context, ("tls", "client_ca"), authority)
    return ListenerTls(certificate_file=str(certificate), key_file=str(key), client_ca_file=authority)


def _limits(settings: LimitSettings) -> Limits:
    return Limits(
        max_head_bytes=settings.head_size,
        max_headers=settings.headers,
        max_target_bytes=settings.target_size,
        head_seconds=settings.head_timeout,
        body_grace_seconds=settings.body_grace,
        body_min_rate=settings.body_min_rate,
        idle_seconds=settings.idle_timeout,
        max_connections=settings.connections,
        session_memory_bytes=settings.session_memory,
        drain_seconds=settings.drain,
    )
