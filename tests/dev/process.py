"""Runs the real `doorward dev` in front of an application that tells what it received."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.processes import find_free_port, running

__all__ = ["NAVIGATION", "DevProcess", "dev", "dev_to_end", "fields"]

NAVIGATION = {
    "Accept": "text/html",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "none",
}
_COMMAND = (sys.executable, "-m", "sidecar", "dev")
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class DevProcess:
    """A running one. From the command to its first answer `seconds` passed, and `cpu_seconds` were its work.

    Where the system does not tell, the latter is 0.
    """

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    seconds: float
    cpu_seconds: float

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """Send a request as a program does, or with other headers."""
        return httpx.request(method, self.url + path, headers=headers, trust_env=False, timeout=10)

    def text(self) -> str:
        """Return what it has printed."""
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, words: str, seconds: float = 10.0) -> None:
        """Return once it has printed `words`."""
        deadline = time.monotonic() + seconds
        while words not in self.text():
            assert time.monotonic() < deadline, f"{words!r} is not in\n{self.text()}"
            time.sleep(0.02)


@contextlib.contextmanager
def dev(folder: Path, upstream: str, *arguments: str | Path, host: str = "127.0.0.1") -> Iterator[DevProcess]:
    """Run it on a free port until the block ends; it must then have ended cleanly, without a traceback."""
    port = find_free_port()
    log = folder / f"dev-{port}.log"
    command: Sequence[str | Path] = (*_COMMAND, upstream, "--listen", f"{host}:{port}", *arguments)
    begun = time.monotonic()
    environment = {**_environment(), "XDG_STATE_HOME": str(folder / "state")}
    with running(command, log=log, cwd=_ROOT, env=environment) as process:
        url = f"http://localhost:{port}"
        _wait_for_answer(url, process, log)
        seconds, cpu_seconds = time.monotonic() - begun, _cpu_seconds(process.pid)
        yield DevProcess(process=process, url=url, log=log, seconds=seconds, cpu_seconds=cpu_seconds)
    text = log.read_text(encoding="utf-8")
    assert process.returncode == 0, text
    assert "Traceback" not in text, text


def dev_to_end(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one that ends by itself."""
    return subprocess.run(
        [*_COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=_ROOT,
        env=_environment(),
    )


def fields(response: httpx.Response) -> dict[str, Any]:
    """Return the header fields that the application received, by lower-case name."""
    return {name.lower(): value for name, value in json.loads(response.text)["headers"]}


def _cpu_seconds(pid: int) -> float:
    file = Path(f"/proc/{pid}/stat")
    if not file.exists():
        return 0.0
    # Behind the program's name, which may hold anything: user and system time (proc_pid_stat(5)).
    fields = file.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_for_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            httpx.get(f"{url}/oauth2/userinfo", trust_env=False, timeout=5)
        except httpx.TransportError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError(log.read_text(encoding="utf-8"))


def _environment() -> dict[str, str]:
    # Terminals' widths and colours would change what is written.
    unwanted = {"PYTHONDEVMODE", "PYTHONWARNINGS", "FORCE_COLOR"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}
