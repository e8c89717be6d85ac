"""Once a second over all connections: what waits too long is ended (S56).

For the limits of requests that the layers know nothing of: connections that do not come to be, upstream or
downstream, and clients that take nothing of their answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from addons.destinations import destination_of
from addons.orders import Tick
from addons.stacks import is_early, is_http

if TYPE_CHECKING:
    from mitmproxy.connection import Connection
    from mitmproxy.proxy.server import ConnectionHandler

    from sidecar.core.runtime import Limits

__all__ = ["Sweeper", "is_blocked"]


def _unwritten(handler: ConnectionHandler, connection: Connection) -> int:
    """Return how many bytes wait for a peer to take them."""
    io = handler.transports.get(connection)
    transport = getattr(getattr(io, "writer", None), "transport", None)
    return 0 if transport is None else int(transport.get_write_buffer_size())


def is_blocked(handler: ConnectionHandler | None) -> bool:
    """Tell whether bytes wait for anybody: then mitmproxy does not read, and no client is slow."""
    return handler is None or any(_unwritten(handler, known) for known in handler.transports)


class Sweeper:
    """Looks at connections. Times are on the monotonic clock, `wall` in seconds since the epoch."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._stalled: WeakKeyDictionary[ConnectionHandler, tuple[int, float]] = WeakKeyDictionary()

    async def look(self, handler: ConnectionHandler, limits: Limits, now: float, wall: float) -> None:
        """End what is due on one client's connection."""
        if is_early(handler):
            if wall - handler.client.timestamp_start > limits.head_seconds:
                handler.close_connection(handler.client)
            return
        _give_up_connecting(handler, wall)
        if self._takes_nothing(handler, now, limits.idle_seconds):
            handler.close_connection(handler.client)
        elif is_http(handler):
            await handler.server_event(Tick(now))

    def _takes_nothing(self, handler: ConnectionHandler, now: float, seconds: float) -> bool:
        """Tell whether a client has taken nothing of what waits for it for so long."""
        left = _unwritten(handler, handler.client)
        before = self._stalled.get(handler)
        if not left:
            self._stalled.pop(handler, None)
        elif before is None or before[0] != left:
            self._stalled[handler] = (left, now)
        else:
            return now - before[1] > seconds
        return False


def _give_up_connecting(handler: ConnectionHandler, wall: float) -> None:
    """End attempts to connect, TLS included, that have lasted longer than their upstream's time."""
    for server, io in tuple(handler.transports.items()):
        destination = destination_of(server)
        if destination is None or io.handler is None or server.timestamp_start is None:
            continue
        is_there = server.connected and (not server.tls or server.tls_established)
        if not is_there and wall - server.timestamp_start > destination.upstream.connect_seconds:
            destination.fate = destination.fate or ("upstream_timeout", 504)
            io.handler.cancel("connecting took too long")
