"""Waiting within bounds for something that another process does."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["wait_until"]

_POLL_SECONDS = 0.02


def wait_until[T](find: Callable[[], T | None], what: str, *, seconds: float = 10.0) -> T:
    """Return what `find` finds as soon as it is true; raise when it isn't within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = find()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(_POLL_SECONDS)
