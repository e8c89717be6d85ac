"""Logins begun by the dozen, and browsers that keep no cookies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

MANY = 50


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    with Doorward(folder, provider=scripted.settings(), upstreams=application.upstreams) as running:
        yield running


def test_of_fifty_logins_the_oldest_are_dropped_and_none_breaks(
    doorward: Doorward, script: ScriptedProvider
) -> None:
    """S37: the Cookie header stays small, and every tab ends at its own URL, a dropped one too."""
    person = doorward.agent()
    urls = [f"{doorward.url}/tab{n}?q={'x' * 200}{n}" for n in range(MANY)]
    begun = [person.open(url, follow=False).location for url in urls]
    kept = len(person.cookies())

    ends = [person.open(at_provider) for at_provider in begun]

    assert 10 <= kept < MANY
    assert person.longest_cookie_header < 8192
    assert [(page.status, page.url) for page in ends] == [(200, url) for url in urls]


def test_a_dropped_login_that_comes_back_first_begins_anew_by_itself(
    doorward: Doorward, script: ScriptedProvider
) -> None:
    """S37: nobody is signed in yet then."""
    person = doorward.agent()
    first = person.open(doorward.url + "/first?x=1", follow=False).location
    for n in range(MANY):
        person.open(f"{doorward.url}/tab{n}", follow=False)

    page = person.open(first)

    assert page.status == 200
    assert page.url == doorward.url + "/first?x=1"
    assert len([hop for hop in page.hops if hop[0].startswith(script.issuer)]) == 2


def test_a_browser_that_keeps_no_cookies_is_told_so_after_three_rounds(
    doorward: Doorward, script: ScriptedProvider
) -> None:
    """A page explains, with a way to try once more; the provider is not asked for ever."""
    person = doorward.agent(takes_cookies=False)

    page = person.open(doorward.url + "/x")

    assert page.status == 400
    assert "keeps no cookie" in page.text
    assert doorward.request_line(reason="login_loop")["status"] == 400
    assert len(script.calls("/authorize")) == 3
    assert script.calls("/token") == []


def test_chromium_with_cookies_blocked_is_told_so(
    browser: Browser, doorward: Doorward, script: ScriptedProvider, tmp_path: Path
) -> None:
    """The same in a browser whose owner has forbidden cookies."""
    (tmp_path / "Default").mkdir()
    preferences = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(preferences), encoding="utf-8")
    context = browser.browser_type.launch_persistent_context(
        str(tmp_path),
        executable_path=_executable(browser),
        args=["--no-sandbox"],
        timeout=30_000,
    )
    try:
        page = context.new_page()
        answer = page.goto(doorward.url + "/x")

        assert context.cookies() == []
        assert answer is not None
        assert answer.status == 400
        assert page.title().startswith("Your browser keeps no cookie")
    finally:
        context.close()


def _executable(browser: Browser) -> Path:
    from tests.parts import require_part

    assert browser.is_connected()
    return require_part("chromium")


def test_a_session_that_never_sticks_is_no_endless_circle(
    doorward: Doorward, script: ScriptedProvider
) -> None:
    """The login's own cookie is kept and the session's is not, as when it is too large for a browser."""
    person = doorward.agent()
    hops = 0
    page = person.open(doorward.url + "/x")
    while page.status == 200 and hops < 10:
        hops += 1
        for cookie in person.cookies():
            if int(cookie.attributes["max-age"]) > 7200:
                del person.jar[cookie.host, cookie.name]
        page = person.open(doorward.url + "/x")

    assert hops == 3
    assert page.status == 400
    assert "keeps no cookie" in page.text
