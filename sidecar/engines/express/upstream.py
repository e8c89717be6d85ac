"""One connection to an upstream: idle in its pool, or lent to one exchange.

What arrives goes to the exchange that has the connection and to no other, by construction: an exchange that
is over has given it back or closed it. What arrives while nobody has it (surplus bytes, a late 408) costs
the connection (S53).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.engines.express.exchange import Exchange

__all__ = ["UpstreamConnection"]


class UpstreamConnection(asyncio.Protocol):
    """The protocol object of one upstream connection. `idle_since` is on the monotonic clock."""

    __slots__ = ("exchange", "idle_since", "is_open", "is_reused", "transport")

    transport: asyncio.Transport

    def __init__(self) -> None:
        """Begin unlent."""
        self.exchange: Exchange | None = None
        self.is_open = False
        self.is_reused = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (a stream's, since only streams are opened)."""
        self.transport = transport  # type: ignore[assignment]  # a stream's protocol gets a Transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Hand over what arrived."""
        exchange = self.exchange
        if exchange is None:
            self.abort()
            return
        try:
            exchange.answer_data(data)
        except Exception:  # noqa: BLE001  the outermost edge: a defect ends this exchange and no other
            exchange.defect()

    def eof_received(self) -> bool:
        """Tell the exchange that nothing more will arrive; the transport closes itself."""
        self._lost(is_clean=True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchange, if it does not know yet."""
        self._lost(is_clean=exc is None)

    def _lost(self, *, is_clean: bool) -> None:
        self.is_open = False
        exchange = self.exchange
        if exchange is None:
            return
        try:
            exchange.upstream_lost(is_clean=is_clean)
        except Exception:  # noqa: BLE001  the outermost edge
            exchange.defect()

    def pause_writing(self) -> None:
        """Stop reading the request's body: the upstream does not take it as fast as it comes."""
        if self.exchange is not None and self.exchange.down.body is not None:
            self.exchange.down.body.pause()

    def resume_writing(self) -> None:
        """Read on."""
        if self.exchange is not None and self.exchange.down.body is not None:
            self.exchange.down.body.resume()

    def abort(self) -> None:
        """Close at once; nobody gets what is under way."""
        self.is_open = False
        self.exchange = None
        self.transport.abort()
