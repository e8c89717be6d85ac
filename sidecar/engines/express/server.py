"""One listener: start, drain, end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.engines.express.connection import HEAD
from sidecar.engines.express.context import Context
from sidecar.engines.express.downstream import Downstream
from sidecar.engines.express.listening import format_address, open_sockets, remove_socket_file
from sidecar.engines.express.sweep import sweep
from sidecar.engines.express.tls import ListenerContext
from sidecar.engines.express.wire import build_date

if TYPE_CHECKING:
    from sidecar.application import Application
    from sidecar.core.decision import Lease
    from sidecar.core.runtime import Limits, ListenerTls

__all__ = ["ExpressServer", "serve"]


class ExpressServer:
    """A listener that runs. `addresses` are where it listens, with the real ports."""

    def __init__(
        self, context: Context, sockets: list[socket.socket], tls: ListenerContext | None, interval: float
    ) -> None:
        """Begin the sweep; `serve` adds what accepts."""
        self.addresses = [format_address(sock) for sock in sockets]
        self._context = context
        self._tls = tls
        self._interval = interval
        self._servers: list[asyncio.Server] = []
        self._files = [
            (sock.getsockname(), Path(sock.getsockname()).stat().st_ino)
            for sock in sockets
            if sock.family == socket.AF_UNIX
        ]
        self._timer: asyncio.TimerHandle | None = context.loop.call_later(interval, self._sweep)

    @property
    def address(self) -> str:
        """Return the first address."""
        return self.addresses[0]

    @property
    def connections(self) -> int:
        """Count the open connections."""
        return self._context.connections

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept on `sockets`."""
        context = self._context
        loop = context.loop
        ssl_context = self._tls.context if self._tls is not None else None
        handshake = context.limits.head_seconds if ssl_context is not None else None
        for sock in sockets:
            if sock.family == socket.AF_UNIX:
                server = await loop.create_unix_server(
                    self._accept, sock=sock, ssl=ssl_context, ssl_handshake_timeout=handshake
                )
            else:
                server = await loop.create_server(
                    self._accept, sock=sock, ssl=ssl_context, ssl_handshake_timeout=handshake
                )
            self._servers.append(server)

    def _accept(self) -> Downstream:
        return Downstream(self._context)

    def _sweep(self) -> None:
        context = self._context
        self._timer = context.loop.call_later(self._interval, self._sweep)
        try:
            context.date = build_date(context.clock())
            sweep(context, time.monotonic(), self._interval)
            if self._tls is not None:
                self._tls.reload()
        except Exception:  # noqa: BLE001  the outermost edge: the next sweep comes all the same
            context.observer.defect("sweep", "")

    def end_leases(self, predicate: Callable[[Lease], bool]) -> int:
        """End each tunnel and running answer whose lease the predicate names; return how many."""
        context = self._context
        count = 0
        for tunnel in tuple(context.tunnels):
            if tunnel.lease is not None and predicate(tunnel.lease):
                tunnel.end()
                count += 1
        for down in tuple(context.downstreams):
            lease = down.exchange.forward.lease if down.exchange is not None else None
            if lease is not None and predicate(lease):
                down.end("session_revoked")
                count += 1
        return count

    async def drain(self, seconds: float) -> None:
        """Stop accepting, let what runs end within `seconds`, then close what is left.

        Answers that have not begun say `Connection: close`; WebSockets are sent a close frame (1001).
        """
        context = self._context
        # What the kernel has accepted for us already is ours to serve.
        await asyncio.sleep(0)
        self._stop_accepting()
        context.is_draining = True
        for down in tuple(context.downstreams):
            if down.phase == HEAD and not down.buffer:
                down.close_idle()
        for tunnel in tuple(context.tunnels):
            tunnel.end()
        await context.wait_empty(seconds)
        self.close()

    def close(self) -> None:
        """End everything at once."""
        self._stop_accepting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        context = self._context
        for down in tuple(context.downstreams):
            if down.phase == HEAD:
                down.close_idle()
            else:
                down.end("client_gone")
        for tunnel in tuple(context.tunnels):
            tunnel.abort()
        context.pools.close()

    def _stop_accepting(self) -> None:
        while self._servers:
            self._servers.pop().close()
        while self._files:
            remove_socket_file(*self._files.pop())


async def serve(
    application: Application,
    listen: str,
    limits: Limits,
    *,
    tls: ListenerTls | None = None,
    reuse_port: bool = False,
    sock: socket.socket | None = None,
    clock: Callable[[], float] = time.time,
    sweep_seconds: float = 1.0,
) -> ExpressServer:
    """Serve `application` in the running loop, on `listen` or on a socket that listens already.

    `clock` tells seconds since the epoch; time-outs are kept to about `sweep_seconds`. Raises OSError when
    the address can't be had or a file can't be read, ssl.SSLError when certificate and key don't fit,
    ValueError when `listen` is no address: the operator's fault.
    """
    context = Context(application, limits, clock)
    listener_tls = ListenerContext(tls, application.observer) if tls is not None else None
    sockets = [sock] if sock is not None else open_sockets(listen, reuse_port=reuse_port)
    server = ExpressServer(context, sockets, listener_tls, sweep_seconds)
    await server.start(sockets)
    return server
