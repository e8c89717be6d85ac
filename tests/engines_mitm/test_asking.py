"""Addons are asked as mitmproxy asks them, but for those who would not know what to say."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mitmproxy.exceptions import AddonHalt
from mitmproxy.hooks import RunningHook, UpdateHook
from mitmproxy.master import Master
from mitmproxy.options import Options

from sidecar.engines.mitm.asking import ask_sparingly

if TYPE_CHECKING:
    import pytest


class Speaker:
    """Notes what it is told."""

    def __init__(self, name: str, heard: list[str], error: Exception | None = None) -> None:
        self.name = name
        self._heard = heard
        self._error = error

    def running(self) -> None:
        self._heard.append(self.name)
        if self._error is not None:
            raise self._error


class Group:
    """Has no hook of its own, but an addon."""

    def __init__(self, *addons: object) -> None:
        self.addons = addons


class Mute:
    """Knows no event."""


def heard_at_start(*addons: object) -> None:
    async def tell() -> None:
        master = Master(Options())
        ask_sparingly(master)
        master.addons.add(*addons)
        await master.addons.trigger_event(UpdateHook([]))
        await master.addons.trigger_event(RunningHook())
        await master.done()

    asyncio.run(tell())


def test_whoever_knows_an_event_hears_of_it_in_order() -> None:
    heard: list[str] = []
    heard_at_start(Speaker("a", heard), Mute(), Group(Speaker("b", heard)), Speaker("c", heard))
    assert heard == ["a", "b", "c"]


def test_an_exception_is_logged_and_the_next_one_asked(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    with caplog.at_level(logging.ERROR):
        heard_at_start(Speaker("a", heard, ValueError("broken")), Speaker("b", heard))
    assert heard == ["a", "b"]
    assert "Addon error: broken" in caplog.text


def test_an_addon_may_end_the_round() -> None:
    heard: list[str] = []
    heard_at_start(Speaker("a", heard, AddonHalt()), Speaker("b", heard))
    assert heard == ["a"]


def test_options_are_still_told() -> None:
    told: list[set[str]] = []

    class Configured:
        def configure(self, updated: set[str]) -> None:
            told.append(updated)

    async def change() -> None:
        master = Master(Options())
        ask_sparingly(master)
        master.addons.add(Configured())
        master.options.update(http2=False)
        await master.done()

    asyncio.run(change())
    assert told == [{"http2"}]
