"""Our own sign-in page, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.blackbox.chromium import new_person, sign_in
from tests.blackbox.doorward import Doorward
from tests.blackbox.interop import certified_provider, provider_settings
from tests.blackbox.upstream import Application
from tests.processes import find_free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def doorward(application: Application, folder: Path) -> Iterator[Doorward]:
    """Run Doorward with its own sign-in page before the provider's."""
    port = find_free_port()
    with (
        certified_provider(folder, [f"http://localhost:{port}"]) as provider,
        Doorward(
            folder,
            port=port,
            provider=provider_settings(provider, "confidential", display_name="The Certified One"),
            upstreams=application.upstreams,
            sign_in="page",
        ) as running,
    ):
        yield running


@pytest.fixture
def person(browser: Browser, doorward: Doorward) -> Iterator[BrowserContext]:
    with new_person(browser, doorward) as context:
        yield context


def test_the_fragment_of_the_url_survives_the_login(doorward: Doorward, person: BrowserContext) -> None:
    """S66: also one that looks like a query or a URL; nothing of it reaches a server."""
    fragment = "#/inbox/7?open=https%3A%2F%2Felsewhere.example&x=" + quote("ü")
    page = person.new_page()
    page.goto(doorward.url + "/page/app?x=1" + fragment)
    assert page.title().startswith("Sign in")
    assert "The Certified One" in page.inner_text("main")

    page.click("text=The Certified One")
    sign_in(page, "ann")

    assert page.url == doorward.url + "/page/app?x=1" + fragment


def test_the_page_works_without_scripts(doorward: Doorward, browser: Browser) -> None:
    """Only the fragment is lost then."""
    with new_person(browser, doorward, java_script_enabled=False) as person:
        page = person.new_page()
        page.goto(doorward.url + "/page/app?x=1#fragment")

        page.click("text=The Certified One")
        sign_in(page, "ann")

        assert page.url.partition("#")[0] == doorward.url + "/page/app?x=1"


def test_the_pages_load_nothing_from_elsewhere_and_break_no_policy_of_theirs(
    doorward: Doorward, person: BrowserContext
) -> None:
    """S11, S67: in light and dark, on a phone too, without a single message at the console."""
    page = person.new_page()
    complaints: list[str] = []
    loaded: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: loaded.append(request.url))

    for width, scheme in ((1200, "light"), (360, "dark")):
        page.set_viewport_size({"width": width, "height": 740})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.goto(doorward.url + "/page/x#y")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    assert [url for url in loaded if not url.startswith((doorward.url, "data:"))] == []
    assert complaints == []
