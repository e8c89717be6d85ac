"""How long a session lasts, on a real clock, in seconds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.blackbox.agent import Agent
from tests.blackbox.doorward import Doorward, new_key
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.blackbox.waiting import wait_until

pytestmark = pytest.mark.slow


def test_activity_keeps_a_session_until_its_absolute_end_and_silence_ends_it(
    scripted: ScriptedProvider, application: Application, tmp_path: Path
) -> None:
    """S36: idle and absolute limits, for the original and for a copy of its cookie."""
    session = {"keys": [new_key()], "idle": "2s", "absolute": "5s"}
    with Doorward(
        tmp_path, provider=scripted.settings(), upstreams=application.upstreams, session=session
    ) as doorward:
        busy, idle = doorward.agent(), doorward.agent()
        idle.open(doorward.url + "/")
        busy.open(doorward.url + "/")
        began = time.monotonic()
        copy = busy.clone()

        def has_ended(person: Agent) -> bool:
            return person.fetch(doorward.url + "/").status == 401

        wait_until(lambda: has_ended(busy), "the absolute end", seconds=8)

        assert 4.5 < time.monotonic() - began < 6.5
        assert has_ended(copy)
        assert has_ended(idle)
        assert doorward.request_line(reason="session_expired", status=401)


def test_silence_alone_ends_a_session(
    scripted: ScriptedProvider, application: Application, tmp_path: Path
) -> None:
    """S36: and a navigation then signs in anew, at the URL it wanted."""
    session = {"keys": [new_key()], "idle": "1s"}
    with Doorward(
        tmp_path, provider=scripted.settings(), upstreams=application.upstreams, session=session
    ) as doorward:
        person = doorward.agent()
        person.open(doorward.url + "/")
        last = time.monotonic()
        wait_until(lambda: time.monotonic() > last + 1.1, "the idle limit")

        assert person.fetch(doorward.url + "/").status == 401
        page = person.open(doorward.url + "/again?x=1")
        assert page.status == 200
        assert page.url == doorward.url + "/again?x=1"
