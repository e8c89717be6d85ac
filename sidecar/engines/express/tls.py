"""TLS on the listener and towards upstreams; certificate files are read again when they change.

A file that can't be used never replaces one that can: what was loaded last goes on serving, and the
operator is told. TLS 1.2 is the floor (RFC 9325 §3.1.1), the only protocol is HTTP/1.1 (RFC 7301).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.application import Observer
    from sidecar.core.runtime import ListenerTls, Upstream

__all__ = ["ListenerContext", "UpstreamContexts"]

type _Stamp = tuple[tuple[int, int, int], ...]


def _stamp(*paths: str | None) -> _Stamp:
    """Return what changes when one of the files does; links are followed (Kubernetes swaps one)."""
    try:
        stats = [Path(path).stat() for path in paths if path is not None]
    except OSError:
        return ()
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)


def _tell_refused(observer: Observer, where: str, error: Exception) -> None:
    fields = (("where", where), ("error", f"{type(error).__name__}: {error}"))
    observer.event("certificate_refused", fields)


def _build_listener_context(tls: ListenerTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    if tls.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tls.client_ca_file)
        # A resumed session shows no certificate, and the first context goes on to accept its own: whoever
        # has lost the authority's word, or whose certificate has ended, would be let in for hours.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


class ListenerContext:
    """The listener's context: `context` is given to the loop once, and leads each handshake to the newest."""

    __slots__ = ("_newest", "_observer", "_refused", "_stamp", "_tls", "context")

    def __init__(self, tls: ListenerTls, observer: Observer) -> None:
        """Load the files. Raises OSError or ssl.SSLError: the operator's files are missing or don't fit."""
        self._tls = tls
        self._observer = observer
        self._stamp = _stamp(tls.certificate_file, tls.key_file, tls.client_ca_file)
        self._refused: _Stamp | None = None
        self._newest = self.context = _build_listener_context(tls)
        # Called in every handshake, with or without a server name; swaps certificate and key atomically.
        self.context.sni_callback = self._choose

    @property
    def stamp(self) -> object:
        """Return what changes when other files have come into use."""
        return self._stamp

    def _choose(self, handshake: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext) -> None:
        if self._newest is not self.context:
            handshake.context = self._newest

    def reload(self) -> None:
        """Load the files again when they have changed; tell the observer how that went, once."""
        stamp = _stamp(self._tls.certificate_file, self._tls.key_file, self._tls.client_ca_file)
        if stamp in {self._stamp, self._refused}:
            return
        try:
            newest = _build_listener_context(self._tls)
        except (OSError, ssl.SSLError) as error:
            self._refused = stamp
            _tell_refused(self._observer, self._tls.certificate_file, error)
            return
        self._newest = newest
        self._stamp = stamp
        self._refused = None
        self._observer.event("certificate_reloaded", (("where", self._tls.certificate_file),))


class UpstreamContexts:
    """The client's context for one upstream; None for plain http."""

    __slots__ = ("_context", "_observer", "_stamp", "_upstream", "server_name")

    def __init__(self, upstream: Upstream, observer: Observer) -> None:
        """Read nothing yet: an upstream that nobody asks for needs no files."""
        self._upstream = upstream
        self._observer = observer
        self._context: ssl.SSLContext | None = None
        self._stamp: _Stamp | None = None
        tls = upstream.tls
        self.server_name = (tls.server_name if tls is not None else None) or upstream.host

    def current(self) -> ssl.SSLContext | None:
        """Return a context made from the files as they are now, or as they were when they last could be used.

        Raises OSError or ssl.SSLError when they never could: the operator's fault.
        """
        if self._upstream.scheme != "https":
            return None
        tls = self._upstream.tls
        stamp = _stamp(tls.ca_file, tls.certificate_file, tls.key_file) if tls is not None else ()
        if self._context is None:
            self._context = self._build()
        elif stamp != self._stamp:
            try:
                self._context = self._build()
            except (OSError, ssl.SSLError) as error:
                _tell_refused(self._observer, self._upstream.name, error)
        self._stamp = stamp
        return self._context

    def _build(self) -> ssl.SSLContext:
        tls = self._upstream.tls
        context = ssl.create_default_context(cafile=tls.ca_file if tls is not None else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        if tls is not None and tls.ca_file is not None:
            # Python 3.13 refuses authorities without key identifiers, as those made by hand are; 3.12 and
            # nginx don't. Signature, validity and name are checked all the same.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if tls is not None and tls.certificate_file is not None:
            context.load_cert_chain(tls.certificate_file, tls.key_file)
        return context
