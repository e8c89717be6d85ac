"""Imports without what we don't use: a library's optional parts cost memory and start-up time.

structlog loads rich, and httpx its command line (click, pygments, rich again), wherever these are installed.
We print no coloured tracebacks from a server and run no command line of httpx, and each worker would carry
8 MiB for them (docs/performance.md).
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["without"]


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Within the block, importing one of the modules `names` fails as if it was not installed.

    For optional imports (`try: import rich`) of the library that the block imports. A module that is loaded
    already stays available.
    """
    # `None` in sys.modules halts an import (the language reference, "The module cache").
    hidden = [name for name in names if name not in sys.modules]
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]  # typed without that None
    for name in hidden:
        modules[name] = None
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]
