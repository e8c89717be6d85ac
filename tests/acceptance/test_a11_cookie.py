"""A11: what the session cookie tells (nothing), and what it survives (its key's rotation, nothing else)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.blackbox.agent import Agent, Cookie
from tests.blackbox.doorward import Doorward, new_key
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    with Doorward(folder, provider=scripted.settings(), upstreams=application.upstreams) as running:
        yield running


@pytest.fixture
def person(doorward: Doorward, script: ScriptedProvider) -> Agent:
    agent = doorward.agent()
    assert agent.open(doorward.url + "/").status == 200
    return agent


def session_cookie(agent: Agent) -> Cookie:
    """Return the one cookie that lasts as long as the session."""
    return max(agent.cookies(), key=lambda cookie: int(cookie.attributes["max-age"]))


def with_value(agent: Agent, cookie: Cookie, value: str) -> Agent:
    changed = agent.clone()
    changed.jar[cookie.host, cookie.name] = replace(cookie, value=value)
    return changed


def test_the_cookie_tells_nothing(person: Agent, script: ScriptedProvider) -> None:
    """A11: neither as it is nor decoded."""
    value = session_cookie(person).value
    decoded = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    words = ["ann", "example.com", "staff", *script.secrets]

    assert [word for word in words if word.encode() in decoded or word in value] == []


def test_one_changed_character_anywhere_is_a_login(doorward: Doorward, person: Agent) -> None:
    """A11, S33: the same answer wherever it is changed."""
    cookie = session_cookie(person)
    statuses = set()
    for place in range(0, len(cookie.value), max(1, len(cookie.value) // 40)):
        other = "A" if cookie.value[place] != "A" else "B"
        changed = with_value(person, cookie, cookie.value[:place] + other + cookie.value[place + 1 :])
        answer = changed.fetch(doorward.url + "/")
        statuses.add((answer.status, answer.headers.get("doorward-intercepted")))

    assert statuses == {(401, "login_required_api")}
    assert with_value(person, cookie, cookie.value[:-1]).fetch(doorward.url + "/").status == 401
    assert person.fetch(doorward.url + "/").status == 200


def test_a_changed_cookie_leads_through_a_login_to_a_good_one(doorward: Doorward, person: Agent) -> None:
    """A11: and not into a circle."""
    cookie = session_cookie(person)
    changed = with_value(person, cookie, "A" * len(cookie.value))

    page = changed.open(doorward.url + "/here?x=1")

    assert page.status == 200
    assert page.url == doorward.url + "/here?x=1"


def test_a_session_outlives_its_keys_rotation_until_the_key_is_removed(
    doorward: Doorward, person: Agent, application: Application
) -> None:
    """A11, S34: then the person logs in again, without error and without a circle."""
    (old,) = doorward.settings["session"]["keys"]
    new = new_key()
    before = session_cookie(person).value

    doorward.stop()
    doorward.start(session={"keys": [new, old]})
    with_old = person.fetch(doorward.url + "/old-key")
    newcomer = doorward.agent()
    newcomer.open(doorward.url + "/")

    doorward.stop()
    doorward.start(session={"keys": [new]})
    refused = person.fetch(doorward.url + "/")
    kept = newcomer.fetch(doorward.url + "/new-key")
    again = person.open(doorward.url + "/again")

    assert with_old.status == 200
    assert application.upstream.last("/old-key").values("X-Forwarded-User") == ["ann"]
    assert kept.status == 200
    assert refused.status == 401
    assert again.status == 200
    assert again.url == doorward.url + "/again"
    assert session_cookie(person).value != before
    assert person.fetch(doorward.url + "/").status == 200
