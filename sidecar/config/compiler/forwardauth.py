"""Forward auth: who may ask about requests of others."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from sidecar.config.addresses import parse_network
from sidecar.config.compiler.context import Context
from sidecar.config.models.process import UNIX_PEERS, ProcessSettings
from sidecar.config.problems import Path
from sidecar.core.runtime import ForwardAuthPolicy, ListenerTls, Network, Site

__all__ = ["compile_forward_auth", "refuse_unix_peers", "warn_of_forward_auth"]

_KEY: Final = "forward_auth"
_MIN_SECRET_BYTES: Final = 16


def compile_forward_auth(
    context: Context, document: ProcessSettings, tls: ListenerTls | None
) -> ForwardAuthPolicy | None:
    """Return the policy; None where nobody may ask, or after a problem."""
    settings = document.forward_auth
    if settings is None:
        return None
    callers = (_KEY, "callers")
    listens = (document.listen,) if settings.grpc is None else (document.listen, settings.grpc)
    refuse_unix_peers(context, callers, settings.callers, listens)
    secret = context.secret((_KEY, "secret"), settings.secret)
    if secret is not None and not _may_be_sent(secret.reveal()):
        context.refuse(
            (_KEY, "secret"),
            f"has to be {_MIN_SECRET_BYTES} or more visible ASCII characters; `openssl rand -hex 32`"
            " makes one",
        )
    has_certificates = tls is not None and tls.client_ca_file is not None
    if not settings.callers and settings.secret is None and not has_certificates:
        context.refuse(
            (_KEY,),
            "says of nobody that he may ask; write callers (the addresses of your ingress), secret, or"
            " tls.client_ca",
        )
    if settings.grpc is not None and settings.grpc in {document.listen, document.admin}:
        context.refuse((_KEY, "grpc"), "is another listener's address; give it another port", ("listen",))
    if settings.grpc is not None and settings.grpc.startswith("unix:") and document.workers > 1:
        context.refuse(
            (_KEY, "grpc"),
            f"can't be a unix socket with workers: {document.workers}, which can't share it; write host:port",
            ("workers",),
        )
    return ForwardAuthPolicy(
        callers=tuple(parse_network(text) for text in settings.callers if text != UNIX_PEERS),
        trusts_unix=UNIX_PEERS in settings.callers,
        secret=secret,
        needs_certificate=has_certificates,
        grpc=settings.grpc,
    )


def warn_of_forward_auth(
    context: Context, document: ProcessSettings, sites: Sequence[tuple[Path, Site]]
) -> None:
    """Note what works and is probably not meant."""
    if document.forward_auth is None:
        for path, site in sites:
            if not site.routes and context.is_written((*path, "upstream")):
                context.warn(
                    (*path, "upstream"),
                    "lets nothing through, and no ingress may ask; add forward_auth, or name the application",
                )
        return
    trusted = [parse_network(text) for text in document.trusted_proxies if text != UNIX_PEERS]
    for index, text in enumerate(document.forward_auth.callers):
        if text == UNIX_PEERS:
            is_trusted = UNIX_PEERS in document.trusted_proxies
        else:
            is_trusted = any(_is_within(parse_network(text), network) for network in trusted)
        if not is_trusted:
            context.warn(
                (_KEY, "callers", index),
                "is not among trusted_proxies: what the ingress sends to our own endpoints counts as"
                f" {text}'s, not the browser's; add it there",
                ("trusted_proxies",),
            )


def _is_within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def refuse_unix_peers(context: Context, path: Path, networks: Sequence[str], listens: Sequence[str]) -> None:
    """Refuse `unix` among `networks` where none of `listens` is a unix socket."""
    if UNIX_PEERS in networks and not any(listen.startswith("unix:") for listen in listens):
        context.refuse(
            (*path, networks.index(UNIX_PEERS)),
            f"stands for whoever connects to our unix socket, and listen is {listens[0]}; remove it",
            ("listen",),
        )


def _may_be_sent(secret: bytes) -> bool:
    """Tell whether a field can hold the secret, and nobody guesses it."""
    return len(secret) >= _MIN_SECRET_BYTES and all(0x21 <= byte <= 0x7E for byte in secret)  # noqa: PLR2004
