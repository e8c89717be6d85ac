"""One connection to an upstream: idle in its pool, or lent to one exchange.

What arrives goes to the exchange that has the connection and to no other, by construction: an exchange that
is over has given it back or closed it. What arrives while nobody has it (surplus bytes, a late 408) costs
the connection (S53).
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.engines.express.exchange import Exchange

__all__ = ["UpstreamConnection"]


_MAX_SALVAGED_BYTES: Final = 262144


class UpstreamConnection(asyncio.Protocol):
    """The protocol object of one upstream connection. `idle_since` is on the monotonic clock."""

    __slots__ = ("_spare", "exchange", "idle_since", "is_open", "is_reused", "transport")

    transport: asyncio.Transport

    def __init__(self) -> None:
        """Begin unlent."""
        self.exchange: Exchange | None = None
        self._spare: socket.socket | None = None
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
        try:
            salvaged = self._salvage()
            if salvaged and self.exchange is not None:
                self.exchange.answer_data(salvaged)
            if self.exchange is not None:
                self.exchange.upstream_lost(is_clean=is_clean)
        except Exception:  # noqa: BLE001  the outermost edge
            if exchange is not None:
                exchange.defect()

    def begin_upload(self) -> None:
        """Keep a second handle of the socket while a body is sent.

        An upstream that refuses a body answers (413, say) and closes; the reset that follows may fail our
        next write, and the loop then closes the socket with the answer unread in it.
        """
        sock = self.transport.get_extra_info("socket")
        if sock is not None and self.transport.get_extra_info("sslcontext") is None:
            self._spare = socket.socket(fileno=os.dup(sock.fileno()))

    def end_upload(self) -> None:
        """Give the second handle up."""
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def _salvage(self) -> bytes:
        """Return what had arrived before a failed write closed the connection."""
        spare = self._spare
        if spare is None:
            return b""
        spare.setblocking(False)
        try:
            return spare.recv(_MAX_SALVAGED_BYTES)
        except OSError:
            return b""
        finally:
            self.end_upload()

    def pause_writing(self) -> None:
        """Stop reading the request's body: the upstream does not take it as fast as it comes."""
        if self.exchange is not None and self.exchange.down.body is not None:
            self.exchange.down.body.pause()

    def resume_writing(self) -> None:
        """Read on."""
        if self.exchange is not None and self.exchange.down.body is not None:
            self.exchange.down.body.resume()

    def abandon(self) -> None:
        """Close if it came to be after all: whoever asked for it waits no more."""
        if self.is_open:
            self.abort()

    def abort(self) -> None:
        """Close at once; nobody gets what is under way."""
        self.is_open = False
        self.exchange = None
        self.end_upload()
        self.transport.abort()
