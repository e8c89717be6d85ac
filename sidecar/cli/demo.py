"""`doorward demo`: everything in one process, to see it work."""

from __future__ import annotations

import asyncio
import os
import sys
import time

__all__ = ["demo", "write_terminal"]


def demo(port: int) -> int:
    """Serve the demo until SIGTERM or SIGINT. Returns 0, or 1 when it can't listen."""
    import uvloop

    from sidecar.core.errors import ConfigurationError
    from sidecar.demo import run_demo
    from sidecar.demo.narrator import Narrator

    is_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    narrator = Narrator(write_terminal, time.time, is_coloured=is_coloured)
    try:
        uvloop.run(run_demo(port, narrator))
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201  what a person meets at the terminal
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        # A second Ctrl-C, while open connections were given their time.
        return 0
    return 0


def write_terminal(text: str) -> None:
    """Write to the terminal, whatever its character set."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has enough of it; Python would complain of the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
