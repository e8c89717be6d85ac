"""Fields that came before on any connection of a peer, for peers that speak for many.

An ingress that asks about everybody's requests sends each browser's fields on whichever of its connections
is free, other browsers' in between: no connection sees the same fields twice in a row. What has been parsed
and derived from them is found again here, by their bytes. The application says which fields are worth it (it
puts `RECURS` into their memo); connections on which it never did don't look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.engines.express.requesthead import KnownFields, RequestLine, RequestParser

__all__ = ["KnownHeads"]

# Of each half: some 10 MiB in all when it is full.
_MAX_HEADS: Final = 1024
_MAX_BYTES: Final = 2 * 1024 * 1024
_MAX_MARKS: Final = 8192
_HALF_SECONDS: Final = 30.0


class KnownHeads:
    """What is known by peer and bytes, from the second time on, as long as it goes on to come.

    Two halves: what comes goes into the young one, also out of the old one, which is thrown away when the
    young one is full or has its age. So what no longer comes (a session's end, a configuration replaced) is
    held for a minute at most.
    """

    __slots__ = ("_bytes", "_old", "_seen", "_turned_at", "_young")

    def __init__(self) -> None:
        """Know nothing."""
        self._young: dict[tuple[bytes, str], KnownFields] = {}
        self._old: dict[tuple[bytes, str], KnownFields] = {}
        self._bytes = 0
        self._turned_at = 0.0
        # Hashes: two keys that share one are kept one time too early, no more.
        self._seen: set[int] = set()

    def __len__(self) -> int:
        """Count the heads that are kept."""
        return len(self._young) + len(self._old)

    def recall(self, parser: RequestParser, data: bytes, peer: str) -> tuple[KnownFields, RequestLine] | None:
        """Return the known fields and the request line if `data` is one head with fields known of `peer`."""
        line_end = data.find(b"\r\n")
        key = data[line_end:], peer
        known = self._young.get(key)
        if known is None:
            known = self._old.pop(key, None)
            if known is None:
                return None
            self._put(key, known)
        line = parser.read_plain(data[:line_end])
        return None if line is None else (known, line)

    def keep(self, known: KnownFields, peer: str) -> None:
        """Know these fields from their second time on."""
        key = known.block, peer
        mark = hash(key)
        if mark in self._seen:
            self._put(key, known)
            return
        if len(self._seen) >= _MAX_MARKS:
            self._seen.clear()
        self._seen.add(mark)

    def sweep(self, now: float) -> None:
        """Forget what has not come for a while. `now` is on the monotonic clock."""
        if now - self._turned_at >= _HALF_SECONDS:
            self._turned_at = now
            self._turn()

    def _put(self, key: tuple[bytes, str], known: KnownFields) -> None:
        size = len(key[0])
        if len(self._young) >= _MAX_HEADS or self._bytes + size > _MAX_BYTES:
            self._turn()
        self._young[key] = known
        self._bytes += size

    def _turn(self) -> None:
        self._old, self._young = self._young, {}
        self._bytes = 0
