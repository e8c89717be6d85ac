"""Messages between supervisor and worker: one JSON object a line over a socket pair.

Bytes travel as base64 text. A message is at most `MAX_MESSAGE` bytes; a longer or malformed one is a defect
of ours and ends the channel (and with it the worker, which the supervisor starts anew).
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket

__all__ = ["MAX_MESSAGE", "Channel", "Message", "decode_bytes", "encode_bytes", "open_channel"]

MAX_MESSAGE: Final = 16 << 20
"""A full list of revocations takes 6 MB, a configuration of 10,000 rules about one."""

type Message = dict[str, Any]


def encode_bytes(value: bytes) -> str:
    """Return `value` as JSON-safe text."""
    return base64.b64encode(value).decode()


def decode_bytes(text: str) -> bytes:
    """Take the text of `encode_bytes` back."""
    return base64.b64decode(text, validate=True)


class Channel:
    """One end of the socket pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, message: Message) -> None:
        """Queue a message; a closed channel swallows it, and `receive` at this end returns None."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def receive(self) -> Message | None:
        """Return the next message, None when the other end is gone."""
        try:
            line = await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        message: Message = json.loads(line)
        return message

    def close(self) -> None:
        """Close this end."""
        self._writer.close()


async def open_channel(sock: socket.socket) -> Channel:
    """Make a channel of one end of a socket pair."""
    reader, writer = await asyncio.open_unix_connection(sock=sock, limit=MAX_MESSAGE)
    return Channel(reader, writer)
