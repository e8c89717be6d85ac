"""Where the frames of a WebSocket begin and end (RFC 6455 §5.2).

Only headers are read; payload passes untouched, masked or not, compressed or not. That is enough to put a
close frame where one may stand: between two frames, also between the fragments of a message (§5.4).
"""

from __future__ import annotations

from typing import Final

__all__ = ["FrameTracker", "build_going_away"]

_OPCODE_CLOSE: Final = 8
_EXTENDED: Final = {126: 2, 127: 8}
_MASK_BYTES: Final = 4
# RFC 6455 §7.4.1: 1001, an endpoint is going away.
_GOING_AWAY: Final = b"\x03\xe9"


class FrameTracker:
    """Follows one direction of a WebSocket.

    `has_closed` tells that a close frame has passed whole; nothing that follows one is of interest (§5.5.1).
    """

    __slots__ = ("_head", "_is_close", "_left", "has_closed")

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._head = b""
        self._left = 0
        self._is_close = False
        self.has_closed = False

    @property
    def is_at_boundary(self) -> bool:
        """Tell whether the next byte begins a frame."""
        return not self._left and not self._head

    def scan(self, data: bytes, *, until_boundary: bool = False) -> int:
        """Follow `data`; return how many of its bytes were taken.

        All of them, or with `until_boundary` those up to the end of the frame that is under way.
        """
        at = 0
        size = len(data)
        while at < size:
            if self._left:
                taken = min(self._left, size - at)
                self._left -= taken
            else:
                taken = self._read_head(data, at)
            at += taken
            if self.is_at_boundary:
                self.has_closed |= self._is_close
                if until_boundary:
                    return at
        return size

    def _read_head(self, data: bytes, at: int) -> int:
        """Read a frame's header, or as much of it as is here; return how many bytes were taken."""
        have = len(self._head)
        head = self._head + data[at : at + 14 - have]
        if len(head) < 2:  # noqa: PLR2004
            self._head = head
            return len(head) - have
        length = head[1] & 0x7F
        extended = _EXTENDED.get(length, 0)
        need = 2 + extended + (_MASK_BYTES if head[1] & 0x80 else 0)
        if len(head) < need:
            self._head = head
            return len(head) - have
        self._head = b""
        self._left = int.from_bytes(head[2 : 2 + extended]) if extended else length
        self._is_close = head[0] & 0x0F == _OPCODE_CLOSE
        return need - have


def build_going_away(mask: bytes = b"") -> bytes:
    """Return a close frame with code 1001; masked with `mask` (4 bytes) when it goes to a server (§5.1)."""
    if not mask:
        return b"\x88\x02" + _GOING_AWAY
    return b"\x88\x82" + mask + bytes(a ^ b for a, b in zip(_GOING_AWAY, mask, strict=False))
