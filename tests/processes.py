"""Starts the processes that tests run beside Doorward, waits for them within bounds, and ends them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["find_free_port", "running", "wait_for_port", "wait_for_text"]

_POLL_SECONDS = 0.02
_STOP_SECONDS = 10.0


def find_free_port() -> int:
    """Return a loopback port that was free a moment ago, for a program that can't be told port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes], *, seconds: float = 20.0) -> None:
    """Return once `port` accepts on loopback; raise when the process ends before that, or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(
                f"{process.args!r} ended with status {process.returncode} before it accepted"
            )
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"{process.args!r} did not accept on port {port} within {seconds} s")


def wait_for_text(log: Path, text: str, *, seconds: float = 20.0) -> None:
    """Return once a program has written `text` to its log."""
    deadline = time.monotonic() + seconds
    while text not in log.read_text(encoding="utf-8"):
        if time.monotonic() > deadline:
            raise AssertionError(f"{text!r} is not in {log} after {seconds} s")
        time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], *, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command with both outputs in the file `log`; SIGTERM, then SIGKILL, at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that this test started, by force when it doesn't end by itself in time."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)
