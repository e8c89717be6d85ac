"""A14: identity headers from outside, in every spelling that some server takes for the real one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.blackbox.agent import Agent
from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.blackbox.websocket import open_websocket

pytestmark = pytest.mark.slow

# The family in use, and those of presets and of known peers.
NAMES = [
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Access-Token",
    "Remote-User",
    "Remote-Groups",
    "X-Remote-User",
    "X-Remote-Group",
    "X-WEBAUTH-USER",
    "X-Doorward-Assertion",
]
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda name: name,
    "small": str.lower,
    "capitals": str.upper,
    "underscores": lambda name: name.replace("-", "_"),
    "one underscore": lambda name: name.replace("-", "_", 1),
    "dots": lambda name: name.replace("-", "."),
    "tildes": lambda name: name.replace("-", "~"),
    "mixed": lambda name: name.replace("-", "!", 1),
    "capitals with underscores": lambda name: name.upper().replace("-", "_"),
}


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    access = [
        {"path": "/public/**", "allow": "anyone"},
        {"path": "/cors/**", "allow": "authenticated", "preflight": "pass"},
        {"allow": "authenticated"},
    ]
    with Doorward(
        folder, provider=scripted.settings(), upstreams=application.upstreams, access=access
    ) as running:
        yield running


@pytest.fixture(scope="module")
def person(doorward: Doorward) -> Agent:
    agent = doorward.agent()
    assert agent.open(doorward.url + "/").status == 200
    return agent


def spoofed(spelling: str) -> dict[str, str]:
    return {SPELLINGS[spelling](name): "spoofed" for name in NAMES}


def folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "-", name.lower())


def held_by_application(headers: Iterable[tuple[str, str]]) -> list[str]:
    """Return under which names spoofed values arrived."""
    return [name for name, value in headers if "spoofed" in value]


@pytest.mark.parametrize("spelling", SPELLINGS)
class TestSpellings:
    def test_somebody_signed_in_can_not_be_somebody_else(
        self, doorward: Doorward, person: Agent, spelling: str
    ) -> None:
        """A14, S41, S42, S44: one value of ours under each name, or none."""
        headers = person.fetch(doorward.url + "/x", headers=spoofed(spelling)).json()["headers"]

        assert held_by_application(headers) == []
        assert [value for name, value in headers if folded(name) == "x-forwarded-user"] == ["ann"]

    def test_a_stranger_can_not_be_somebody_on_a_public_page(
        self, doorward: Doorward, application: Application, spelling: str
    ) -> None:
        """A14, S43: no identity at all goes with a request of nobody."""
        answer = doorward.agent().fetch(doorward.url + "/public/x", headers=spoofed(spelling))

        headers = answer.json()["headers"]
        assert held_by_application(headers) == []
        assert {folded(name) for name, _ in headers}.isdisjoint(map(folded, NAMES))

    def test_nor_in_a_preflight(self, doorward: Doorward, spelling: str) -> None:
        """A14, S43."""
        preflight = {"Access-Control-Request-Method": "GET", **spoofed(spelling)}
        answer = doorward.agent().fetch(
            doorward.url + "/cors/x", "OPTIONS", headers=preflight, site="https://elsewhere.example"
        )

        assert answer.status == 200
        assert answer.json()["method"] == "OPTIONS"
        assert held_by_application(answer.json()["headers"]) == []

    def test_nor_in_a_websocket_handshake(self, doorward: Doorward, person: Agent, spelling: str) -> None:
        """A14, S43."""
        cookie = person.cookie_header(doorward.url)
        with open_websocket(doorward.url + "/ws/x", cookie=cookie, headers=spoofed(spelling)) as socket:
            socket.send("headers")
            headers = json.loads(socket.recv(timeout=10))["headers"]

        assert held_by_application(headers) == []
        assert [value for name, value in headers if folded(name) == "x-forwarded-user"] == ["ann"]


def test_what_a_client_says_of_its_way_here_is_not_believed(doorward: Doorward, person: Agent) -> None:
    """S13, S48: nobody is a trusted proxy unless listed, so the way is told anew."""
    lies = {
        "X-Forwarded-For": "198.51.100.1",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Port": "99999",
        "X-Real-IP": "198.51.100.1",
        "Forwarded": "for=198.51.100.1;host=evil.example",
        "X-Original-URL": "/admin/of-the-client",
        "X-Rewrite-URL": "/admin/of-the-client",
        "X-Forwarded-Uri": "/admin/of-the-client",
        "X-Forwarded-Method": "DELETE",
        "X-HTTP-Method-Override": "DELETE",
    }

    headers = dict(person.fetch(doorward.url + "/x", headers=lies).json()["headers"])

    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Host"] == urlsplit(doorward.url).netloc
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["X-Real-IP"] == "127.0.0.1"
    told = " ".join(value for name, value in headers.items() if name != "X-HTTP-Method-Override")
    for lie in ("198.51.100.1", "evil.example", "gopher", "99999", "of-the-client", "DELETE"):
        assert lie not in told


def test_connection_can_not_take_a_header_of_ours_away(doorward: Doorward, person: Agent) -> None:
    """S45: what a client names as hop-by-hop is its own alone."""
    fields = {"Connection": "close, X-Forwarded-User, x-forwarded-email, Host, Cookie"}

    headers = dict(person.fetch(doorward.url + "/x", headers=fields).json()["headers"])

    assert headers["X-Forwarded-User"] == "ann"
    assert headers["X-Forwarded-Email"] == "ann@example.com"
    assert headers["Host"] == urlsplit(doorward.url).netloc


def test_a_spoof_beside_our_own_endpoints_changes_nothing(doorward: Doorward) -> None:
    """A14, S43: they say who the session is, never who a header claims to be."""
    answer = doorward.agent().fetch(doorward.url + "/oauth2/userinfo", headers=spoofed("as it is"))

    assert answer.status == 401
    assert "spoofed" not in str(answer.headers)


def test_a_header_for_which_there_is_no_claim_is_not_the_clients(
    doorward: Doorward, script: ScriptedProvider
) -> None:
    """S44: an empty value is not "leave the client's"."""
    del script.claims["groups"]
    person = doorward.agent()
    person.open(doorward.url + "/")

    headers = person.fetch(doorward.url + "/x", headers=spoofed("as it is")).json()["headers"]

    assert [value for name, value in headers if folded(name) == "x-forwarded-groups"] in ([], [""])
