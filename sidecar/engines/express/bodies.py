"""Where a message's body ends (RFC 9112 §6, §7.1), for both directions.

Each body is fed what arrived and returns the payload and what is left behind its end. Chunked framing is
read strictly: what any two servers read differently is refused. Trailers are checked and dropped.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from sidecar.core.errors import PeerError

__all__ = ["Body", "BrokenBody", "ChunkedBody", "LengthBody", "UntilCloseBody", "encode_chunk"]

LAST_CHUNK: Final = b"0\r\n\r\n"

# RFC 9112 §7.1: chunk-size [ chunk-ext ] CRLF. 15 digits are 2**60 bytes; more digits overflow somewhere.
# An extension is ignored; nothing but visible characters, blanks and tabs may be in one.
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_HEX_DIGITS: Final = b"0123456789ABCDEFabcdef"
_MAX_CHUNK_LINE: Final = 512
# RFC 9112 §7.1.2, RFC 9110 §5.1: as header fields.
_TRAILER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_MAX_TRAILER_BYTES: Final = 8192


class BrokenBody(PeerError):
    """The body's framing is not what RFC 9112 says; the connection can't be used any more."""

    def __init__(self, detail: str) -> None:
        """Keep what was wrong, for the log."""
        super().__init__("broken_body", detail)


class Body(Protocol):
    """A body that is arriving; `is_done` once its end has been seen."""

    is_done: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the payload in `data`, and what follows the body's end. Raises BrokenBody."""


class LengthBody:
    """As many bytes as Content-Length said."""

    __slots__ = ("_left", "is_done")

    def __init__(self, length: int) -> None:
        """Expect `length` bytes."""
        self._left = length
        self.is_done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the payload in `data`, and what follows the body's end."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data, b""
        self.is_done = True
        if left == 0:
            return data, b""
        end = self._left
        return data[:end], data[end:]


class UntilCloseBody:
    """All that arrives until the peer closes; only in answers."""

    __slots__ = ("is_done",)

    def __init__(self) -> None:
        """Expect any number of bytes."""
        self.is_done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return all of `data`."""
        return data, b""


class ChunkedBody:
    """The chunked transfer coding, decoded."""

    __slots__ = ("_in_trailers", "_left", "_needs_line_end", "_rest", "_trailer_bytes", "is_done")

    def __init__(self) -> None:
        """Expect the first chunk's size."""
        self._rest = b""
        self._left = 0
        self._needs_line_end = False
        self._in_trailers = False
        self._trailer_bytes = 0
        self.is_done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the payload in `data`, and what follows the body's end. Raises BrokenBody."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data) and not self.is_done:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._needs_line_end = True
                continue
            after = self._skip_line_end(data, at) if self._needs_line_end else self._read_line(data, at)
            if after < 0:
                self._rest = data[at:]
                return b"".join(pieces), b""
            at = after
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), data[at:]

    def _skip_line_end(self, data: bytes, at: int) -> int:
        """Skip the CRLF behind a chunk's data; -1 when it is not all here.

        Two bytes of whatever kind, as h11 took them (CVE-2025-43859), let a front and a back end disagree.
        """
        if not b"\r\n".startswith(data[at : at + 2]):
            raise BrokenBody("no CRLF after a chunk")
        if len(data) - at < 2:  # noqa: PLR2004
            return -1
        self._needs_line_end = False
        return at + 2

    def _read_line(self, data: bytes, at: int) -> int:
        """Read a chunk's size or a trailer; return where it ends, -1 when its end is not here."""
        end = data.find(b"\n", at)
        limit = _MAX_TRAILER_BYTES - self._trailer_bytes if self._in_trailers else _MAX_CHUNK_LINE
        if (len(data) if end < 0 else end) - at > limit:
            raise BrokenBody("trailers too large" if self._in_trailers else "chunk line too long")
        if end < 0:
            if not self._in_trailers and data[at] not in _HEX_DIGITS:
                raise BrokenBody("malformed chunk size")
            return -1
        if end == at or data[end - 1] != 0x0D:  # noqa: PLR2004
            raise BrokenBody("bare LF in chunked framing")
        line = data[at : end - 1]
        if self._in_trailers:
            self._read_trailer(line)
        else:
            self._read_size(line)
        return end + 1

    def _read_size(self, line: bytes) -> None:
        found = _CHUNK_LINE.fullmatch(line)
        if found is None:
            raise BrokenBody("malformed chunk size")
        self._left = int(found[1], 16)
        self._in_trailers = self._left == 0

    def _read_trailer(self, line: bytes) -> None:
        """Check one trailer and drop it: merged into a head it could forge any field (RFC 9110 §6.5.1)."""
        if not line:
            self.is_done = True
        elif _TRAILER.fullmatch(line) is None:
            raise BrokenBody("malformed trailer")
        self._trailer_bytes += len(line) + 2


def encode_chunk(payload: bytes) -> bytes:
    """Return `payload` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)
