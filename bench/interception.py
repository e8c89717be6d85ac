"""The interception engine beside bare mitmproxy in reverse mode, and `doorward dev`."""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Final

from mitmproxy.version import VERSION

from bench.load import ask, build_request, fields_of, measure, multiplexed_rate, unloaded_p50, write_script
from bench.processes import cpu_seconds, free_port, resident_bytes, started
from bench.rows import MIB, ROUNDS, Row, describe, interleaved, median
from bench.scenarios import browser, warmed
from bench.subjects import bare_mitmproxy, doorward, plain_mitmproxy
from tests.blackbox.certificates import make_certificate

if TYPE_CHECKING:
    from bench.load import Cost
    from bench.processes import Subject
    from bench.rows import Setting

__all__ = ["dev", "interception", "interception_http2"]

_OPTIONS: Final = {"engine": "interception"}
_TARGET: Final = "/reports/2026?page=2"
_STARTS: Final = 5
_ADDED_MS: Final = 0.5
_ADDED_MIB: Final = 24


def interception(setting: Setting) -> list[Row]:
    """Compare rate, added latency and memory with mitmdump's, which proxies and does nothing else."""
    with (
        bare_mitmproxy(setting.folder, setting.upstream_port) as bare,
        plain_mitmproxy(setting.folder, setting.upstream_port) as plain,
        doorward(setting.folder, setting.upstream_port, "doorward-interception", _OPTIONS) as ours,
    ):
        request = browser(ours, setting)
        script = write_script(setting.folder / "interception.lua", request)
        for subject in (bare, plain, ours):
            warmed(subject, script, request)
        base, least, proxy = interleaved(
            lambda: measure(bare, script, seconds=setting.seconds),
            lambda: measure(plain, script, seconds=setting.seconds),
            lambda: measure(ours, script, seconds=setting.seconds),
        )
        memory = [resident_bytes(subject.pids) / MIB for subject in (bare, plain, ours)]
        rounds = [
            tuple(unloaded_p50(subject, script, seconds=setting.seconds) for subject in (bare, plain, ours))
            for _ in range(ROUNDS)
        ]
    figure = "interception engine, logged in: rate, bare mitmproxy = 1"
    alone = "interception engine, logged in: rate, mitmproxy without its programs' addons = 1"
    return [
        _rate(figure, 0.75, base, proxy, f"mitmproxy {VERSION}"),
        _rate(alone, None, least, proxy, "mitmproxy alone"),
        _added(rounds),
        _memory(memory),
    ]


def _rate(figure: str, goal: float | None, base: list[Cost], proxy: list[Cost], name: str) -> Row:
    ratio = statistics.median(o.rate / b.rate for b, o in zip(base, proxy, strict=True))
    cpu = statistics.median(b.cpu_us / o.cpu_us for b, o in zip(base, proxy, strict=True))
    errors = sum(cost.errors for cost in (*base, *proxy))
    details = (
        f"{median(base, 'rate'):.0f} and {median(proxy, 'rate'):.0f} requests/s;"
        f" {describe(name, base)}; {describe('Doorward', proxy)}; CPU ratio {cpu:.2f}"
    )
    if errors:
        details += f"; {errors} socket errors"
    is_reached = None if goal is None else ratio >= goal and not errors
    return Row(figure, "" if goal is None else f">= {goal}", f"{ratio:.2f}", details, is_reached)


def _added(rounds: list[tuple[float, ...]]) -> Row:
    theirs, least, own = sorted(rounds, key=lambda each: each[2] - each[0])[len(rounds) // 2]
    added = own - theirs
    details = (
        f"one request at a time: mitmproxy {theirs:.2f} ms, without its programs' addons {least:.2f} ms,"
        f" Doorward {own:.2f} ms"
    )
    figure = "interception engine, logged in: p50 added to mitmproxy's"
    return Row(figure, f"<= {_ADDED_MS} ms", f"{added:.2f} ms", details, added <= _ADDED_MS)


def _memory(memory: list[float]) -> Row:
    theirs, least, own = memory
    details = (
        f"mitmproxy {theirs:.1f} MiB, without its programs' addons {least:.1f} MiB, Doorward {own:.1f} MiB"
    )
    figure = "interception engine: RSS after that load"
    goal = f"<= mitmproxy + {_ADDED_MIB} MiB"
    return Row(figure, goal, f"{own - theirs:+.1f} MiB", details, own - theirs <= _ADDED_MIB)


def interception_http2(setting: Setting) -> list[Row]:
    """Compare with HTTP/2 and TLS in front, HTTP/1.1 behind: both then connect upstream for each request."""
    files = make_certificate(setting.folder)
    both = setting.folder / "both.pem"
    both.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
    both.chmod(0o600)
    options = {**_OPTIONS, "public_url": "https://localhost", "tls": json.dumps(files.settings)}
    flags = ("--certs", str(both))
    with (
        bare_mitmproxy(setting.folder, setting.upstream_port, "mitmproxy-h2", flags) as bare,
        doorward(setting.folder, setting.upstream_port, "doorward-h2", options) as ours,
    ):
        cookie = browser(ours, setting, options=options).partition("Cookie: ")[2].strip()
        fields = fields_of("localhost", cookie)

        def rate(subject: Subject) -> float:
            return multiplexed_rate(subject, _TARGET, fields, seconds=setting.seconds)

        rounds = [(rate(bare), rate(ours)) for _ in range(ROUNDS + 1)][1:]  # the first one warms up
    ratio = statistics.median(own / theirs for theirs, own in rounds)
    theirs, own = (statistics.median(pair[number] for pair in rounds) for number in (0, 1))
    figure = "interception engine, HTTP/2 over TLS in front: rate, bare mitmproxy = 1"
    details = f"h2load, 8 connections of 4 streams each: {theirs:.0f} and {own:.0f} requests/s"
    return [Row(figure, "", f"{ratio:.2f}", details, None)]


def dev(setting: Setting) -> list[Row]:
    """Measure `doorward dev` from the command to its first answer."""
    times, cpu = [], []
    for _ in range(_STARTS):
        port = free_port()
        command = [sys.executable, "-m", "sidecar", "dev", f"http://127.0.0.1:{setting.upstream_port}"]
        begin = time.monotonic()
        with started(
            "dev", [*command, "--listen", str(port), "--as", "alice"], port, log=setting.folder / "dev.log"
        ) as subject:
            ask(subject, build_request(f"localhost:{port}", "/", ""))
            times.append(time.monotonic() - begin)
            cpu.append(sum(cpu_seconds(subject.pids)))
    seconds = statistics.median(times)
    details = (
        f"median of {len(times)} starts, {min(times):.2f} to {max(times):.2f} s;"
        f" of that {statistics.median(cpu):.2f} s CPU"
    )
    return [Row("`doorward dev` until its first answer", "<= 2 s", f"{seconds:.2f} s", details, seconds <= 2)]
