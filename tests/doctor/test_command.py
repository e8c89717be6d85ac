"""`doorward doctor` as a person types it, at servers that are no ingress at all."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

import pytest

from tests.blackbox.httpserver import Answer, HttpServer, Received
from tests.cli.commands import Outcome, doorward
from tests.processes import find_free_port

_REFUSED = Answer(status=401, headers=(("Doorward-Intercepted", "login_required_api"),))
_SENT_AWAY = Answer(status=302, headers=(("Location", "/oauth2/start?rd=%2F"),))


def _closed(received: Received) -> Answer:
    if received.target.startswith("/oauth2/") and received.path != "/oauth2/userinfo":
        return Answer(status=404)
    return _SENT_AWAY if "text/html" in "".join(received.values("Accept")) else _REFUSED


def _open(received: Received) -> Answer:
    return _closed(received) if received.path.startswith("/oauth2/") else Answer(body=b"welcome")


def _examine(
    serve: Callable[[Received], Answer], *options: str | Path, path: str = ""
) -> tuple[Outcome, list[Received]]:
    with HttpServer(serve).running() as server:
        outcome = doorward("doctor", "--ingress", f"http://app.localhost:{server.port}{path}", *options)
        return outcome, server.received


def test_a_closed_door_has_status_0() -> None:
    outcome, received = _examine(_closed)

    assert outcome.code == 0, outcome.out
    assert "  0 open" in outcome.out
    assert {request.target for request in received} >= {"/", "//", "/oauth2/auth"}


def test_an_open_door_has_status_1_and_a_mend() -> None:
    outcome, _ = _examine(_open, "--kind", "haproxy")

    assert outcome.code == 1
    assert "open     a page without a session" in outcome.out
    assert "haproxy        http-request lua.doorward" in outcome.out
    assert "auth_request" not in outcome.out
    assert "not asked: / is open as it is" in outcome.out


def test_few_requests_that_change_nothing() -> None:
    _, received = _examine(_closed, "--public-path", "/public/x", "--path", "/admin/x")

    assert len(received) <= 70
    assert {request.method for request in received} == {"GET", "HEAD", "OPTIONS"}
    assert sum(request.body_length for request in received) == 0


def test_the_urls_own_path_is_the_protected_one() -> None:
    _, received = _examine(_closed, path="/app/page")

    assert received[0].target == "/app/page"


@pytest.mark.parametrize("status", [200, 302, 401, 404, 502])
def test_somebody_else_behind_it_is_one_line(status: int) -> None:
    outcome, received = _examine(lambda _: Answer(status=status))

    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert "no Doorward behind it" in outcome.err
    assert len(received) == 3


def test_nobody_there_is_one_line() -> None:
    outcome = doorward("doctor", "--ingress", f"http://localhost:{find_free_port()}")
    told = doorward("doctor", "--ingress", f"http://localhost:{find_free_port()}", "--json")

    assert outcome.code == told.code == 2
    assert "can't be reached" in outcome.err
    assert outcome.err.count("\n") == 1
    assert "can't be reached" in told.json["error"]


@pytest.mark.parametrize("text", ["", "session", "a=1\nb=2", "a=ä", "a=\0"])
def test_a_file_that_holds_no_cookie_is_refused_without_a_request(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cookie"
    file.write_text(text, encoding="utf-8")

    outcome, received = _examine(_closed, "--cookie", file, "--echo", "/")

    assert outcome.code == 2
    assert str(file) in outcome.err
    assert received == []


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    outcome, _ = _examine(_closed, "--cookie", tmp_path / "cookie")

    assert outcome.code == 2
    assert f"{tmp_path / 'cookie'}: No such file" in outcome.err


def test_a_session_goes_over_no_open_line(tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text("a=1", encoding="ascii")

    outcome = doorward("doctor", "--ingress", "http://app.example.com", "--cookie", file, "--echo", "/")

    assert outcome.code == 2
    assert "does not go over http" in outcome.err


def test_a_cookie_that_opens_nothing_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text("session=secret-of-ann", encoding="ascii")

    outcome, received = _examine(_closed, "--cookie", file, "--echo", "/me")

    assert outcome.code == 2
    assert "the cookie opens nothing there: 302" in outcome.err
    assert "secret-of-ann" not in outcome.out + outcome.err
    assert [request.values("Cookie") for request in received if request.values("Cookie")] == [
        ["session=secret-of-ann"]
    ]


@pytest.mark.parametrize("option", ["--path", "--public-path", "--echo", "--prefix"])
def test_a_path_that_is_none_is_refused(option: str) -> None:
    outcome, received = _examine(_closed, option, "no path")

    assert outcome.code == 2
    assert f"{option} no path" in outcome.err
    assert received == []


def test_json_has_every_row_and_a_mend_where_one_is_needed() -> None:
    outcome, _ = _examine(_open, "--json")

    assert outcome.json["open"] is True
    assert outcome.json["ingress"] is None
    assert _examine(_closed, "--json")[0].json["open"] is False
    for row in outcome.json["findings"]:
        assert set(row) == {"group", "probe", "sent", "came", "verdict", "mend"}
        assert bool(row["mend"]) is (row["verdict"] != "ok")


def test_a_terminal_gets_a_table() -> None:
    main, copy = pty.openpty()
    with HttpServer(_closed).running() as server, os.fdopen(main, "rb", buffering=0) as screen:
        command = [sys.executable, "-m", "sidecar", "doctor", "--ingress", server.url]
        environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
        with subprocess.Popen(command, stdout=copy, stderr=copy, env=environment) as process:
            os.close(copy)
            shown = b"".join(_everything(screen))
            assert process.wait(60) == 0

    assert b"came back" in shown.splitlines()[0]
    assert b"a page without a session" in shown
    assert b"as it should be" in shown


def _everything(screen: FileIO) -> Iterator[bytes]:
    while True:
        try:
            part = screen.read(4096)
        except OSError:  # the terminal's other side is gone
            return
        if not part:
            return
        yield part
