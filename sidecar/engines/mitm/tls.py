"""TLS of both sides, as the configuration says: our certificate to clients, an upstream's own rules to it."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mitmproxy.addons import tlsconfig
from mitmproxy.connection import Server
from mitmproxy.proxy.layers.quic import QuicTlsSettings
from mitmproxy.proxy.mode_specs import ReverseMode
from OpenSSL import SSL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mitmproxy.proxy.layers.quic import QuicTlsData
    from mitmproxy.tls import TlsData

    from sidecar.application import Observer
    from sidecar.core.runtime import ListenerTls, Upstream

__all__ = ["ConnectionTls"]

_MULTIPLEXED: tuple[bytes, ...] = (b"h2", b"http/1.1")
_PLAIN: tuple[bytes, ...] = (b"http/1.1",)


class ConnectionTls:
    """An addon that comes before mitmproxy's own; what it leaves alone is that one's."""

    name = "doorward-tls"

    def __init__(
        self,
        listener: ListenerTls | None,
        upstreams: Mapping[tuple[str, int], Upstream],
        observer: Observer,
    ) -> None:
        """Read the listener's files. Raises OSError or SSL.Error: the operator's fault."""
        self._listener = listener
        self._upstreams = upstreams
        self._observer = observer
        self._stamp = self._stamp_of_files()
        self._context = None if listener is None else _listener_context(listener)

    def _stamp_of_files(self) -> tuple[int, ...]:
        if self._listener is None:
            return ()
        files = (self._listener.certificate_file, self._listener.key_file)
        return tuple(os.stat(name).st_mtime_ns for name in files)  # noqa: PTH116  once for each connection

    def _current_context(self) -> SSL.Context | None:
        """Return the listener's context, of files that have changed if they fit; else the last good one."""
        if self._listener is None:
            return None
        try:
            stamp = self._stamp_of_files()
            if stamp != self._stamp:
                self._stamp = stamp
                self._context = _listener_context(self._listener)
                self._observer.event("certificate_reloaded", (("file", self._listener.certificate_file),))
        except (OSError, SSL.Error) as error:
            self._observer.event(
                "certificate_refused", (("file", self._listener.certificate_file), ("error", str(error)))
            )
        return self._context

    def tls_start_client(self, start: TlsData) -> None:
        """Show our certificate on a reverse proxy's listener."""
        if not isinstance(start.context.client.proxy_mode, ReverseMode):
            return
        context = self._current_context()
        if context is None:
            return
        start.ssl_conn = SSL.Connection(context)
        start.ssl_conn.set_app_data({"client_alpn": None, "server_alpn": None, "http2": True})
        start.ssl_conn.set_accept_state()

    def quic_start_client(self, start: QuicTlsData) -> None:
        """Likewise for HTTP/3."""
        if self._listener is None:
            return
        certificates = x509.load_pem_x509_certificates(Path(self._listener.certificate_file).read_bytes())
        key = load_pem_private_key(Path(self._listener.key_file).read_bytes(), None)
        if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
            return  # HTTP/3 has no certificate then, and no handshake succeeds
        start.settings = QuicTlsSettings(
            alpn_protocols=["h3"],
            certificate=certificates[0],
            certificate_chain=certificates[1:],
            certificate_private_key=key,
        )

    def tls_start_server(self, start: TlsData) -> None:
        """Speak to an upstream by its own rules: its authority, its name, our certificate for it."""
        server = start.conn
        if not isinstance(server, Server) or server.address is None:
            return
        upstream = self._upstreams.get((server.address[0], server.address[1]))
        if upstream is None:
            return
        # The protocol that the client speaks, so that gRPC and its trailers pass.
        is_multiplexed = start.context.client.alpn not in {None, b"http/1.1", b"http/1.0"}
        server.alpn_offers = _MULTIPLEXED if is_multiplexed else _PLAIN
        server.sni = (upstream.tls.server_name if upstream.tls is not None else None) or upstream.host
        start.ssl_conn = _upstream_connection(upstream, server.sni, server.alpn_offers)


def _listener_context(listener: ListenerTls) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_chain_file(listener.certificate_file)
    context.use_privatekey_file(listener.key_file)
    context.check_privatekey()
    context.set_alpn_select_callback(tlsconfig.alpn_select_callback)
    return context


def _upstream_connection(upstream: Upstream, name: str, protocols: tuple[bytes, ...]) -> SSL.Connection:
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
