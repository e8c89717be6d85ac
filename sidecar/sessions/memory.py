"""Sessions in this process's memory: for one worker, for development and tests. A restart forgets them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from sidecar.core.errors import StoreUnavailable

__all__ = ["MemoryStore"]

_ENTRY_BYTES: Final = 400


class MemoryStore:
    """A SessionStore bounded in bytes. `clock` returns seconds since the epoch.

    When it is full and nothing in it is over, `save` fails: dropping somebody's session to make room for
    another would sign people out at random, and whoever logs in most often would decide whom.
    """

    def __init__(self, clock: Callable[[], float], max_bytes: int = 64 << 20) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._bytes_used = 0
        self._kept: dict[str, tuple[bytes, float]] = {}
        # Ends in order. A session saved again with another end leaves its old one here, to be skipped.
        self._ends: list[tuple[float, str]] = []

    async def save(self, key: str, sealed: bytes, until: float) -> None:
        """Keep `sealed` until `until`. Raises StoreUnavailable when the store is full."""
        self._forget_ended()
        replaced = self._kept.get(key)
        grown = _size(key, sealed) - (0 if replaced is None else _size(key, replaced[0]))
        if self._bytes_used + grown > self._max_bytes:
            raise StoreUnavailable("store_full", f"{len(self._kept)} sessions in memory")
        self._kept[key] = (sealed, until)
        self._bytes_used += grown
        if replaced is None or replaced[1] != until:
            heapq.heappush(self._ends, (until, key))

    async def load(self, key: str) -> bytes | None:
        """Return what was saved and is not over."""
        self._forget_ended()
        found = self._kept.get(key)
        return None if found is None else found[0]

    async def delete(self, key: str) -> None:
        """Forget it."""
        self._forget(key)

    async def close(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._ends.clear()
        self._bytes_used = 0

    def __len__(self) -> int:
        """Return how many sessions are kept."""
        return len(self._kept)

    def _forget(self, key: str) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._bytes_used -= _size(key, found[0])

    def _forget_ended(self) -> None:
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            until, key = heapq.heappop(self._ends)
            found = self._kept.get(key)
            if found is not None and found[1] == until:
                self._forget(key)


def _size(key: str, sealed: bytes) -> int:
    return _ENTRY_BYTES + len(key) + len(sealed)
