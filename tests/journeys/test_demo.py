"""The demo, as somebody sees it who has just installed Doorward: three people, three doors."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.blackbox.doorward import COMMAND
from tests.blackbox.waiting import wait_until
from tests.processes import find_free_port, running, wait_for_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

READY_SECONDS = 3.0
STOP_SECONDS = 10.0
# Name, and which of /public/, /reports/ and /admin/ are open.
PEOPLE = [
    ("Ada Lovelace", {"/public/": True, "/reports/": True, "/admin/": True}),
    ("Ben Okafor", {"/public/": True, "/reports/": True, "/admin/": False}),
    ("Cléo Marchand", {"/public/": True, "/reports/": False, "/admin/": False}),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The running demo. `ready_seconds` is how long it took until it accepted."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]
    ready_seconds: float


@pytest.fixture(scope="module")
def demo(folder: Path) -> Iterator[Demo]:
    port = find_free_port()
    log = folder / "demo.log"
    started = time.monotonic()
    with running([COMMAND, "demo", "--port", str(port)], log=log, cwd=folder) as process:
        wait_for_port(port, process)
        yield Demo(
            url=f"http://localhost:{port}",
            log=log,
            process=process,
            ready_seconds=time.monotonic() - started,
        )


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


def pick(page: Page, name: str) -> None:
    """Choose a person at the embedded provider's page."""
    page.click(f"button.person:has-text('{name}')")
    page.wait_for_load_state()


def status_of(page: Page, url: str) -> int:
    answer = page.goto(url)
    assert answer is not None
    return answer.status


def test_it_is_ready_soon_and_says_where(demo: Demo) -> None:
    def told(word: str) -> bool:
        return word in demo.log.read_text(encoding="utf-8")

    # On a machine that does other things at the same time, twice as long is no defect.
    assert demo.ready_seconds < READY_SECONDS * 2
    for word in (demo.url, *(name for name, _ in PEOPLE)):
        wait_until(functools.partial(told, word), f"{word} is told")


@pytest.mark.parametrize(("name", "doors"), PEOPLE, ids=[name.split()[0] for name, _ in PEOPLE])
def test_each_person_finds_their_doors_open_and_the_others_closed(
    demo: Demo, page: Page, name: str, doors: dict[str, bool]
) -> None:
    page.goto(demo.url + "/")
    assert page.title().startswith("Who do you want to be?")

    pick(page, name)

    assert page.url == demo.url + "/"
    assert page.inner_text("h1") == name
    assert "X-Forwarded-User" in page.inner_text("section:has(#received)")
    for path, is_open in doors.items():
        assert status_of(page, demo.url + path) == (200 if is_open else 403), path


def test_a_stranger_reads_the_public_page_alone(demo: Demo, page: Page) -> None:
    assert status_of(page, demo.url + "/public/") == 200
    page.goto(demo.url + "/reports/")
    assert page.title().startswith("Who do you want to be?")


def test_somebody_typed_in_gets_what_their_groups_open(demo: Demo, page: Page) -> None:
    page.goto(demo.url + "/reports/")
    page.click("summary")
    page.fill("input[name=user]", "dora")
    page.fill("input[name=name]", 'Döra, the "Explorer"')
    page.fill("input[name=email]", "dora@example.org")
    page.fill("input[name=groups]", "staff")
    page.click("form.fields button")
    page.wait_for_url(demo.url + "/reports/")

    page.goto(demo.url + "/")

    assert page.inner_text("h1") == 'Döra, the "Explorer"'
    assert status_of(page, demo.url + "/admin/") == 403


def test_changing_places_by_signing_out_works_as_often_as_one_likes(demo: Demo, page: Page) -> None:
    """Four times within seconds, which is no circle of logins."""
    for name in ("Ada Lovelace", "Ben Okafor", "Cléo Marchand", "Ada Lovelace"):
        page.goto(demo.url + "/")
        pick(page, name)
        assert page.inner_text("h1") == name

        page.goto(demo.url + "/oauth2/sign_out")
        page.click("main button")
        page.wait_for_load_state()
        if page.title().startswith("Sign out?"):
            page.click("main button")
        page.wait_for_url(demo.url + "/oauth2/sign_out/return**")
        assert page.title().startswith("Signed out")


def test_the_pages_scripts_fetch_and_open_a_websocket(demo: Demo, page: Page) -> None:
    """A header that a script makes up is not believed; the WebSocket ends with the session."""
    screen = page.locator("#screen")
    page.goto(demo.url + "/")
    pick(page, "Ben Okafor")

    page.click("button[data-try=lie]")
    screen.get_by_text("200").wait_for()
    asked, _, answer = screen.inner_text().partition("200")
    assert "root" in asked
    assert "root" not in answer
    assert "admins" not in answer

    page.click("button[data-try=live]")
    screen.get_by_text("see it end").wait_for()
    other = page.context.new_page()
    other.goto(demo.url + "/oauth2/sign_out")
    other.click("main button")
    screen.get_by_text("The WebSocket has ended").wait_for()

    page.click("button[data-try=me]")
    screen.get_by_text("The session has ended").wait_for()
    assert "401" in screen.inner_text()


def test_a_sign_in_can_be_given_up(demo: Demo, page: Page) -> None:
    page.goto(demo.url + "/reports/")

    page.click("button[name=cancel]")
    page.wait_for_load_state()

    assert page.url.startswith(demo.url + "/oauth2/callback")
    assert page.inner_text("h1")
    page.click("a.button")
    page.wait_for_load_state()
    assert page.title().startswith("Who do you want to be?")


def test_ctrl_c_ends_it_cleanly(demo: Demo) -> None:
    """The last test here: a page may still be connected."""
    os.kill(demo.process.pid, signal.SIGINT)

    assert demo.process.wait(STOP_SECONDS) == 0
    told = demo.log.read_text(encoding="utf-8")
    assert "Traceback" not in told
