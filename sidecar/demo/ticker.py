"""A WebSocket that tells the time: the demo's tunnel, to see one end when its session does.

It only speaks (RFC 6455 §5.1 asks no mask of a server) and reads to notice that the other side has gone.
It sits behind the gate, which has let the handshake pass; so it checks nothing but that it is one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sidecar.demo.received import read_visitor

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from sidecar.core.http import HeaderPair

__all__ = ["Ticker"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_REFUSAL: Final = (
    b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n"
    b"Content-Length: 0\r\n\r\n"
)
_GONE: Final = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
_OPCODE: Final = 0x0F
_CLOSE_OPCODE: Final = 0x08
_CLOSE: Final = b"\x88\x02\x03\xe8"  # a close frame, 1000
_MAX_TEXT: Final = 125  # the longest payload with a one-byte length (RFC 6455 §5.2)
_MAX_HEAD: Final = 32768
_HEAD_SECONDS: Final = 5.0


class Ticker:
    """Serves `/live` on a socket of its own."""

    def __init__(self, clock: Callable[[], float], *, interval_seconds: float = 1.0) -> None:
        self._clock = clock
        self._interval = interval_seconds
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, sock: socket.socket) -> None:
        """Accept on `sock`, which is bound."""
        self._server = await asyncio.start_server(self._serve, sock=sock, limit=_MAX_HEAD)

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(
                OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
            ):
                await self._talk(reader, writer)
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            headers = _parse_head(await reader.readuntil(b"\r\n\r\n"))
        key = next((value for name, value in headers if name.lower() == b"sec-websocket-key"), None)
        if key is None:
            writer.write(_REFUSAL)
            await writer.drain()
            return
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        visitor = read_visitor(headers)
        gone = asyncio.ensure_future(_wait_end(reader))
        try:
            await self._tick(writer, visitor.name if visitor else "Somebody", gone)
        finally:
            gone.cancel()

    async def _tick(self, writer: asyncio.StreamWriter, name: str, gone: asyncio.Future[None]) -> None:
        while not gone.done():
            now = datetime.fromtimestamp(self._clock(), UTC)
            text = f"{now:%H:%M:%S} UTC, and {name} is connected".encode()[:_MAX_TEXT]
            text = text.decode("utf-8", "ignore").encode()
            writer.write(bytes((0x81, len(text))) + text)
            await writer.drain()
            await asyncio.wait((gone,), timeout=self._interval)
        writer.write(_CLOSE)
        await writer.drain()


async def _wait_end(reader: asyncio.StreamReader) -> None:
    """Return when the other side closes, or sends a close frame; what else it says is not for us."""
    while data := await reader.read(4096):
        if data[0] & _OPCODE == _CLOSE_OPCODE:
            return


def _parse_head(head: bytes) -> tuple[HeaderPair, ...]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    return tuple((name, value.strip()) for name, _, value in lines)
