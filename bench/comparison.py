"""The same work done by others: oauth2-proxy, and Envoy with its OAuth2 filter."""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING

from bench.load import Cost, build_request, measure, write_script
from bench.login import ScriptedProvider
from bench.peers import envoy, envoy_oauth2, find_program, oauth2_proxy
from bench.rows import Row, compare, describe, interleaved
from bench.scenarios import FORWARD_AUTH, as_question, browser, warmed
from bench.subjects import bare_nginx, doorward

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.processes import Subject
    from bench.rows import Setting

__all__ = ["others"]

_TARGET = "/reports/2026?page=2"


def others(setting: Setting) -> list[Row]:
    """Measure nginx, Doorward and each peer that is here in the same rounds."""
    provider = ScriptedProvider()
    folder, upstream_port = setting.folder, setting.upstream_port
    found = {name: find_program(name) for name in ("envoy", "oauth2-proxy")}
    with contextlib.ExitStack() as running:
        running.callback(provider.stop)
        nginx = running.enter_context(bare_nginx(folder, upstream_port))
        ours = running.enter_context(doorward(folder, upstream_port, "doorward-compared", FORWARD_AUTH))
        page = browser(ours, setting)
        probes: dict[str, Callable[[], Cost]] = {}

        def add(name: str, subject: Subject, request: str) -> None:
            script = write_script(folder / f"compared-{len(probes)}.lua", request)
            warmed(subject, script, request)
            probes[name] = lambda: measure(subject, script, seconds=setting.seconds)

        add("nginx", nginx, page)
        add("Doorward", ours, page)
        add("Doorward /oauth2/auth", ours, as_question(page))
        if found["envoy"]:
            plain = running.enter_context(envoy(found["envoy"], folder, upstream_port))
            add("Envoy, no authentication", plain, page)
            filtered, cookie = running.enter_context(
                envoy_oauth2(found["envoy"], folder, upstream_port, provider)
            )
            add("Envoy, OAuth2 filter", filtered, _request(filtered, _TARGET, cookie))
        if found["oauth2-proxy"]:
            peer, cookie = running.enter_context(
                oauth2_proxy(found["oauth2-proxy"], folder, upstream_port, provider)
            )
            add("oauth2-proxy", peer, _request(peer, _TARGET, cookie))
            add("oauth2-proxy /oauth2/auth", peer, _request(peer, "/oauth2/auth", cookie))
        costs = dict(zip(probes, interleaved(*probes.values()), strict=True))
    rows = [
        compare(name, None, costs["nginx"], cost, name, name)
        for name, cost in costs.items()
        if name not in {"nginx", "Doorward", "Doorward /oauth2/auth"}
    ]
    rows += _times(costs, "Envoy, OAuth2 filter", "Doorward", 2)
    rows += _times(costs, "oauth2-proxy", "Doorward", 7)
    rows += _times(costs, "oauth2-proxy /oauth2/auth", "Doorward /oauth2/auth", None)
    absent = [name for name, program in found.items() if program is None]
    return rows + [Row(name, "", "not here", "not on PATH, so not measured", None) for name in absent]


def _request(subject: Subject, target: str, cookie: str) -> str:
    others = f"theme=dark; _ga=GA1.1.1234567890.1700000000; {cookie}; lang=en"
    return build_request(f"localhost:{subject.port}", target, others)


def _times(costs: dict[str, list[Cost]], theirs: str, ours: str, goal: float | None) -> list[Row]:
    if theirs not in costs:
        return []
    pairs = zip(costs[theirs], costs[ours], strict=True)
    ratio = statistics.median(peer.cpu_us / own.cpu_us for peer, own in pairs)
    details = f"{describe(theirs, costs[theirs])}; {describe(ours, costs[ours])}"
    is_reached = None if goal is None else ratio >= goal
    goal_text = "" if goal is None else f">= {goal} x"
    return [Row(f"{ours} instead of {theirs}", goal_text, f"{ratio:.1f} x", details, is_reached)]
