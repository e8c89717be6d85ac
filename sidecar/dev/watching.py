"""Files that are read again when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["watch"]

_POLL_SECONDS: Final = 0.1
# Nothing that is there looks like this.
_GONE: Final = (0, 0, 0)


async def watch(file: Path, changed: Callable[[], None]) -> None:
    """Call `changed` each time the file is another, until cancelled.

    Asked of the file system ten times a second: editors write in place, rename over, or remove and make
    anew, and no notification covers all of them on every system. What was the same twice in a row is read:
    a file that is being written is empty or cut off.
    """
    known = before = _signature(file)
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        now = _signature(file)
        if now == before != known:
            known = now
            changed()
        before = now


def _signature(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return _GONE
    return found.st_ino, found.st_mtime_ns, found.st_size
