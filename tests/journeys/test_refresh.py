"""Refreshing: once per session, whoever asks, and nobody loses a login by it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.blackbox.agent import Agent
from tests.blackbox.doorward import Doorward
from tests.blackbox.httpserver import Answer, Received
from tests.blackbox.refreshing import sign_in_with_due_refresh
from tests.blackbox.scripted import ScriptedProvider, json_answer
from tests.blackbox.upstream import Application
from tests.blackbox.websocket import open_websocket

pytestmark = pytest.mark.slow

PARALLEL = 20


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    with Doorward(
        folder,
        provider=scripted.settings(),
        upstreams=application.upstreams,
        secret_source=scripted.secrets,
    ) as running:
        yield running


@pytest.fixture
def person(doorward: Doorward, script: ScriptedProvider) -> Agent:
    return sign_in_with_due_refresh(doorward.agent(), doorward.url + "/", script)


def refreshes(provider: ScriptedProvider) -> list[Received]:
    return [call for call in provider.calls("/token") if call.form["grant_type"] == ["refresh_token"]]


def session_value(agent: Agent) -> str:
    return max(agent.cookies(), key=lambda cookie: int(cookie.attributes["max-age"])).value


def test_twenty_requests_at_once_make_one_token_request(
    doorward: Doorward, script: ScriptedProvider, person: Agent, application: Application
) -> None:
    """All pass as the same person and all get the new cookie; the provider sees its refresh token once."""
    arrived = threading.Barrier(PARALLEL)
    answered = threading.Event()

    def slowly(received: Received) -> Answer:
        # Every request must be waiting before the answer comes.
        answered.wait(5)
        return script.redeem(received)

    script.script["/token"] = slowly
    tabs = [person.clone() for _ in range(PARALLEL)]

    def ask(number: int) -> int:
        arrived.wait(10)
        return tabs[number].fetch(f"{doorward.url}/parallel?n={number}").status

    with ThreadPoolExecutor(PARALLEL) as pool:
        statuses = [pool.submit(ask, number) for number in range(PARALLEL)]
        threading.Timer(1.0, answered.set).start()
        got = [status.result(30) for status in statuses]

    assert got == [200] * PARALLEL
    assert len(refreshes(script)) == 1
    users = {
        user for r in application.upstream.requests("/parallel") for user in r.values("X-Forwarded-User")
    }
    assert users == {"ann"}
    before = session_value(person)
    assert all(session_value(tab) != before for tab in tabs)
    assert tabs[0].fetch(doorward.url + "/").status == 200
    assert len(refreshes(script)) == 1


def test_the_superseded_cookie_takes_the_winners_result(
    doorward: Doorward, script: ScriptedProvider, person: Agent
) -> None:
    """A tab that was asleep comes back with the old cookie: no login, no second use of the refresh token."""
    asleep = person.clone()
    assert person.fetch(doorward.url + "/").status == 200
    assert len(refreshes(script)) == 1

    late = asleep.fetch(doorward.url + "/")

    assert late.status == 200
    assert len(refreshes(script)) == 1

    assert asleep.fetch(doorward.url + "/").status == 200
    assert person.fetch(doorward.url + "/").status == 200
    assert len(refreshes(script)) == 1


def test_an_upload_arrives_whole_though_its_session_is_refreshed_first(
    doorward: Doorward, script: ScriptedProvider, person: Agent
) -> None:
    """The body waits while the provider is asked, then goes up as it came."""
    content = bytes(range(256)) * 4096

    answer = person.fetch(doorward.url + "/upload", "POST", content=content)

    assert answer.status == 200
    assert answer.json()["body_length"] == len(content)
    assert answer.json()["body_sha256"] == hashlib.sha256(content).hexdigest()
    assert len(refreshes(script)) == 1
    assert answer.headers["cache-control"] == "private"


def test_a_websocket_is_opened_though_its_session_is_refreshed_first(
    doorward: Doorward, script: ScriptedProvider, person: Agent
) -> None:
    """The new cookie goes with the 101."""
    cookie = person.cookie_header(doorward.url)
    with open_websocket(doorward.url + "/ws/x", cookie=cookie) as socket:
        socket.send("hello")

        assert socket.recv(timeout=10) == "hello"
        assert socket.response is not None
        assert "Set-Cookie" in socket.response.headers
    assert len(refreshes(script)) == 1


def test_the_winner_may_hang_up(doorward: Doorward, script: ScriptedProvider, person: Agent) -> None:
    """Whoever started the refresh goes away before it is done, and the others still get its result."""
    import socket

    reached, answered = threading.Event(), threading.Event()

    def slowly(received: Received) -> Answer:
        reached.set()
        answered.wait(10)
        return script.redeem(received)

    script.script["/token"] = slowly
    cookie = person.cookie_header(doorward.url)
    with socket.create_connection(("127.0.0.1", doorward.port)) as winner:
        winner.sendall(
            f"GET / HTTP/1.1\r\nHost: localhost:{doorward.port}\r\nCookie: {cookie}\r\n\r\n".encode()
        )
        assert reached.wait(10)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(person.fetch, doorward.url + "/")
        answered.set()
        assert other.result(20).status == 200

    assert len(refreshes(script)) == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_provider_that_fails_costs_nobody_a_valid_session(
    doorward: Doorward, script: ScriptedProvider, person: Agent, status: int
) -> None:
    """The session goes on by our own clocks, and the provider is not asked again by every request."""
    script.script["/token"] = lambda _: Answer(status=status)

    answers = [person.fetch(doorward.url + "/").status for _ in range(5)]

    assert answers == [200] * 5
    assert len(refreshes(script)) <= 1
    assert doorward.metric("doorward_events_total", event="refresh_postponed") >= 1


def test_a_provider_that_is_gone_costs_nobody_a_valid_session(
    doorward: Doorward, script: ScriptedProvider, person: Agent
) -> None:
    """S70: nor does it make us unready."""
    script.stop()
    try:
        answers = [person.fetch(doorward.url + "/").status for _ in range(3)]
        ready = doorward.admin("/readyz").status_code
    finally:
        script.start()

    assert answers == [200, 200, 200]
    assert ready == 200


def test_a_refused_refresh_token_is_a_login(
    scripted: ScriptedProvider, script: ScriptedProvider, application: Application, tmp_path: Path
) -> None:
    """The provider has ended it: navigations sign in anew, programs are told 401."""
    with Doorward(tmp_path, provider=scripted.settings(), upstreams=application.upstreams) as doorward:
        person = sign_in_with_due_refresh(doorward.agent(), doorward.url + "/", script)
        script.script["/token"] = lambda _: json_answer({"error": "invalid_grant"}, 400)

        told = person.fetch(doorward.url + "/")
        script.script.clear()
        page = person.open(doorward.url + "/again")

        assert told.status == 401
        assert told.json()["login_url"]
        assert page.status == 200
        assert page.url == doorward.url + "/again"


def test_tokens_of_somebody_else_are_refused_together(
    scripted: ScriptedProvider, script: ScriptedProvider, application: Application, tmp_path: Path
) -> None:
    """S22: oidcc-client-test-refresh-token-invalid-sub; neither identity nor token of the other is used."""
    with Doorward(tmp_path, provider=scripted.settings(), upstreams=application.upstreams) as doorward:
        person = sign_in_with_due_refresh(doorward.agent(), doorward.url + "/", script)
        script.script["/token"] = lambda received: script.redeem(received, sub="mallory")
        application.upstream.forget()

        assert person.fetch(doorward.url + "/x").status == 401
        assert application.upstream.requests("/x") == []
        assert doorward.metric("doorward_events_total", event="refresh_refused") == 1


def test_a_provider_with_short_tokens_is_not_asked_by_every_request(
    scripted: ScriptedProvider, script: ScriptedProvider, application: Application, tmp_path: Path
) -> None:
    """Some providers' access tokens last a minute, as long as we refresh ahead by default."""
    with Doorward(tmp_path, provider=scripted.settings(), upstreams=application.upstreams) as doorward:
        script.access_token_seconds = 60
        person = doorward.agent()
        person.open(doorward.url + "/")
        script.forget()

        for _ in range(10):
            assert person.fetch(doorward.url + "/").status == 200

        assert len(refreshes(script)) <= 1
