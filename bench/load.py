"""Driving load: wrk for the rate, h2load for latency at a fixed rate; both on the other core."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.processes import LOAD_CORE, Subject, cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["BROWSER_HEADERS", "CONNECTIONS", "Cost", "fixed_rate_p99", "measure"]

CONNECTIONS: Final = 32

# What a current desktop browser sends with a navigation, less Host and Cookie.
BROWSER_HEADERS: Final = {
    "User-Agent": (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537"
    ),
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cache-Control": "max-age=0",
    "Sec-Ch-Ua": '"Chromium";v="131", "Not_A Brand";v="24"',
    "Sec-Ch-Ua-Mobile": "?0",
    "Sec-Ch-Ua-Platform": '"Linux"',
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Upgrade-Insecure-Requests": "1",
}


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


def measure(
    subject: Subject, target: str, headers: Mapping[str, str], *, seconds: int, script: Path | None = None
) -> Cost:
    """Load `target` of `subject` for `seconds`. Raises RuntimeError when answers are not 2xx."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    if script is not None:
        command += ["-s", str(script)]
    before = cpu_seconds(subject.pids)
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{subject.port}{target}"],
        capture_output=True, text=True, check=True, timeout=seconds + 60,
    )  # fmt: skip
    after = cpu_seconds(subject.pids)
    return _cost(run.stdout, after[0] - before[0], after[1] - before[1])


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
    errors = sum(map(int, broken.groups())) if broken else 0
    return Cost(requests, user / requests * 1e6, system / requests * 1e6, float(rate.group(1)), errors)


def fixed_rate_p99(
    subject: Subject, target: str, headers: Mapping[str, str], *, rate: int, seconds: int, log: Path
) -> float:
    """Return the 99th percentile in milliseconds at `rate` requests a second (h2load over HTTP/1.1)."""
    log.unlink(missing_ok=True)
    per_client = max(1, rate // CONNECTIONS)
    command = [
        "taskset", "-c", str(LOAD_CORE), "h2load", "--h1", f"--rps={per_client}", f"-c{CONNECTIONS}",
        f"-n{per_client * CONNECTIONS * seconds}", f"--log-file={log}",
    ]  # fmt: skip
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    subprocess.run(
        [*command, f"http://127.0.0.1:{subject.port}{target}"],
        capture_output=True, text=True, check=True, timeout=seconds + 60,
    )  # fmt: skip
    micros = sorted(int(line.split("\t")[2]) for line in log.read_text("ascii").splitlines() if line)
    if not micros:
        raise RuntimeError("h2load logged no request")
    return micros[int(len(micros) * 0.99)] / 1000
