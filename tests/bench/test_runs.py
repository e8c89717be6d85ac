"""What the load sends, and small runs of scenarios against the real programs."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.load import build_request, write_script
from bench.processes import ROOT
from bench.scripts import rule_lines, write_cookie_script, write_path_script, write_varied_script
from sidecar.core.runtime import Limits
from sidecar.engines.express.requesthead import RequestParser
from tests.blackbox.httpserver import Answer, HttpServer, Received
from tests.config.files import runtime
from tests.parts import require_part

pytestmark = pytest.mark.slow

HOST = "localhost:1"
REQUEST = build_request(HOST, "/", "a=b; session=c")
COOKIES = [f"session={number}" for number in range(5)]


def sent(script: Path) -> list[Received]:
    """Return what wrk sends with the script."""
    wrk = require_part("wrk")
    server = HttpServer(lambda _: Answer(body=b"yes"))
    try:
        command = [str(wrk), "-t1", "-c2", "-d1s", "-s", str(script), server.url]
        run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert "requests in" in run.stdout
        assert "Non-2xx" not in run.stdout
        return server.received
    finally:
        server.stop()


@pytest.mark.parametrize(
    "write",
    [
        write_script,
        write_path_script,
        write_varied_script,
        lambda path, _: write_cookie_script(path, build_request(HOST, "/", ""), COOKIES),
    ],
)
def test_each_script_sends_a_browsers_fields_in_their_order(
    tmp_path: Path, write: Callable[[Path, str], Path]
) -> None:
    received = sent(write(tmp_path / "script.lua", REQUEST))
    names = [name for name, _ in received[0].headers]
    assert names[0] == "Host"
    assert names[-1] == "Cookie"
    assert len(names) == len(set(names)) >= 16
    assert all(field == ("Host", HOST) for field in (request.headers[0] for request in received))


def test_what_is_said_to_differ_differs(tmp_path: Path) -> None:
    paths = sent(write_path_script(tmp_path / "paths.lua", REQUEST))
    assert len({request.path for request in paths}) > len(paths) // 2
    varied = sent(write_varied_script(tmp_path / "varied.lua", REQUEST))
    assert all(one.headers != other.headers for one, other in itertools.pairwise(varied))
    cookies = sent(write_cookie_script(tmp_path / "cookies.lua", build_request(HOST, "/", ""), COOKIES))
    assert {request.headers[-1][1] for request in cookies} == set(COOKIES)


def test_a_browsers_request_is_one_for_the_engine() -> None:
    data = REQUEST.encode()
    assert RequestParser(Limits()).parse(data) == len(data)


def test_the_rules_of_the_bench_are_rules() -> None:
    rules = runtime(f"access: {rule_lines(50)}\n").sites[0].rules
    assert len(rules.rules) == 50
    assert rules.match("app.example.com", "/w/1/x", b"GET") is rules.rules[-1]


@pytest.mark.parametrize("scenario", ["resident", "assertion", "interception", "dev"])
def test_a_scenario_runs(scenario: str) -> None:
    for part in ("nginx", "wrk", "h2load"):
        require_part(part)
    command = [sys.executable, "-m", "bench", scenario, "--seconds", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    assert "(to reach: " in run.stdout


def test_an_unknown_scenario_is_refused() -> None:
    command = [sys.executable, "-m", "bench", "nonsense"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 2
    assert "there is no scenario nonsense" in run.stderr
