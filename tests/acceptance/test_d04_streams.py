"""D4: WebSockets, streams and large bodies through an authenticated proxy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.blackbox.agent import Agent
from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application, piece_of_download, sha256_of_download
from tests.blackbox.websocket import open_websocket

pytestmark = pytest.mark.slow

LARGE = 64 << 20
CHAT = "/ws/chat?room=1"


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    with Doorward(folder, provider=scripted.settings(), upstreams=application.upstreams) as running:
        yield running


@pytest.fixture(scope="module")
def person(doorward: Doorward) -> Agent:
    agent = doorward.agent()
    assert agent.open(doorward.url + "/").status == 200
    return agent


@pytest.fixture
def client(doorward: Doorward, person: Agent) -> Iterator[httpx.Client]:
    """Return a plain client with the person's cookie."""
    headers = {"Cookie": person.cookie_header(doorward.url)}
    with httpx.Client(base_url=doorward.url, headers=headers, timeout=30.0, trust_env=False) as plain:
        yield plain


def test_messages_pass_both_ways_through_a_websocket(doorward: Doorward, person: Agent) -> None:
    """D4: text, bytes, and one of 4 MiB; the application sees who it is and the exact path."""
    large = bytes(range(256)) * (1 << 14)
    with open_websocket(doorward.url + CHAT, cookie=person.cookie_header(doorward.url)) as socket:
        socket.send("headers")
        told = json.loads(socket.recv(timeout=10))
        socket.send("grüße")
        text = socket.recv(timeout=10)
        socket.send(large)
        data = socket.recv(timeout=20)

    fields = dict(told["headers"])
    assert told["path"] == "/ws/chat?room=1"
    assert fields["X-Forwarded-User"] == "ann"
    assert "doorward" not in fields.get("Cookie", "")
    assert text == "grüße"
    assert data == large


def test_a_stranger_opens_no_websocket(doorward: Doorward) -> None:
    """D4, S54: 401 before any of it reaches the application."""
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(doorward.url + CHAT).close()

    assert refused.value.response.status_code == 401


def test_a_page_of_another_origin_opens_no_websocket(doorward: Doorward, person: Agent) -> None:
    """S39, S54: although the browser sends our cookie along."""
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(
            doorward.url + CHAT,
            cookie=person.cookie_header(doorward.url),
            origin="https://elsewhere.example",
        ).close()

    assert refused.value.response.status_code == 403


def test_a_websocket_ends_with_its_session(doorward: Doorward, person: Agent) -> None:
    """S54: signing out closes what is open."""
    somebody = doorward.agent()
    somebody.open(doorward.url + "/")
    with open_websocket(doorward.url + CHAT, cookie=somebody.cookie_header(doorward.url)) as socket:
        socket.send("still here")
        assert socket.recv(timeout=10) == "still here"

        somebody.submit(somebody.open(doorward.url + "/oauth2/sign_out"))

        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)


def test_events_arrive_one_by_one(client: httpx.Client, application: Application) -> None:
    """D4: the first is here before the second exists."""
    with client.stream("GET", "/events") as answer:
        pieces = answer.iter_raw()
        seen = next(pieces)
        assert seen == b"data: 1\n\n"
        application.upstream.release()
        assert next(pieces) == b"data: 2\n\n"
        application.upstream.release()
        assert b"".join(pieces) == b"data: 3\n\n"
    assert answer.headers["content-type"] == "text/event-stream"


def test_a_large_download_arrives_unchanged(client: httpx.Client) -> None:
    """D4: with its length."""
    digest = hashlib.sha256()
    with client.stream("GET", f"/download?size={LARGE}") as answer:
        for part in answer.iter_raw():
            digest.update(part)

    assert answer.headers["content-length"] == str(LARGE)
    assert digest.hexdigest() == sha256_of_download(LARGE)


@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "with a length"])
def test_a_large_upload_arrives_unchanged(client: httpx.Client, is_chunked: bool) -> None:
    """D4: framed either way."""
    headers = {} if is_chunked else {"Content-Length": str(LARGE)}

    answer = client.post("/upload", content=piece_of_download(LARGE), headers=headers)

    assert answer.status_code == 200
    assert answer.json()["body_length"] == LARGE
    assert answer.json()["body_sha256"] == sha256_of_download(LARGE)


def test_a_strangers_upload_is_refused_before_it_is_read(
    doorward: Doorward, application: Application
) -> None:
    """D4: Expect: 100-continue is answered after the decision."""
    stranger = doorward.agent()

    answer = stranger.fetch(
        doorward.url + "/upload-of-a-stranger",
        "POST",
        content=b"x" * 100,
        headers={"Expect": "100-continue"},
    )

    assert answer.status == 401
    assert application.upstream.requests("/upload-of-a-stranger") == []


def test_the_clients_own_fields_stay_untouched(client: httpx.Client, doorward: Doorward) -> None:
    """D4: ranges, conditions, Origin and Authorization are the application's business."""
    fields = {
        "Authorization": "Bearer the-applications-own",
        "Range": "bytes=0-1",
        "If-None-Match": '"x"',
        "Origin": doorward.url,
        "Accept-Encoding": "br;q=0.1",
        "X-Custom": "a, b",
    }

    received = dict(client.get("/fields", headers=fields).json()["headers"])

    assert {name: received.get(name) for name in fields} == fields
