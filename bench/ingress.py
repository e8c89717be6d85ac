"""Forward auth: real ingresses that ask Doorward about each request, beside the same ones that only proxy.

Doorward's own part is the CPU time of its process alone; what the ingress spends on asking is the ingress's.
Both are counted in the same rounds.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from bench import gateways
from bench.gateways import Asked
from bench.load import Cost, ask, build_request, measure, write_script
from bench.login import ScriptedProvider
from bench.peers import find_program, oauth2_proxy
from bench.processes import Subject, cpu_seconds, free_port
from bench.rows import Row, Setting, describe, interleaved, median
from bench.scenarios import FORWARD_AUTH
from bench.scripts import write_cookie_script, write_varied_script
from bench.sessions import cookie_headers
from bench.subjects import bare_nginx, doorward, doorward_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = [
    "Costs",
    "asked_options",
    "await_answer",
    "ingresses",
    "nginx_asks",
    "nginx_rows",
    "own_part",
]

_TARGET: Final = "/reports/2026?page=2"
_SESSIONS: Final = 1000
_OWN_PART: Final = 0.7
_START_SECONDS: Final = 10.0


type _Start = Callable[[str, Path, int, int, Asked | None], contextlib.AbstractContextManager[Subject]]
type _Probe = Callable[[int], Costs]


@dataclass(frozen=True, slots=True)
class _Pair:
    """An ingress and whom it asks."""

    front: Subject
    asked: Subject


@dataclass(frozen=True, slots=True)
class Costs:
    """One round: both processes added up, and the asked one alone."""

    both: Cost
    own: Cost


def ingresses(setting: Setting) -> list[Row]:
    """Compare Envoy, Traefik and Caddy that ask Doorward with the same ones that only proxy."""
    rows: list[Row] = []
    for name, start, is_grpc in (
        ("envoy", gateways.envoy, False),
        ("envoy", gateways.envoy, True),
        ("traefik", gateways.traefik, False),
        ("caddy", gateways.caddy, False),
    ):
        program = find_program(name)
        figure = f"{name.title()}{' by gRPC' if is_grpc else ''} asking Doorward"
        if program is None:
            rows.append(Row(figure, "", "not here", "not on PATH, so not measured", None))
        else:
            rows += _beside_bare(setting, figure, program, start, is_grpc=is_grpc)
    return rows


def nginx_asks(setting: Setting) -> list[Row]:
    """Compare nginx that asks Doorward with bare nginx, and with nginx that asks oauth2-proxy."""
    folder, upstream_port = setting.folder, setting.upstream_port
    program = find_program("oauth2-proxy")
    with contextlib.ExitStack() as running:
        bare = running.enter_context(bare_nginx(folder, upstream_port))
        port = free_port()
        ours = running.enter_context(doorward(folder, upstream_port, "doorward-asked", asked_options(port)))
        texts = gateways.nginx_asking()
        front = running.enter_context(
            gateways.nginx(folder, "nginx-asking", port, upstream_port, Asked(ours.port), texts)
        )
        pair = _Pair(front, ours)
        cookies = _cookies(setting, pair, _SESSIONS)
        host = f"localhost:{port}"
        page = write_script(folder / "asking.lua", build_request(host, _TARGET, cookies[0]))
        many = write_cookie_script(folder / "asking-many.lua", build_request(host, "/", ""), cookies)
        varied = write_varied_script(folder / "asking-varied.lua", build_request(host, "/", cookies[0]))
        near, near_page, near_many = _asking_at_socket(setting, running)
        probes: dict[str, _Probe] = {
            "nginx": lambda seconds: _alone(bare, page, seconds),
            "same": lambda seconds: _together(pair, page, seconds),
            "many": lambda seconds: _together(pair, many, seconds),
            "same, socket": lambda seconds: _together(near, near_page, seconds),
            "many, socket": lambda seconds: _together(near, near_many, seconds),
            "varied": lambda seconds: _together(pair, varied, seconds),
        }
        if program is not None:
            provider = ScriptedProvider()
            running.callback(provider.stop)
            theirs, script = _asking_oauth2_proxy(setting, running, program, provider)
            probes["oauth2-proxy"] = lambda seconds: _together(theirs, script, seconds)
        ask(bare, build_request(host, _TARGET, cookies[0]))
        ask(front, build_request(host, _TARGET, cookies[0]))
        costs = dict(zip(probes, _measured(setting, list(probes.values())), strict=True))
    return nginx_rows(costs)


def _asking_at_socket(setting: Setting, running: contextlib.ExitStack) -> tuple[_Pair, Path, Path]:
    """Have nginx ask over a Unix socket; return the pair, and the scripts for one session and for many."""
    folder, upstream_port, port = setting.folder, setting.upstream_port, free_port()
    socket = folder / "asked.sock"
    options = {**asked_options(port), "forward_auth": "{callers: [unix]}"}
    ours = running.enter_context(gateways.doorward_at_socket(folder, upstream_port, socket, options))
    asked = Asked(ours.port, socket=socket)
    front = running.enter_context(
        gateways.nginx(folder, "nginx-asking-near", port, upstream_port, asked, gateways.nginx_asking())
    )
    pair, host = _Pair(front, ours), f"localhost:{port}"
    cookies = _cookies(setting, pair, _SESSIONS)
    ask(front, build_request(host, _TARGET, cookies[0]))
    page = write_script(folder / "near.lua", build_request(host, _TARGET, cookies[0]))
    return pair, page, write_cookie_script(folder / "near-many.lua", build_request(host, "/", ""), cookies)


def _asking_oauth2_proxy(
    setting: Setting, running: contextlib.ExitStack, program: str, provider: ScriptedProvider
) -> tuple[_Pair, Path]:
    folder, upstream_port, port = setting.folder, setting.upstream_port, free_port()
    peer, cookie = running.enter_context(oauth2_proxy(program, folder, upstream_port, provider))
    front = running.enter_context(
        gateways.nginx(
            folder, "nginx-asking-peer", port, upstream_port, Asked(peer.port), gateways.OAUTH2_PROXY
        )
    )
    others = f"theme=dark; _ga=GA1.1.1234567890.1700000000; {cookie}; lang=en"
    request = build_request(f"localhost:{port}", _TARGET, others)
    ask(front, request)
    return _Pair(front, peer), write_script(folder / "asking-peer.lua", request)


def nginx_rows(costs: dict[str, list[Costs]]) -> list[Row]:
    """Return the rows of what was measured, by name."""
    bare = costs["nginx"]
    part = "Doorward's own part of an nginx auth_request"
    rows = [
        own_part(part, _OWN_PART, bare, costs["same"]),
        own_part(f"{part}, {_SESSIONS:,} sessions going round", _OWN_PART, bare, costs["many"]),
        own_part(f"{part} over a Unix socket", _OWN_PART, bare, costs["same, socket"]),
        own_part(
            f"{part} over a Unix socket, {_SESSIONS:,} sessions going round",
            _OWN_PART,
            bare,
            costs["many, socket"],
        ),
        own_part(f"{part}, each request unlike the last", None, bare, costs["varied"]),
        _both("nginx asking Doorward, both added up", "bare nginx", bare, costs["same"]),
    ]
    if (theirs := costs.get("oauth2-proxy")) is None:
        rows.append(Row("nginx asking oauth2-proxy", "", "not here", "not on PATH, so not measured", None))
        return rows
    ratio = _ratio(theirs, costs["same"])
    peer, own = ([cost.both for cost in costs[name]] for name in ("oauth2-proxy", "same"))
    details = (
        f"{describe('nginx + oauth2-proxy', peer)}; {describe('nginx + Doorward', own)}; {_rates(peer, own)}"
    )
    instead = "nginx asking Doorward instead of oauth2-proxy, both added up"
    return [
        *rows,
        own_part("oauth2-proxy's own part of an nginx auth_request", None, bare, theirs, "oauth2-proxy"),
        _both("nginx asking oauth2-proxy, both added up", "bare nginx", bare, theirs),
        Row(instead, "", f"{ratio:.1f} x", details, None),
    ]


def _beside_bare(setting: Setting, figure: str, program: str, start: _Start, *, is_grpc: bool) -> list[Row]:
    """Compare an ingress that asks Doorward with the same one that does not."""
    folder, upstream_port = setting.folder, setting.upstream_port
    port, bare_port = free_port(), free_port()
    grpc_port = free_port() if is_grpc else None
    name = figure.partition(" asking")[0]
    with (
        doorward(folder, upstream_port, f"doorward-{port}", asked_options(port, grpc_port)) as ours,
        start(program, folder, bare_port, upstream_port, None) as bare,
        start(program, folder, port, upstream_port, Asked(ours.port, grpc_port)) as front,
    ):
        pair = _Pair(front, ours)
        scripts = []
        cookie = _cookies(setting, pair, 1)[0]
        for subject in (bare, front):
            request = build_request(f"localhost:{subject.port}", _TARGET, cookie)
            await_answer(subject, request)
            scripts.append(write_script(folder / f"gateway-{subject.port}.lua", request))
        base, asking = _measured(
            setting,
            [
                lambda seconds: _alone(bare, scripts[0], seconds),
                lambda seconds: _together(pair, scripts[1], seconds),
            ],
        )
    return [
        own_part(
            f"Doorward's own part of a question of {name}", None, base, asking, base_name=f"bare {name}"
        ),
        _both(f"{figure}, both added up", f"bare {name}", base, asking),
    ]


def asked_options(port: int, grpc_port: int | None = None) -> dict[str, str]:
    """Return the lines with which Doorward answers an ingress that browsers reach at `port`."""
    public = {"public_url": f"http://localhost:{port}"}
    if grpc_port is None:
        return {**FORWARD_AUTH, **public}
    return {**public, "forward_auth": f"{{callers: [127.0.0.1], grpc: '127.0.0.1:{grpc_port}'}}"}


def _cookies(setting: Setting, pair: _Pair, count: int) -> list[str]:
    yaml = doorward_yaml(pair.asked.port, setting.upstream_port, asked_options(pair.front.port))
    return cookie_headers(yaml, setting.folder / "bench.yaml", count)


def _alone(subject: Subject, script: Path, seconds: int) -> Costs:
    cost = measure(subject, script, seconds=seconds)
    return Costs(cost, cost)


def _together(pair: _Pair, script: Path, seconds: int) -> Costs:
    pids = pair.asked.pids
    everybody = replace(pair.front, pids=(*pair.front.pids, *pids))
    before = cpu_seconds(pids)
    both = measure(everybody, script, seconds=seconds)
    after = cpu_seconds(pids)
    user, system = ((after[number] - before[number]) / both.requests * 1e6 for number in (0, 1))
    return Costs(both, replace(both, user_us=user, system_us=system))


def _measured(setting: Setting, probes: Sequence[_Probe]) -> list[list[Costs]]:
    """Let memories fill, then measure in turn."""
    for probe in probes:
        probe(2)
    return interleaved(*(partial(probe, setting.seconds) for probe in probes))


def await_answer(subject: Subject, request: str) -> None:
    """Ask until there is a good answer: Traefik listens before it knows where to."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            ask(subject, request)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def own_part(  # noqa: PLR0917  what a row is made of
    figure: str,
    goal: float | None,
    base: list[Costs],
    asking: list[Costs],
    name: str = "Doorward",
    base_name: str = "bare nginx",
) -> Row:
    """Return the asked process's CPU time for a request as a multiple of what the ingress needs to proxy."""
    ratio = statistics.median(a.own.cpu_us / b.both.cpu_us for b, a in zip(base, asking, strict=True))
    bare, own = [cost.both for cost in base], [cost.own for cost in asking]
    errors = sum(cost.errors for cost in own)
    details = f"{describe(base_name, bare)}; {describe(name, own)}; {_rates(bare, own)}"
    if errors:
        details += f"; {errors} socket errors"
    is_reached = None if goal is None else ratio <= goal and not errors
    goal_text = "" if goal is None else f"<= {goal} of {base_name}"
    return Row(figure, goal_text, f"{ratio:.2f}", details, is_reached)


def _both(figure: str, base_name: str, base: list[Costs], asking: list[Costs]) -> Row:
    """Return the CPU time of ingress and asked process as a multiple of what the ingress needs to proxy."""
    ratio = _ratio(asking, base)
    bare, both = [cost.both for cost in base], [cost.both for cost in asking]
    details = f"{describe(base_name, bare)}; {describe('both', both)}; {_rates(bare, both)}"
    return Row(figure, "", f"{ratio:.2f} x {base_name}", details, None)


def _ratio(costs: list[Costs], base: list[Costs]) -> float:
    return statistics.median(c.both.cpu_us / b.both.cpu_us for c, b in zip(costs, base, strict=True))


def _rates(base: list[Cost], asking: list[Cost]) -> str:
    return f"{median(base, 'rate'):.0f} and {median(asking, 'rate'):.0f} requests/s"
