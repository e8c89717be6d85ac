"""Starting subjects pinned to one core, and reading what they cost from /proc."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "LOAD_CORE",
    "ROOT",
    "SUBJECT_CORE",
    "Subject",
    "cpu_seconds",
    "free_port",
    "resident_bytes",
    "started",
]

SUBJECT_CORE = 0
LOAD_CORE = 1
ROOT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Subject:
    """A running server: its port and the processes whose cost is its own."""

    name: str
    port: int
    pids: tuple[int, ...]
    start_seconds: float = 0.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def cpu_seconds(pids: Sequence[int]) -> tuple[float, float]:
    """Return user and system time of `pids` in seconds (proc(5), fields 14 and 15 of stat)."""
    user = system = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        user += int(fields[11])
        system += int(fields[12])
    return user / _TICKS, system / _TICKS


def resident_bytes(pids: Sequence[int]) -> int:
    """Return the resident set of `pids`, added up."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


def _children(pid: int, *, seconds: float = 5.0) -> tuple[int, ...]:
    """Return the children of `pid`: nginx listens before it has forked the first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
        if text.strip():
            return tuple(int(child) for child in text.split())
        time.sleep(0.005)
    raise RuntimeError(f"process {pid} started no worker")


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path, *, seconds: float = 20.0) -> None:
    """Wait until something accepts on `port`. Raises RuntimeError when the process ends first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = log.read_text("utf-8", "replace")[-1000:]
            raise RuntimeError(f"{process.args!r} ended with code {process.returncode}: {said}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.005)
    raise RuntimeError(f"nothing accepts on port {port}: {process.args!r}")


@contextlib.contextmanager
def started(
    name: str, command: Sequence[str], port: int, *, core: int = SUBJECT_CORE, log: Path, forks: bool = False
) -> Iterator[Subject]:
    """Run `command` on `core` until the block ends. `forks`: its children do the work (nginx)."""
    begin = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT,
        )  # fmt: skip
    try:
        wait_for_port(port, process, log)
        seconds = time.monotonic() - begin
        pids = _children(process.pid) if forks else (process.pid,)
        yield Subject(name, port, pids, seconds)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
