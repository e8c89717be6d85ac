"""Start-up time and memory: rows of the table that are not about CPU time."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import statistics
import time
from typing import TYPE_CHECKING, Final

from bench.load import ask, build_request, measure, write_script
from bench.login import ScriptedProvider, sign_in
from bench.processes import cpu_seconds, free_port, resident_bytes
from bench.rows import MIB, Row
from bench.scenarios import browser
from bench.subjects import doorward

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.rows import Setting

__all__ = ["download", "idle", "resident", "start"]

_STARTS: Final = 7
_LOGINS: Final = 50
_IDLE: Final = 5000
_DOWNLOAD: Final = 1 << 30


def start(setting: Setting) -> list[Row]:
    """Measure the time from the command to the first accepted connection."""
    times, cpu = [], []
    for number in range(_STARTS):
        with doorward(setting.folder, setting.upstream_port, f"doorward-start-{number}") as ours:
            times.append(ours.start_seconds)
            cpu.append(sum(cpu_seconds(ours.pids)))
    seconds = statistics.median(times)
    details = (
        f"median of {len(times)} starts, {min(times):.2f} to {max(times):.2f} s;"
        f" of that {statistics.median(cpu):.2f} s CPU"
    )
    return [Row("start until it accepts", "<= 0.5 s", f"{seconds:.2f} s", details, seconds <= 0.5)]


def resident(setting: Setting) -> list[Row]:
    """Measure the resident set after logins, a page, a scrape and load: all lazy imports are there."""
    provider = ScriptedProvider()
    admin = free_port()
    options = {
        "provider": json.dumps(provider.settings()),
        "admin": f"127.0.0.1:{admin}",
        "access": "[{path: /nobody/**, allow: {groups: [nobody]}}, {allow: {email_domains: [example.com]}}]",
    }
    with (
        contextlib.closing(_Stopping(provider)),
        doorward(setting.folder, setting.upstream_port, "doorward-resident", options) as ours,
    ):
        _wait_ready(admin)
        fresh = resident_bytes(ours.pids) / MIB
        base, cookie = f"http://localhost:{ours.port}", ""
        for number in range(_LOGINS):
            provider.claims = {**provider.claims, "sub": f"p{number}", "email": f"p{number}@example.com"}
            cookie = sign_in(f"{base}/")
        _get(ours.port, build_request(f"localhost:{ours.port}", "/nobody/here", cookie))
        _get(admin, build_request(f"127.0.0.1:{admin}", "/metrics", ""))
        request = build_request(f"localhost:{ours.port}", "/", cookie)
        ask(ours, request)
        measure(ours, write_script(setting.folder / "resident.lua", request), seconds=setting.seconds)
        memory = resident_bytes(ours.pids) / MIB
    details = f"{_LOGINS} logins, a page, a scrape, load; {fresh:.1f} MiB when ready"
    figure = "RSS of one worker after logins and load"
    return [Row(figure, "<= 64 MiB", f"{memory:.1f} MiB", details, memory <= 64)]


class _Stopping:
    """Closes a provider."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self._provider = provider

    def close(self) -> None:
        """Stop it."""
        self._provider.stop()


def _get(port: int, request: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(request.replace("Connection: keep-alive", "Connection: close").encode("ascii"))
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer


def _wait_ready(admin: int, *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    request = build_request(f"127.0.0.1:{admin}", "/readyz", "")
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if _get(admin, request).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.05)
    raise RuntimeError("Doorward was not ready in time")


@contextlib.contextmanager
def _many_files() -> Iterator[None]:
    """Let this process open as many sockets as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def idle(setting: Setting) -> list[Row]:
    """Measure what idle connections cost, each after one request: at once, and when they have been idle."""
    with _many_files(), doorward(setting.folder, setting.upstream_port, "doorward-idle") as ours:
        request = browser(ours, setting)
        ask(ours, request)
        measure(ours, write_script(setting.folder / "idle.lua", request), seconds=1)
        before = resident_bytes(ours.pids)
        with contextlib.ExitStack() as sockets:
            for _ in range(_IDLE):
                sock = sockets.enter_context(socket.create_connection(("127.0.0.1", ours.port), 5))
                sock.sendall(request.encode("ascii"))
                if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
                    raise RuntimeError("an idle connection's first request was not answered 200")
            at_once = (resident_bytes(ours.pids) - before) / _IDLE / 1024
            time.sleep(8)
            each = (resident_bytes(ours.pids) - before) / _IDLE / 1024
    details = f"after 8 s; {at_once:.1f} KiB at once"
    largest = max(each, at_once)
    return [Row(f"{_IDLE:,} idle connections", "<= 12 KiB each", f"{each:.1f} KiB", details, largest <= 12)]


def download(setting: Setting) -> list[Row]:
    """Measure memory while 1 GiB goes down to a reader slower than the upstream."""
    place = setting.folder / "upstream" / "files" / "big"
    with place.open("wb") as file:
        file.truncate(_DOWNLOAD)
    with doorward(setting.folder, setting.upstream_port, "doorward-download") as ours:
        request = browser(ours, setting, "/files/big").replace("keep-alive", "close")
        measure(ours, write_script(setting.folder / "page.lua", browser(ours, setting)), seconds=1)
        before = peak = resident_bytes(ours.pids)
        received = reads = 0
        with socket.create_connection(("127.0.0.1", ours.port), 5) as sock:
            sock.sendall(request.encode("ascii"))
            while chunk := sock.recv(1 << 20):
                received += len(chunk)
                reads += 1
                if reads % 64 == 0:
                    time.sleep(0.002)
                    peak = max(peak, resident_bytes(ours.pids))
    grown = (peak - before) / MIB
    is_whole = received > _DOWNLOAD
    details = f"{received} bytes arrived" if is_whole else f"broken off after {received} bytes"
    is_reached = is_whole and grown <= 16
    return [Row("1 GiB down past a slow reader", "<= 16 MiB more", f"{grown:.1f} MiB", details, is_reached)]
