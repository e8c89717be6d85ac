"""`doorward run`: serve what the configuration says."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.runtime import Runtime

__all__ = ["run"]


def run(config: Path) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0, 1 (can't serve) or 2 (the configuration can't be used)."""
    from sidecar.config import load_text, read_config
    from sidecar.core.errors import ConfigurationError

    try:
        text = read_config(config)
        runtime = load_text(text, config, os.environ)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201  what a person meets at the terminal
        return 2
    try:
        return _serve(runtime, text, config)
    except OSError as error:
        print(  # noqa: T201
            f"doorward: can't listen on {runtime.listen}"
            + (f" or {runtime.admin}" if runtime.admin else "")
            + f": {error.strerror or error}. Is another process there? Change listen or admin.",
            file=sys.stderr,
        )
        return 1


def _serve(runtime: Runtime, text: str, config: Path) -> int:
    import uvloop

    if runtime.workers == 1:
        from sidecar.supervisor.single import serve_alone

        uvloop.run(serve_alone(runtime))
        return 0
    from sidecar.supervisor.master import Supervisor

    async def supervise() -> int:
        return await Supervisor(runtime, text, config).run()

    return int(uvloop.run(supervise()))
