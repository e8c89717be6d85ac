"""Where requests go."""

from __future__ import annotations

from sidecar.config.addresses import parse_authority, parse_origin
from sidecar.config.compiler.context import Context
from sidecar.config.compiler.tls import check_authorities, check_pair
from sidecar.config.models.site import SiteSettings
from sidecar.config.models.upstream import NO_UPSTREAM, UpstreamSettings
from sidecar.config.problems import Path, quoted
from sidecar.core.runtime import Origin, Route, Upstream, UpstreamTls

__all__ = ["compile_routes"]

_TLS_KEYS = ("ca_file", "certificate", "key", "server_name")


def compile_routes(context: Context, site: Path, settings: SiteSettings) -> tuple[Route, ...]:
    """Return a site's routes; none after a problem, and where the operator wants none."""
    one, several = (*site, "upstream"), (*site, "upstreams")
    if settings.upstream is not None and settings.upstreams is not None:
        context.refuse(several, 'can\'t stand beside upstream; move that into it, as "/"', one, at_key=True)
    if settings.upstream == NO_UPSTREAM:
        return ()
    if settings.upstream is not None:
        return (Route(prefix="/", upstream=_upstream(context, one, settings.upstream)),)
    if settings.upstreams is None:
        context.refuse(one, "is missing; write `upstream: http://127.0.0.1:3000`", several, at_key=True)
        return ()
    if "/" not in settings.upstreams:
        context.refuse(several, 'has nothing for all the rest; add "/"', at_key=True)
    return tuple(
        Route(prefix=prefix, upstream=_upstream(context, (*several, prefix), form))
        for prefix, form in settings.upstreams.items()
    )


def _upstream(context: Context, path: Path, form: str | UpstreamSettings) -> Upstream:
    settings = UpstreamSettings(url=form) if isinstance(form, str) else form
    _check_host_header(context, path, settings)
    if settings.url.startswith("unix:"):
        _refuse_tls(context, path, settings)
        origin = Origin(scheme="http", host="localhost", port=80)
        return _build(settings, origin, unix_path=settings.url.removeprefix("unix:"))
    origin = parse_origin(settings.url)
    if origin.scheme == "http":
        _refuse_tls(context, path, settings)
        return _build(settings, origin)
    return _build(settings, origin, tls=_tls(context, path, settings))


def _build(
    settings: UpstreamSettings,
    origin: Origin,
    *,
    unix_path: str | None = None,
    tls: UpstreamTls | None = None,
) -> Upstream:
    return Upstream(
        name=settings.url,
        scheme=origin.scheme,
        host=origin.host,
        port=origin.port,
        unix_path=unix_path,
        tls=tls,
        host_header=settings.host_header,
        connect_seconds=settings.connect_timeout,
        response_seconds=settings.response_timeout,
        keepalive_seconds=settings.keepalive,
        max_idle_connections=settings.max_idle,
    )


def _check_host_header(context: Context, path: Path, settings: UpstreamSettings) -> None:
    if settings.host_header is None:
        return
    try:
        parse_authority(settings.host_header)
    except ValueError as error:
        context.refuse((*path, "host_header"), str(error))


def _refuse_tls(context: Context, path: Path, settings: UpstreamSettings) -> None:
    for key in _TLS_KEYS:
        if getattr(settings, key) is not None:
            context.refuse(
                (*path, key),
                f"is for https only, and the upstream is {quoted(settings.url)}; write https, or remove it",
                (*path, "url"),
                at_key=True,
            )


def _tls(context: Context, path: Path, settings: UpstreamSettings) -> UpstreamTls:
    tls = UpstreamTls(
        ca_file=context.file((*path, "ca_file"), settings.ca_file),
        certificate_file=context.file((*path, "certificate"), settings.certificate),
        key_file=context.file((*path, "key"), settings.key),
        server_name=settings.server_name,
    )
    check_authorities(context, (*path, "ca_file"), tls.ca_file)
    check_pair(context, path, tls.certificate_file, tls.key_file)
    return tls
