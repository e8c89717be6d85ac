"""HAProxy with our Lua: config/ingress/haproxy.cfg and doorward.lua, as they are."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.blackbox.doorward import new_key
from tests.blackbox.httpserver import Answer, HttpServer, Received
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.ingress.harness import HOST, IDENTITY, Ingress, World, folded
from tests.ingress.promises import FORGED, IngressPromises, OtherFieldsPromises
from tests.parts import require_part
from tests.processes import running, wait_for_port

_SCRIPT = "/etc/haproxy/doorward.lua"
_SECONDS = 20.0
_SECRET = new_key()
_YES = (*((name, "") for name in IDENTITY), ("X-Auth-Request-Preferred-Username", ""))


class HAProxy(Ingress):
    """The recipe."""

    name = "haproxy"
    part = "haproxy"
    environment: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **changes: str) -> None:
        """Change the script: texts by what stands for them in it."""
        self._changes = changes

    def text(self, world: World) -> str:
        """Return the configuration."""
        return world.config("haproxy.cfg", **{_SCRIPT: world.folder / "doorward.lua"})

    @contextlib.contextmanager
    def start(self, world: World) -> Iterator[None]:
        """Run HAProxy with its file and its script."""
        file = _write_files(world, self.text(world), world.config("doorward.lua", **self._changes))
        log = world.folder / "haproxy.log"
        command: list[str | Path] = [require_part("haproxy"), "-db", "-f", file]
        with running(command, log=log, env={**os.environ, **self.environment}) as process:
            wait_for_port(world.port, process)
            yield


def _write_files(world: World, text: str, script: str) -> Path:
    (world.folder / "doorward.lua").write_text(script, encoding="utf-8")
    file = world.folder / "haproxy.cfg"
    file.write_text(text, encoding="utf-8")
    return file


class TestHAProxy(IngressPromises):
    """The promises of every ingress."""

    ingress: ClassVar[Ingress] = HAProxy()

    def test_the_files_load_without_a_warning(self, world: World) -> None:
        log = (world.folder / "haproxy.log").read_text("utf-8")

        assert "[WARNING]" not in log
        assert "[ALERT]" not in log


class _Changed(HAProxy):
    """What its page says that one may change: a secret, and other identity headers."""

    environment: ClassVar[Mapping[str, str]] = {"DOORWARD_SECRET": _SECRET}
    settings: ClassVar[Mapping[str, Any]] = {
        "forward_auth": {"secret": _SECRET},
        "headers": "authorization-username-email",
    }

    def text(self, world: World) -> str:
        told, named = re.subn(
            "(?m)^( +setenv DOORWARD_HEADERS) .*", r"\1 Authorization,Username,Email", super().text(world)
        )
        rule = "http-request lua.doorward"
        assert (named, told.count(rule)) == (1, 1)
        return told.replace(rule, "http-request allow if { path /healthz }\n    " + rule)


class TestHAProxyChanged(OtherFieldsPromises):
    """config/ingress/haproxy.cfg with what its page says that one may change."""

    ingress: ClassVar[Ingress] = _Changed()
    pytestmark = pytest.mark.slow

    def test_only_haproxy_knows_the_secret(self, world: World, script: ScriptedProvider) -> None:
        """S75: the application does not see it, and a guessed one is of no use."""
        guessed = {"X-Doorward-Secret": "guessed"}

        assert world.raw("/x", person=world.signed_in(), headers=guessed).status == 200
        assert world.raw("/oauth2/auth/haproxy", headers={**guessed, "X-Forwarded-Uri": "/x"}).status == 404

        received = world.application.last("/x")
        assert folded(received, "X-Doorward-Secret") == []
        assert _SECRET not in str(received.headers)

    def test_a_path_may_live_without_doorward(self, world: World) -> None:
        with world.doorward_killed():
            assert world.raw("/healthz", headers={"X-Auth-Request-User": FORGED}).status == 200
            assert world.raw("/healthz/x").status >= 500

        assert folded(world.application.last("/healthz"), "X-Auth-Request-User") == []


# --- HAProxy asks somebody who is not Doorward, or its script breaks ---


class _Oracle(HttpServer):
    """Stands where Doorward does, and answers by the original path: /NAME with the answer of that name."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.answers = {
            "yes": Answer(headers=(*_YES, ("Set-Cookie", "one=1"), ("Set-Cookie", "two=2"))),
            "accepted": Answer(status=202, headers=_YES),
            "no": Answer(
                status=403, headers=(("Content-Type", "text/plain"), ("X-A", "1")), body=b"n" * 40_000
            ),
            "elsewhere": Answer(status=302, headers=(("Location", "/a?b=c%26d"), ("Set-Cookie", "three=3"))),
            "nobody": Answer(body=b"It works!"),
            "incomplete": Answer(headers=_YES[:3]),
            "no-content": Answer(status=204, headers=_YES),
            "continue": Answer(take_over=_saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")),
            "garbage": Answer(take_over=_saying(b"\x00\x01\x02 OK 200\r\n\r\n")),
            "early-end": Answer(take_over=_saying(b"HTTP/1.1 200 OK\r\nX-Auth-Request-User: mallory\r\n")),
            "short": Answer(
                take_over=_saying(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-Auth-Request-User: mallory\r\n\r\nabc"
                )
            ),
            "silence": Answer(take_over=_saying(b"")),
            "too-long": Answer(headers=(*_YES, *((f"X-{n}", "x" * 4000) for n in range(40)))),
            "hanging": Answer(take_over=self._hang),
        }
        super().__init__(self._choose)

    def _hang(self, connection: socket.socket) -> None:
        del connection
        self.let_go.wait(_SECONDS)

    def _choose(self, received: Received) -> Answer:
        path = received.values("X-Forwarded-Uri")[0].partition("?")[0]
        return self.answers[path.split("/")[1]]


def _saying(said: bytes) -> Callable[[socket.socket], None]:
    def say(connection: socket.socket) -> None:
        connection.sendall(said)

    return say


@pytest.fixture(scope="module")
def oracle() -> Iterator[_Oracle]:
    """Run it for the module's tests."""
    with (oracle := _Oracle()).running():
        yield oracle
        oracle.let_go.set()


@pytest.fixture(scope="module")
def asking(
    oracle: _Oracle, scripted: ScriptedProvider, application: Application, folder: Path
) -> Iterator[World]:
    """Run HAProxy in front of the application, asking the oracle."""
    require_part("haproxy")
    with _world(folder / "asking", oracle, scripted, application) as world:
        yield world


@contextlib.contextmanager
def _world(
    folder: Path, oracle: _Oracle, scripted: ScriptedProvider, application: Application
) -> Iterator[World]:
    # The usual 2 seconds, four times, are those of the promise about a hanging Doorward.
    ingress = HAProxy(**{"MILLISECONDS = 2000": "MILLISECONDS = 250"})
    world = World(
        folder=folder,
        ingress=ingress,
        provider=scripted,
        application=application.upstream,
        _doorward_port=oracle.port,
    )
    with ingress.start(world):
        yield world


@pytest.fixture(autouse=True)
def _forget(application: Application) -> None:
    application.upstream.forget()


def test_a_yes_passes_and_its_cookies_reach_the_browser(asking: World) -> None:
    answer = asking.raw("/yes")

    assert answer.status == 200
    assert answer.headers.get_all("set-cookie") == ["one=1", "two=2"]
    assert asking.raw("/accepted").status == 200


def test_the_cookies_of_one_request_go_with_no_other(asking: World) -> None:
    """A proxy in front may send different people's requests on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", asking.port, timeout=_SECONDS)
    told = []
    with contextlib.closing(connection):
        for path in ("/yes", "/accepted", "/yes"):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            told.append(answer.headers.get_all("set-cookie"))

    assert told == [["one=1", "two=2"], None, ["one=1", "two=2"]]


def test_any_other_answer_is_passed_on_as_it_is(asking: World) -> None:
    """Body, cookies and fields, though the body is longer than HAProxy's usual buffer."""
    refused, sent, asked = asking.raw("/no"), asking.raw("/elsewhere"), asking.raw("/no", "HEAD")

    assert (refused.status, len(refused.body), refused.headers["x-a"]) == (403, 40_000, "1")
    assert (sent.status, sent.headers["location"], sent.headers["set-cookie"]) == (
        302,
        "/a?b=c%26d",
        "three=3",
    )
    assert (asked.status, asked.body) == (403, b"")
    assert asking.application.received == []


@pytest.mark.parametrize(
    "answer",
    [
        "nobody",
        "incomplete",
        "no-content",
        "continue",
        "garbage",
        "early-end",
        "short",
        "silence",
        "too-long",
    ],
)
def test_an_answer_that_makes_no_sense_is_a_refusal(asking: World, answer: str) -> None:
    assert asking.raw(f"/{answer}").status in {502, 503, 504}
    assert asking.application.received == []


def test_one_question_without_an_answer_holds_up_no_other(asking: World) -> None:
    """Lua waits without blocking HAProxy: the script is the only one of all its threads'."""
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(asking.raw, "/hanging") for _ in range(20)]
        began = time.monotonic()
        assert asking.raw("/yes").status == 200
        assert time.monotonic() - began < 1.0
        assert not any(answer.done() for answer in waiting)
        assert all(answer.result(_SECONDS).status == 504 for answer in waiting)


def test_the_question_says_nothing_that_a_client_made_up(asking: World, oracle: _Oracle) -> None:
    """S48, S50: one field of each kind, and HAProxy's own word in it."""
    oracle.forget()
    invented = {
        "X-Forwarded-Uri": "/public",
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Host": "evil.example",
        "X-Doorward-Secret": "guess",
        "X-Original-URI": "/public",
    }
    asking.raw("/yes/%2e%2e/x?a=%26&b=%2f", "PATCH", headers=invented)

    question = oracle.received[-1]
    assert (question.method, question.target) == ("GET", "/oauth2/auth/haproxy")
    told = {name.lower(): value for name, value in question.headers if name.lower().startswith("x-")}
    assert told == {
        "x-forwarded-method": "PATCH",
        "x-forwarded-uri": "/yes/%2e%2e/x?a=%26&b=%2f",
        "x-forwarded-host": f"{HOST}:{asking.port}",
        "x-forwarded-proto": "http",
        "x-forwarded-for": "127.0.0.1",
    }


def test_only_a_whole_handshake_may_leave_http(asking: World) -> None:
    """h2c would be a tunnel past everything; half a handshake, one that Doorward was not asked about."""
    for upgrade in ("h2c", "websocket"):
        fields = {"Connection": "Upgrade, HTTP2-Settings, X-Auth-Request-User", "Upgrade": upgrade}
        asking.raw("/yes", headers=fields)

        received = asking.application.last("/yes")
        assert received.values("upgrade") == []
        assert received.values("connection") == []


def test_the_target_is_the_same_for_the_application_and_for_doorward(asking: World, oracle: _Oracle) -> None:
    """A target with a host in it is turned into the path that was asked about; one without a path refused."""
    absolute = asking.raw(f"http://{HOST}:{asking.port}/yes?a")
    refused = [asking.raw(target, "OPTIONS") for target in ("*", f"http://{HOST}:{asking.port}")]

    assert absolute.status == 200
    assert asking.application.received[-1].target == "/yes?a"
    assert oracle.received[-1].values("X-Forwarded-Uri") == ["/yes?a"]
    assert [answer.status for answer in refused] == [400, 400]


@pytest.mark.parametrize(
    ("whole", "broken"),
    [
        ("core.httpclient()", "core.nothing()"),
        ("core.httpclient()", "error('broken')"),
        ('txn:set_var("txn.doorward", "yes")', "error('broken')"),
        ("answer.status == 200 or answer.status == 202", "answer.no == 200"),
        ("HEADERS:gmatch", "HEADERS:nothing"),
    ],
    ids=["its client", "before", "after", "the status", "the identity"],
)
def test_a_script_that_breaks_opens_nothing(asking: World, tmp_path: Path, whole: str, broken: str) -> None:
    world = _twin(asking, tmp_path)
    with HAProxy(**{whole: broken}).start(world):
        assert world.raw("/yes").status == 503
    assert asking.application.received == []


@pytest.mark.parametrize("script", ["this is no Lua", "-- an empty file\n"], ids=["no Lua", "no action"])
def test_haproxy_does_not_start_without_the_action(asking: World, tmp_path: Path, script: str) -> None:
    world = _twin(asking, tmp_path)
    file = _write_files(world, HAProxy().text(world), script)

    found = subprocess.run(
        [str(require_part("haproxy")), "-c", "-f", str(file)],
        check=False,
        capture_output=True,
        timeout=_SECONDS,
    )

    assert found.returncode != 0
    assert b"ALERT" in found.stderr


def _twin(world: World, folder: Path) -> World:
    return World(
        folder=folder,
        ingress=world.ingress,
        provider=world.provider,
        application=world.application,
        _doorward_port=world.ports[4180],
    )
