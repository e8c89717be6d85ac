"""TLS of a reverse proxy's listener: our certificate, read again when its files change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mitmproxy.addons import tlsconfig
from mitmproxy.proxy.layers.quic import QuicTlsSettings
from mitmproxy.proxy.mode_specs import ReverseMode
from OpenSSL import SSL

if TYPE_CHECKING:
    from mitmproxy.proxy.layers.quic import QuicTlsData
    from mitmproxy.tls import TlsData

    from sidecar.application import Observer
    from sidecar.core.runtime import ListenerTls

__all__ = ["ListenerAddon"]


class ListenerAddon:
    """An addon that comes before mitmproxy's own; what it leaves alone is that one's."""

    name = "doorward-tls"

    def __init__(
        self,
        listener: ListenerTls | None,
        observer: Observer,
    ) -> None:
        """Read the listener's files. Raises OSError or SSL.Error: the operator's fault."""
        self._listener = listener
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


def _listener_context(listener: ListenerTls) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_chain_file(listener.certificate_file)
    context.use_privatekey_file(listener.key_file)
    context.check_privatekey()
    context.set_alpn_select_callback(tlsconfig.alpn_select_callback)
    return context
