"""`doorward run`: serve what the configuration says."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.runtime import Runtime

__all__ = ["run"]

_WHY = {
    errno.EADDRINUSE: "another process is there; stop it, or change {key}",
    errno.EACCES: (
        "not permitted: a port below 1024 needs the capability CAP_NET_BIND_SERVICE, a socket the right to"
        " write into its folder; give that, or change {key}"
    ),
    errno.EADDRNOTAVAIL: "this machine has no such address; change {key}",
    errno.ENOENT: "its folder does not exist; make it, or change {key}",
    errno.EEXIST: "a file that is no socket is there; remove it, or change {key}",
}
_MAX_FILES = 1 << 20
_INTERRUPTED = 130  # what shells say of a process that Ctrl-C ended


def run(config: Path) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0, 1 (can't serve) or 2 (the configuration can't be used)."""
    from sidecar.core.errors import ConfigurationError
    from sidecar.supervisor.apart import read_apart
    from sidecar.supervisor.extauthz import require_extra

    try:
        runtime, text = read_apart(config, os.environ, _load_serving)
        require_extra(runtime)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201  what a person meets at the terminal
        return 2
    try:
        return _serve(runtime, text, config)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _INTERRUPTED  # a second Ctrl-C: whoever waits for the drain has waited enough
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201  an engine can't do what was asked of it here
        return 2
    except OSError as error:
        print(_refusal(error, runtime), file=sys.stderr)  # noqa: T201
        return 1


def _refusal(error: OSError, runtime: Runtime) -> str:
    """Say in one line which address can't be had, why, and what mends it."""
    from sidecar.supervisor.extauthz import grpc_address

    keys = {runtime.admin: "admin", grpc_address(runtime): "forward_auth.grpc"}
    key = keys.get(error.filename, "listen")
    why = _WHY.get(error.errno or 0, f"{error.strerror or error}; change {{key}}").format(key=key)
    return f"doorward: can't listen on {error.filename or runtime.listen}: {why}"


def _raise_file_limit() -> None:
    """Take as many open files as we may; workers inherit it.

    The usual soft limit of 1,024 is there for programs that use select(). It would be used up long before
    `limits.connections` keeps anybody out, and then the upstream can't be reached either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _load_serving() -> None:
    """Import what one serving process needs."""
    import uvloop  # noqa: F401

    import sidecar.supervisor.single  # noqa: F401


def _serve(runtime: Runtime, text: str, config: Path) -> int:
    _raise_file_limit()
    if runtime.workers == 1:
        from sidecar.engines import express
        from sidecar.supervisor.single import serve_alone

        # mitmproxy is written for the standard loop.
        express.run(serve_alone(runtime), loop="asyncio" if runtime.engine == "interception" else "uvloop")
        # All is done; told to end once more while Python does, we still end well.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return 0
    import uvloop

    from sidecar.supervisor.master import Supervisor

    async def supervise() -> int:
        return await Supervisor(runtime, text, config).run()

    return int(uvloop.run(supervise()))
