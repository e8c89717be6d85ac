"""Driving load: wrk for the rate, h2load for latency at a fixed rate and HTTP/2; both on the other core.

All subjects are sent the same bytes but for the host and the cookie: what a current desktop browser sends
with a navigation, in its order. wrk's own request would have its fields in the order of a Lua table.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.processes import LOAD_CORE, Subject, cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = [
    "CONNECTIONS",
    "Cost",
    "ask",
    "build_request",
    "fields_of",
    "fixed_rate_p99",
    "measure",
    "multiplexed_rate",
    "unloaded_p50",
    "write_script",
]

CONNECTIONS: Final = 32

_BEFORE_COOKIE: Final = (
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("sec-ch-ua", '"Chromium";v="131", "Not_A Brand";v="24"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("Upgrade-Insecure-Requests", "1"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    ),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-User", "?1"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
)


def fields_of(host: str, cookie: str) -> list[tuple[str, str]]:
    """Return a browser's fields."""
    return [("Host", host), *_BEFORE_COOKIE, *([("Cookie", cookie)] if cookie else [])]


def build_request(host: str, target: str, cookie: str) -> str:
    """Return a browser's request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields_of(host, cookie))
    return f"GET {target} HTTP/1.1\r\n{lines}\r\n"


def write_script(path: Path, request: str) -> Path:
    """Write a wrk script that sends `request` as it is; wrk makes it once."""
    path.write_text(f"wrk.format = function() return {json.dumps(request)} end\n", "ascii")
    return path


def ask(subject: Subject, request: str) -> str:
    """Return the answer to `request`, on a connection of its own. Raises RuntimeError unless it is 2xx."""
    with socket.create_connection(("127.0.0.1", subject.port), 5) as sock:
        sock.sendall(request.replace("Connection: keep-alive", "Connection: close").encode("ascii"))
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    if not answer.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(f"{subject.name} answered {answer[:300]!r}")
    return answer.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Cost:
    """One round: requests answered, CPU microseconds a request (user, system), requests a second."""

    requests: int
    user_us: float
    system_us: float
    rate: float
    errors: int

    @property
    def cpu_us(self) -> float:
        """Return user and system time together."""
        return self.user_us + self.system_us


def measure(subject: Subject, script: Path, *, seconds: int) -> Cost:
    """Load `subject` with what `script` sends for `seconds`. Raises RuntimeError when answers are errors."""
    before = cpu_seconds(subject.pids)
    output = _wrk(subject, script, seconds=seconds, connections=CONNECTIONS)
    after = cpu_seconds(subject.pids)
    return _cost(output, after[0] - before[0], after[1] - before[1])


def unloaded_p50(subject: Subject, script: Path, *, seconds: int) -> float:
    """Return the median latency in milliseconds of one request at a time on one connection.

    Raises RuntimeError when answers are errors.
    """
    output = _wrk(subject, script, seconds=seconds, connections=1)
    _cost(output, 0, 0)
    found = re.search(r"50%\s+([\d.]+)(us|ms|s)\b", output)
    if found is None:
        raise RuntimeError(f"wrk printed no latencies:\n{output}")
    return float(found.group(1)) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found.group(2)]


def _wrk(subject: Subject, script: Path, *, seconds: int, connections: int) -> str:
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    run = subprocess.run(
        [*command, "--latency", "-s", str(script), f"http://127.0.0.1:{subject.port}/"],
        capture_output=True, text=True, check=True, timeout=seconds + 60,
    )  # fmt: skip
    return run.stdout


def _cost(output: str, user: float, system: float) -> Cost:
    found = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if found is None or rate is None:
        raise RuntimeError(f"wrk printed no result:\n{output}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    if refused is not None:
        raise RuntimeError(f"{refused.group(1)} answers were errors:\n{output}")
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    requests = int(found.group(1))
    if not requests:
        raise RuntimeError(f"nothing was answered in time:\n{output}")
    errors = sum(map(int, broken.groups())) if broken else 0
    return Cost(requests, user / requests * 1e6, system / requests * 1e6, float(rate.group(1)), errors)


def fixed_rate_p99(
    subject: Subject, target: str, fields: Iterable[tuple[str, str]], *, rate: int, seconds: int, log: Path
) -> float:
    """Return the 99th percentile in milliseconds at `rate` requests a second (h2load over HTTP/1.1).

    Raises RuntimeError when answers are errors.
    """
    log.unlink(missing_ok=True)
    per_client = max(1, rate // CONNECTIONS)
    count = per_client * CONNECTIONS * seconds
    command = [
        "taskset", "-c", str(LOAD_CORE), "h2load", "--h1", f"--rps={per_client}", f"-c{CONNECTIONS}",
        f"-n{count}", f"--log-file={log}",
    ]  # fmt: skip
    command += _header_flags(fields)
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{subject.port}{target}"],
        capture_output=True, text=True, check=True, timeout=seconds + 60,
    )  # fmt: skip
    if f"status codes: {count} 2xx" not in run.stdout:
        raise RuntimeError(f"not every answer was good:\n{run.stdout}")
    micros = sorted(int(line.split("\t")[2]) for line in log.read_text("ascii").splitlines() if line)
    return micros[int(len(micros) * 0.99)] / 1000


def _header_flags(fields: Iterable[tuple[str, str]]) -> list[str]:
    flags = []
    for name, value in fields:
        # h2load makes Host of :authority, and would send another one beside ours.
        flags += ["-H", f"{':authority' if name == 'Host' else name}: {value}"]
    return flags


def multiplexed_rate(
    subject: Subject, target: str, fields: Iterable[tuple[str, str]], *, seconds: int
) -> float:
    """Return requests a second over HTTP/2 and TLS. Raises RuntimeError when answers are errors."""
    command = ["taskset", "-c", str(LOAD_CORE), "h2load", "-c8", "-m4", f"-D{seconds}", "--warm-up-time=1"]
    # RFC 9113 §8.2.2: no field of the connection.
    flags = _header_flags(pair for pair in fields if pair[0] != "Connection")
    run = subprocess.run(
        [*command, *flags, f"https://127.0.0.1:{subject.port}{target}"],
        capture_output=True, text=True, check=True, timeout=seconds + 60,
    )  # fmt: skip
    found = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", run.stdout)
    if found is None or "0 3xx, 0 4xx, 0 5xx" not in run.stdout or " 0 failed, 0 errored" not in run.stdout:
        raise RuntimeError(f"not every answer was good:\n{run.stdout}")
    return float(found.group(1))
