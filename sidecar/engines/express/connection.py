"""The transport side of one accepted connection: reading, pausing, and the ways to end it.

Phases: HEAD (waiting for a head, idle when nothing of it is here), DECIDING (a flow is under way),
FORWARDING (an exchange is), LINGERING (the last answer is out; what still comes is thrown away, so that the
peer reads the answer instead of a reset), CLOSING.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.engines.express.context import Context

__all__ = ["CLOSING", "DECIDING", "FORWARDING", "HEAD", "LINGERING", "Connection"]

HEAD: Final = 0
DECIDING: Final = 1
FORWARDING: Final = 2
LINGERING: Final = 3
CLOSING: Final = 4

# How much of an unwanted body is thrown away before the connection is cut: enough for what a browser's form
# or a client that does not read before it has written all will send, at no more cost than reading it.
_MAX_LINGER_BYTES: Final = 16 * 1024 * 1024
# How many connections beyond the limit are told so; the rest are cut.
_MAX_EXCESS: Final = 256
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_RESET: Final = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """What `Downstream` stands on.

    `since` is when the phase began (coarse clock). `unwritten` and `unwritten_at` are the sweep's: how much
    the client had yet to take, and since when it takes nothing; `progress` and `progress_at` likewise for
    what a half-closed client is still sent.
    """

    __slots__ = (
        "buffer",
        "context",
        "is_half_closed",
        "is_read_paused",
        "is_tls",
        "is_write_paused",
        "peer",
        "phase",
        "progress",
        "progress_at",
        "since",
        "transport",
        "unwritten",
        "unwritten_at",
    )

    transport: asyncio.Transport

    def __init__(self, context: Context) -> None:
        """Begin without a transport."""
        self.context = context
        self.phase = HEAD
        self.buffer = b""
        self.peer = ""
        self.progress = self.unwritten = 0
        self.progress_at = self.unwritten_at = self.since = context.now
        self.is_tls = self.is_half_closed = self.is_write_paused = self.is_read_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or tell it that there are too many."""
        self.transport = transport  # type: ignore[assignment]  # a stream's protocol gets a Transport
        self.is_tls = transport.get_extra_info("sslcontext") is not None
        peername = transport.get_extra_info("peername")
        # An IPv4 peer of a dual-stack socket is known by its IPv4 address, as the operator's networks say.
        self.peer = peername[0].removeprefix("::ffff:") if isinstance(peername, tuple) else "unix"
        self.enter()
        excess = self.context.connections - self.context.limits.max_connections
        if excess > _MAX_EXCESS:
            self.transport.abort()
        elif excess > 0:
            self.transport.write(_FULL)
            self.linger()

    def enter(self) -> None:
        """Enter the set of open connections."""
        raise NotImplementedError

    def hold(self, data: bytes) -> None:
        """Keep what can't be used yet, and read no more until it can."""
        self.buffer += data
        self.pause_reading()

    def keep_beginning(self, data: bytes) -> None:
        """Keep the beginning of a head."""
        if not self.buffer:
            self.since = self.context.now
        # Empty lines, as some clients send one behind a form, begin no head, and no time-out.
        self.buffer = data if data.replace(b"\r\n", b"") else b""

    def pause_reading(self) -> None:
        """Read no more for now."""
        self.is_read_paused = True
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.is_read_paused and not self.is_half_closed:
            self.is_read_paused = False
            self.transport.resume_reading()

    def discard(self, data: bytes) -> None:
        """Throw away what comes after the last answer."""
        self.progress += len(data)
        if self.progress > _MAX_LINGER_BYTES:
            self.reset()

    def close_idle(self) -> None:
        """Close once what was written is out."""
        self.phase = CLOSING
        self.since = self.context.now
        self.transport.close()

    def linger(self) -> None:
        """Send our half's end, and throw away what comes until the peer ends its own."""
        self.phase = LINGERING
        self.since = self.context.now
        self.buffer = b""
        self.progress = 0
        if self.is_half_closed:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()

    def reset(self) -> None:
        """Close with a reset: an end that can't be taken for the end of an answer."""
        self.phase = CLOSING
        self.since = self.context.now
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()
