"""Answers remembered from the second time on, bounded in number and in the size of what they answer to."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Recurring"]

_SEEN_PER_ENTRY = 4


class Recurring[V](dict[bytes, V]):
    """A mapping that makes what it lacks: `recurring[key]` is `make(key)`, kept when it is asked for again.

    For bytes of which a few come all the time and the rest once (targets with an id in them, heads with a
    time): what comes once costs the mark that it was here, not a place. A dictionary, so that finding an
    answer costs one look-up. When `entries` are kept it starts over, and what recurs is soon back. A key of
    more than `max_bytes` is never kept.
    """

    __slots__ = ("_entries", "_make", "_max_bytes", "_seen")

    def __init__(self, make: Callable[[bytes], V], *, entries: int, max_bytes: int) -> None:
        """Start with nothing known."""
        super().__init__()
        self._make = make
        self._entries = entries
        self._max_bytes = max_bytes
        # Hashes: two keys that share one are remembered one time too early, no more.
        self._seen: set[int] = set()

    def __missing__(self, key: bytes) -> V:
        """Make the answer. What `make` raises is not remembered."""
        value = self._make(key)
        if len(key) <= self._max_bytes:
            seen = self._seen
            mark = hash(key)
            if mark in seen:
                if len(self) >= self._entries:
                    self.clear()
                self[key] = value
            else:
                if len(seen) >= self._entries * _SEEN_PER_ENTRY:
                    seen.clear()
                seen.add(mark)
        return value
