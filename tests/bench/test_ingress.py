"""The ingresses of the bench ask as config/ingress/ has it, and what they cost is told apart."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bench import gateways
from bench.gateways import Asked, nginx_asking
from bench.ingress import Costs, asked_options, await_answer, nginx_rows, own_part
from bench.load import Cost, ask, build_request
from bench.processes import Subject, free_port
from bench.scenarios import as_question
from bench.sessions import cookie_headers
from bench.subjects import doorward, doorward_yaml, upstream
from sidecar.core.runtime import Limits
from sidecar.engines.express.requesthead import RequestParser
from tests.parts import require_part


def test_nginx_asks_with_the_lines_of_its_recipe() -> None:
    asks, location = nginx_asking()
    assert asks.splitlines()[0] == "auth_request /oauth2/auth;"
    assert "proxy_set_header X-Auth-Request-User               $doorward_user;" in asks
    assert asks.count("add_header Set-Cookie") == asks.count("$upstream_http_x_doorward_set_cookie_") > 0
    assert "proxy_pass http://doorward/oauth2/auth/nginx;" in location
    assert location.count("{") == location.count("}") == 1


def test_a_question_has_the_fields_that_nginx_writes() -> None:
    data = as_question(build_request("localhost:1", "/reports?page=2", "a=b")).encode()
    parser = RequestParser(Limits())
    assert parser.parse(data) == len(data)
    assert (parser.method, parser.target) == (b"GET", b"/oauth2/auth/nginx")
    told = dict(parser.headers)
    assert told[b"X-Original-Method"] == b"GET"
    assert told[b"X-Original-URI"] == b"/reports?page=2"
    assert (told[b"Host"], told[b"Cookie"]) == (b"localhost:1", b"a=b")


def cost(cpu: float, *, errors: int = 0) -> Cost:
    return Cost(requests=1000, user_us=cpu, system_us=0.0, rate=1000.0, errors=errors)


def test_the_own_part_is_judged_by_the_median_of_the_rounds() -> None:
    bare = [Costs(cost(20), cost(20)) for _ in range(3)]

    def row(*own: float, errors: int = 0) -> tuple[str, bool | None]:
        asking = [Costs(cost(100), cost(each, errors=errors)) for each in own]
        found = own_part("x", 0.7, bare, asking)
        return found.measured, found.is_reached

    assert row(10, 12, 200) == ("0.60", True)
    assert row(10, 16, 200) == ("0.80", False)
    assert row(10, 12, 12, errors=1) == ("0.60", False)


def test_what_oauth2_proxy_costs_is_told_where_it_is_here() -> None:
    costs = {
        name: [Costs(cost(30), cost(each))] * 3
        for name, each in {
            "nginx": 20,
            "same": 10,
            "many": 16,
            "same, socket": 9,
            "many, socket": 12,
            "varied": 50,
        }.items()
    }
    own = [(row.measured, row.is_reached) for row in nginx_rows(costs)[:5]]
    assert own == [("0.33", True), ("0.53", True), ("0.30", True), ("0.40", True), ("1.67", None)]
    assert nginx_rows(costs)[-1].measured == "not here"
    costs["oauth2-proxy"] = [Costs(cost(90), cost(80))] * 3
    assert nginx_rows(costs)[-1].measured == "3.0 x"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that nginx's worker may look into."""
    with tempfile.TemporaryDirectory(prefix="doorward-bench-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


_GATEWAYS: dict[str, Callable[..., AbstractContextManager[Subject]]] = {
    "envoy": gateways.envoy,
    "traefik": gateways.traefik,
    "caddy": gateways.caddy,
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "is_grpc"), [*((name, False) for name in _GATEWAYS), ("envoy", True)])
def test_an_ingress_asks(name: str, folder: Path, *, is_grpc: bool) -> None:
    """Somebody with a session passes; nobody else does."""
    require_part("nginx")
    program = str(require_part(name))
    if is_grpc:
        pytest.importorskip("grpc")
    port = free_port()
    grpc_port = free_port() if is_grpc else None
    options = asked_options(port, grpc_port)
    with (
        upstream(folder) as application,
        doorward(folder, application.port, "asked", options) as ours,
        _GATEWAYS[name](program, folder, port, application.port, Asked(ours.port, grpc_port)) as front,
    ):
        cookie = cookie_headers(doorward_yaml(ours.port, 1, options), folder / "x.yaml", 1)[0]
        await_answer(front, build_request(f"localhost:{port}", "/reports", cookie))
        with pytest.raises(RuntimeError, match=r"HTTP/1.1 (302|401)"):
            ask(front, build_request(f"localhost:{port}", "/reports", ""))


@pytest.mark.slow
def test_nginx_asks_over_a_unix_socket(folder: Path) -> None:
    require_part("nginx")
    port, socket = free_port(), folder / "asked.sock"
    options = {**asked_options(port), "forward_auth": "{callers: [unix]}"}
    with (
        upstream(folder) as application,
        gateways.doorward_at_socket(folder, application.port, socket, options) as ours,
        gateways.nginx(
            folder, "front", port, application.port, Asked(ours.port, socket=socket), nginx_asking()
        ) as front,
    ):
        cookie = cookie_headers(doorward_yaml(ours.port, 1, asked_options(port)), folder / "x.yaml", 1)[0]
        await_answer(front, build_request(f"localhost:{port}", "/reports", cookie))
        with pytest.raises(RuntimeError, match=r"HTTP/1.1 401"):
            ask(front, build_request(f"localhost:{port}", "/reports", ""))
