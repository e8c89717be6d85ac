"""The `doorward` command: what a person types.

Owns: names, options and help of the commands, exit codes. Depends on: everything, each only when its command
runs. Leaves to others: what the commands do (one module each).

Exit codes: 0 done, 1 no (an invalid configuration, an address in use), 2 not asked properly (usage, a file
that can't be read). Messages are one line for each problem; a traceback is a defect.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    config = _plain_run(sys.argv[1:])
    if config is not None:
        from sidecar.cli.run import run

        sys.exit(run(config))
    from sidecar.cli.commands import app

    try:
        app()
    except BrokenPipeError:
        # Whoever read our output has enough of it (`doorward schema | head`); Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _plain_run(arguments: list[str]) -> Path | None:
    """Return the configuration file of a `run` without frills, None for anything else.

    A server that restarts should not load, and then carry, what reads every other command line.
    """
    match arguments:
        case ["run"]:
            return Path("doorward.yaml")
        case ["run", "--config" | "-c", file] if not file.startswith("-"):
            return Path(file)
        case _:
            return None
