"""What is measured: each scenario returns rows for the table."""

from __future__ import annotations

import socket
import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bench.load import BROWSER_HEADERS, Cost, fixed_rate_p99, measure
from bench.processes import resident_bytes
from bench.sessions import cookie_headers
from bench.subjects import bare_nginx, doorward, doorward_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bench.processes import Subject

__all__ = ["SCENARIOS", "Row", "Setting"]

ROUNDS: Final = 3
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `is_reached` None: for comparison only, there is no figure to reach."""

    figure: str
    goal: str
    measured: str
    details: str
    is_reached: bool | None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What every scenario needs: a scratch folder, the upstream, seconds for each round."""

    folder: Path
    upstream_port: int
    seconds: int


type Probe = Callable[[], Cost]


def _interleaved(*probes: Probe) -> list[list[Cost]]:
    """Run the probes in turn, `ROUNDS` times, so that a machine's moods fall on all of them."""
    rounds = [[probe() for probe in probes] for _ in range(ROUNDS)]
    return [list(costs) for costs in zip(*rounds, strict=True)]


def _median(costs: list[Cost], name: str) -> float:
    return float(statistics.median(getattr(cost, name) for cost in costs))


def _describe(name: str, costs: list[Cost]) -> str:
    user, system = _median(costs, "user_us"), _median(costs, "system_us")
    return f"{name} {user + system:.1f} us ({user:.1f} user + {system:.1f} system)"


def _compare(figure: str, goal: float, nginx: list[Cost], ours: list[Cost], name: str = "Doorward") -> Row:
    ratio = statistics.median(n.cpu_us / o.cpu_us for n, o in zip(nginx, ours, strict=True))
    rate = statistics.median(o.rate / n.rate for n, o in zip(nginx, ours, strict=True))
    details = f"{_describe('nginx', nginx)}; {_describe(name, ours)}; rate ratio {rate:.2f}"
    errors = sum(cost.errors for cost in ours)
    if errors:
        details += f"; {errors} socket errors"
    return Row(figure, f">= {goal}", f"{ratio:.2f}", details, ratio >= goal and not errors, ratio)


def _headers_for(subject: Subject, setting: Setting) -> dict[str, str]:
    """Return a browser's headers with a session of `subject`: its cookie's name carries the port."""
    yaml = doorward_yaml(subject.port, setting.upstream_port, {})
    cookie = cookie_headers(yaml, setting.folder / "bench.yaml", 1)[0]
    return {"Host": f"localhost:{subject.port}", **BROWSER_HEADERS, "Cookie": cookie}


def _warm(subject: Subject, headers: Mapping[str, str], target: str = "/") -> None:
    measure(subject, target, headers, seconds=1)


def proxying(setting: Setting) -> list[Row]:
    """Compare the reverse proxy, the auth endpoint, latency and memory in one go."""
    rows: list[Row] = []
    with (
        bare_nginx(setting.folder, setting.upstream_port) as nginx,
        doorward(setting.folder, setting.upstream_port) as ours,
    ):
        headers = _headers_for(ours, setting)
        _warm(nginx, headers)
        _warm(ours, headers)
        _warm(ours, headers, "/oauth2/auth")
        seconds = setting.seconds
        base, proxy, auth = _interleaved(
            lambda: measure(nginx, "/reports/2026?page=2", headers, seconds=seconds),
            lambda: measure(ours, "/reports/2026?page=2", headers, seconds=seconds),
            lambda: measure(ours, "/oauth2/auth", headers, seconds=seconds),
        )
        rows.append(_compare("reverse proxy, logged in, access log off", 0.65, base, proxy))
        rows.append(_compare("/oauth2/auth, logged in", 1.3, base, auth))
        rows.append(_latency(setting, nginx, ours, headers, proxy))
        memory = resident_bytes(ours.pids) / MIB
        rows.append(
            Row("RSS of one worker after load", "<= 64 MiB", f"{memory:.1f} MiB", "", memory <= 64, None)
        )
    return rows


def _latency(
    setting: Setting, nginx: Subject, ours: Subject, headers: Mapping[str, str], proxy: list[Cost]
) -> Row:
    rate = int(_median(proxy, "rate") / 2)
    log = setting.folder / "h2load.log"
    pairs = [
        (
            fixed_rate_p99(nginx, "/", headers, rate=rate, seconds=setting.seconds, log=log),
            fixed_rate_p99(ours, "/", headers, rate=rate, seconds=setting.seconds, log=log),
        )
        for _ in range(ROUNDS)
    ]
    theirs = statistics.median(pair[0] for pair in pairs)
    own = statistics.median(pair[1] for pair in pairs)
    ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
    details = f"at {rate} requests/s: nginx {theirs:.2f} ms, Doorward {own:.2f} ms"
    return Row("p99 at half our peak load", "<= 2 x nginx", f"{ratio:.2f} x", details, ratio <= 2, None)


def access_line(setting: Setting) -> list[Row]:
    """Compare with an access line for each request on both sides."""
    options = {"log": "{access: true, format: json}"}
    with (
        bare_nginx(setting.folder, setting.upstream_port, access_log=True) as nginx,
        doorward(setting.folder, setting.upstream_port, "doorward-logged", options) as ours,
    ):
        headers = _headers_for(ours, setting)
        _warm(ours, headers)
        base, proxy = _interleaved(
            lambda: measure(nginx, "/", headers, seconds=setting.seconds),
            lambda: measure(ours, "/", headers, seconds=setting.seconds),
        )
    return [_compare("the same with an access line on both sides", 0.50, base, proxy)]


def assertion(setting: Setting) -> list[Row]:
    """Compare with the signed assertion on."""
    from bench.keys import assertion_option

    with (
        bare_nginx(setting.folder, setting.upstream_port) as nginx,
        doorward(setting.folder, setting.upstream_port, "doorward-assertion", assertion_option()) as ours,
    ):
        headers = _headers_for(ours, setting)
        _warm(ours, headers)
        base, proxy = _interleaved(
            lambda: measure(nginx, "/", headers, seconds=setting.seconds),
            lambda: measure(ours, "/", headers, seconds=setting.seconds),
        )
    return [_compare("the same with the signed assertion on", 0.60, base, proxy)]


def start(setting: Setting) -> list[Row]:
    """Measure the time from the command to the first accepted connection."""
    times = []
    for number in range(5):
        with doorward(setting.folder, setting.upstream_port, f"doorward-start-{number}") as ours:
            times.append(ours.start_seconds)
    seconds = statistics.median(times)
    details = f"of {len(times)} starts: {min(times):.2f} to {max(times):.2f} s"
    return [Row("start until it accepts", "<= 0.5 s", f"{seconds:.2f} s", details, seconds <= 0.5, None)]


def rules(setting: Setting) -> list[Row]:
    """Compare 10,000 rules (most with a wildcard in the middle) with 10, on distinct paths."""
    from bench.scripts import rule_lines, write_path_script

    script = write_path_script(setting.folder / "paths.lua")
    with (
        doorward(setting.folder, setting.upstream_port, "doorward-10", {"access": rule_lines(10)}) as few,
        doorward(
            setting.folder, setting.upstream_port, "doorward-10000", {"access": rule_lines(10_000)}
        ) as many,
    ):
        few_headers, many_headers = _headers_for(few, setting), _headers_for(many, setting)
        seconds = setting.seconds
        ten, thousands = _interleaved(
            lambda: measure(few, "/", few_headers, seconds=seconds, script=script),
            lambda: measure(many, "/", many_headers, seconds=seconds, script=script),
        )
    return [_flat("10,000 rules instead of 10, random distinct paths", ten, thousands)]


def sessions(setting: Setting) -> list[Row]:
    """Compare 100,000 sessions going round with one."""
    from bench.scripts import write_cookie_script

    with doorward(setting.folder, setting.upstream_port, "doorward-sessions") as ours:
        headers = _headers_for(ours, setting)
        yaml = doorward_yaml(ours.port, setting.upstream_port, {})
        rest = {name: value for name, value in headers.items() if name != "Cookie"}
        seconds = setting.seconds

        def script(count: int) -> Path:
            cookies = cookie_headers(yaml, setting.folder / "bench.yaml", count)
            return write_cookie_script(setting.folder / f"cookies-{count}.lua", cookies)

        single, some, many = script(1), script(1000), script(100_000)
        one, hits, misses = _interleaved(
            lambda: measure(ours, "/", rest, seconds=seconds, script=single),
            lambda: measure(ours, "/", rest, seconds=seconds, script=some),
            lambda: measure(ours, "/", rest, seconds=seconds, script=many),
        )
        memory = resident_bytes(ours.pids) / MIB
    fits = _flat("1,000 sessions going round (all remembered) instead of 1", one, hits)
    round_about = _flat("100,000 sessions going round instead of 1", one, misses)
    return [fits, replace(round_about, details=f"{round_about.details}; RSS then {memory:.0f} MiB")]


def _flat(figure: str, small: list[Cost], large: list[Cost]) -> Row:
    ratio = statistics.median(b.cpu_us / a.cpu_us for a, b in zip(small, large, strict=True))
    details = f"{_describe('small', small)}; {_describe('large', large)}"
    return Row(figure, "<= 1.15 x", f"{ratio:.2f} x", details, ratio <= 1.15, None)


def idle(setting: Setting) -> list[Row]:
    """Measure what 5,000 idle connections cost, each after one request."""
    count = 5000
    with doorward(setting.folder, setting.upstream_port, "doorward-idle") as ours:
        headers = _headers_for(ours, setting)
        text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET / HTTP/1.1\r\n{text}\r\n".encode()
        _warm(ours, headers)
        before = resident_bytes(ours.pids)
        sockets = []
        try:
            for _ in range(count):
                sock = socket.create_connection(("127.0.0.1", ours.port), 5)
                sock.sendall(request)
                if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
                    raise RuntimeError("an idle connection's first request was not answered 200")
                sockets.append(sock)
            each = (resident_bytes(ours.pids) - before) / count / 1024
        finally:
            for sock in sockets:
                sock.close()
    return [Row("5,000 idle connections", "<= 12 KiB each", f"{each:.1f} KiB", "", each <= 12, None)]


def download(setting: Setting) -> list[Row]:
    """Measure memory while 1 GiB goes down to a reader slower than the upstream."""
    size = 1 << 30
    place = setting.folder / "upstream" / "files" / "big"
    with place.open("wb") as file:
        file.truncate(size)
    with doorward(setting.folder, setting.upstream_port, "doorward-download") as ours:
        headers = _headers_for(ours, setting)
        _warm(ours, headers)
        text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        before = peak = resident_bytes(ours.pids)
        received = reads = 0
        with socket.create_connection(("127.0.0.1", ours.port), 5) as sock:
            sock.sendall(f"GET /files/big HTTP/1.1\r\n{text}Connection: close\r\n\r\n".encode())
            while chunk := sock.recv(1 << 20):
                received += len(chunk)
                reads += 1
                if reads % 64 == 0:
                    time.sleep(0.002)
                    peak = max(peak, resident_bytes(ours.pids))
    grown = (peak - before) / MIB
    is_whole = received > size
    details = f"{received} bytes arrived" if is_whole else f"broken off after {received} bytes"
    return [
        Row(
            "1 GiB down past a slow reader",
            "<= 16 MiB more",
            f"{grown:.1f} MiB",
            details,
            is_whole and grown <= 16,
        )
    ]


SCENARIOS: Final[dict[str, Callable[[Setting], list[Row]]]] = {
    "proxying": proxying,
    "access_line": access_line,
    "assertion": assertion,
    "start": start,
    "rules": rules,
    "sessions": sessions,
    "idle": idle,
    "download": download,
}
