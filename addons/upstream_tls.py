"""TLS to an upstream by its own rules: its authority, its name, our certificate for it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import certifi
from mitmproxy.addons import tlsconfig
from mitmproxy.connection import Server
from OpenSSL import SSL

from addons.destinations import destination_of

if TYPE_CHECKING:
    from mitmproxy.tls import TlsData

    from sidecar.core.runtime import Upstream

__all__ = ["build_upstream_connection", "distrust", "start_upstream_tls"]

_MULTIPLEXED: Final = (b"h2", b"http/1.1")
_PLAIN: Final = (b"http/1.1",)


def start_upstream_tls(start: TlsData) -> None:
    """Begin TLS to an upstream of ours; leave others to mitmproxy."""
    server, destination = start.conn, destination_of(start.conn)
    if not isinstance(server, Server) or destination is None:
        return
    upstream = destination.upstream
    # The protocol that the client speaks, so that gRPC and its trailers pass.
    is_multiplexed = start.context.client.alpn not in {None, b"http/1.1", b"http/1.0"}
    server.alpn_offers = _MULTIPLEXED if is_multiplexed else _PLAIN
    server.sni = (upstream.tls.server_name if upstream.tls is not None else None) or upstream.host
    start.ssl_conn = build_upstream_connection(upstream, server.sni, server.alpn_offers)


def distrust(start: TlsData) -> None:
    """Begin TLS that trusts nobody: for an upstream whose rules could not be read."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_PEER)
    start.ssl_conn = SSL.Connection(context)
    start.ssl_conn.set_connect_state()


def build_upstream_connection(upstream: Upstream, name: str, protocols: tuple[bytes, ...]) -> SSL.Connection:
    """Return a connection that verifies the upstream by chain and name."""
    rules = upstream.tls
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_PEER)
    if rules is not None and rules.ca_file is not None:
        context.load_verify_locations(rules.ca_file)
    else:
        context.load_verify_locations(certifi.where())
        context.set_default_verify_paths()
    if rules is not None and rules.certificate_file is not None:
        context.use_certificate_chain_file(rules.certificate_file)
        context.use_privatekey_file(rules.key_file or rules.certificate_file)
    connection = SSL.Connection(context)
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        connection.set_tlsext_host_name(name.encode("ascii"))
        connection.set_verify(SSL.VERIFY_PEER)
        _verify_name(connection, name.encode("ascii"), is_address=False)
    else:
        _verify_name(connection, address.packed, is_address=True)
    connection.set_alpn_protos(list(protocols))
    connection.set_connect_state()
    return connection


def _verify_name(connection: SSL.Connection, name: bytes, *, is_address: bool) -> None:
    """Have OpenSSL hold the certificate against the name; pyOpenSSL has no method for it."""
    lib = SSL._lib  # type: ignore[attr-defined]  # noqa: SLF001  as mitmproxy does
    param = lib.SSL_get0_param(connection._ssl)  # noqa: SLF001
    lib.X509_VERIFY_PARAM_set_hostflags(param, tlsconfig.DEFAULT_HOSTFLAGS)
    if is_address:
        done = lib.X509_VERIFY_PARAM_set1_ip(param, name, len(name))
    else:
        done = lib.X509_VERIFY_PARAM_set1_host(param, name, len(name))
    if done != 1:
        raise ValueError("the upstream's name can't be verified")
