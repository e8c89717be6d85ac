"""Connections to upstreams that wait for their next request, one pool for each upstream and loop.

The last one in is the first one out, so that a pool shrinks to what is needed. A connection is let go
before common servers let go of theirs (Node: 5 s), so that a POST does not meet a dying one.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from sidecar.engines.express.tls import UpstreamContexts
from sidecar.engines.express.upstream import UpstreamConnection

if TYPE_CHECKING:
    from sidecar.application import Observer
    from sidecar.core.runtime import Upstream
    from sidecar.engines.express.exchange import Exchange

__all__ = ["Pool", "Pools"]

# How many equal Upstream objects (of successive configurations) lead to one pool.
_MAX_ALIASES: Final = 8
_FORGET_SECONDS: Final = 600.0


class Pool:
    """The connections to one upstream."""

    __slots__ = ("_contexts", "_loop", "idle", "keepalive_seconds", "upstream", "used_at")

    def __init__(self, upstream: Upstream, loop: asyncio.AbstractEventLoop, observer: Observer) -> None:
        """Begin empty."""
        self.upstream = upstream
        self.keepalive_seconds = upstream.keepalive_seconds
        self.idle: list[UpstreamConnection] = []
        self.used_at = loop.time()
        self._loop = loop
        self._contexts = UpstreamContexts(upstream, observer)

    def take(self, now: float) -> UpstreamConnection | None:
        """Return a connection that is open and young enough, None when there is none."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if connection.is_open and now - connection.idle_since < self.keepalive_seconds:
                return connection
            connection.abort()
        return None

    def give_back(self, connection: UpstreamConnection, now: float) -> None:
        """Keep a connection whose last answer was complete and left nothing behind."""
        if len(self.idle) >= self.upstream.max_idle_connections:
            connection.abort()
            return
        connection.idle_since = now
        connection.is_reused = True
        self.idle.append(connection)

    def connect(self, exchange: Exchange) -> asyncio.Task[None]:
        """Open a connection for `exchange`; the task tells it how that went."""
        return self._loop.create_task(self._connect(exchange))

    async def _connect(self, exchange: Exchange) -> None:
        connection = UpstreamConnection()
        try:
            async with asyncio.timeout(self.upstream.connect_seconds):
                await self._open(connection)
        except TimeoutError:
            connection.abandon()
            exchange.connect_failed("upstream_timeout", 504, "connecting took too long")
        except asyncio.CancelledError:
            connection.abandon()
            raise
        except ssl.SSLError as error:  # somebody answers, but not in a way that we may trust
            exchange.connect_failed("upstream_broken", 502, f"{type(error).__name__}: {error}")
        except OSError as error:
            exchange.connect_failed("upstream_unavailable", 503, f"{type(error).__name__}: {error}")
        except Exception:  # noqa: BLE001  the outermost edge of this task
            exchange.defect()
        else:
            exchange.connected(connection)

    async def _open(self, connection: UpstreamConnection) -> None:
        upstream = self.upstream
        context = self._contexts.current()
        name = self._contexts.server_name if context is not None else None
        if upstream.unix_path is not None:
            await self._loop.create_unix_connection(
                lambda: connection, upstream.unix_path, ssl=context, server_hostname=name
            )
        else:
            await self._loop.create_connection(
                lambda: connection, upstream.host, upstream.port, ssl=context, server_hostname=name
            )

    def sweep(self, now: float, interval: float) -> None:
        """Close what would be too old by the next sweep, and forget what is closed."""
        kept = []
        for connection in self.idle:
            if connection.is_open and now + interval - connection.idle_since < self.keepalive_seconds:
                kept.append(connection)
            else:
                connection.abort()
        self.idle[:] = kept

    def close(self) -> None:
        """Close the idle connections."""
        while self.idle:
            self.idle.pop().abort()


class Pools:
    """The pools of one loop.

    Found by the identity of the `Upstream` object, since hashing its fields for each request would cost more
    than all else here; the pool keeps the object alive, so that its identity stays its own.
    """

    __slots__ = ("_by_identity", "_loop", "_observer")

    def __init__(self, loop: asyncio.AbstractEventLoop, observer: Observer) -> None:
        """Begin empty."""
        self._loop = loop
        self._observer = observer
        self._by_identity: dict[int, tuple[Upstream, Pool]] = {}

    def find(self, upstream: Upstream) -> Pool:
        """Return the pool of `upstream`, or of an equal one (from an earlier configuration)."""
        found = self._by_identity.get(id(upstream))
        return found[1] if found is not None else self._add(upstream)

    def _add(self, upstream: Upstream) -> Pool:
        aliases = [(key, pool) for key, (other, pool) in self._by_identity.items() if other == upstream]
        pool = aliases[0][1] if aliases else Pool(upstream, self._loop, self._observer)
        for key, _ in aliases[1:-_MAX_ALIASES]:
            del self._by_identity[key]
        self._by_identity[id(upstream)] = (upstream, pool)
        return pool

    def sweep(self, now: float, interval: float) -> None:
        """Close old connections, and forget pools that nobody has used for ten minutes."""
        for key, (_, pool) in list(self._by_identity.items()):
            pool.sweep(now, interval)
            if pool.idle:
                pool.used_at = now
            elif now - pool.used_at > _FORGET_SECONDS:
                del self._by_identity[key]

    def close(self) -> None:
        """Close all idle connections."""
        for _, pool in self._by_identity.values():
            pool.close()
