"""Answers remembered for as long as they are asked for, bounded in number and bytes."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Recent"]


class Recent[K, V](dict[K, V]):
    """A mapping that makes what it lacks: `recent[key]` is `make(key)`, remembered.

    A dictionary, so that finding an answer costs one look-up (functools.lru_cache would hide which keys are
    too heavy to keep). Least recently used answers go by generation: when the young one holds `entries`, it
    becomes the old one, whose answers come back when asked for again; so up to twice `entries` are kept. A
    key that weighs more than `max_weight` is made each time and never kept.
    """

    __slots__ = ("_entries", "_make", "_max_weight", "_old", "_weight")

    def __init__(
        self, make: Callable[[K], V], weight: Callable[[K], int], *, entries: int, max_weight: int
    ) -> None:
        """Start with nothing known."""
        super().__init__()
        self._make = make
        self._weight = weight
        self._entries = entries
        self._max_weight = max_weight
        self._old: dict[K, V] = {}

    def __missing__(self, key: K) -> V:
        """Find the answer among the old ones, or make it. What `make` raises is not remembered."""
        old = self._old
        value = old[key] if key in old else self._make(key)
        if self._weight(key) <= self._max_weight:
            if len(self) >= self._entries:
                self._old = dict(self)
                self.clear()
            self[key] = value
        return value
