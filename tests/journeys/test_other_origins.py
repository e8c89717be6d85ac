"""Scripts of another origin in Chromium: one that the operator trusts, and one of which nobody has heard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.blackbox.chromium import drop_session, new_person
from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application, Upstream

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = pytest.mark.slow

# Other ports of localhost: the same site, so our cookie goes along, and another origin.
FETCH = (
    "fetch('%s/api', {credentials: 'include'}).then("
    "async r => ({status: r.status, mark: r.headers.get('doorward-intercepted'), told: await r.json()}),"
    " error => String(error))"
)
POST = (
    "fetch('%s/api', {method: 'POST', credentials: 'include', body: 'x', mode: 'no-cors'}).then(r => r.type)"
)


@pytest.fixture(scope="module")
def console() -> Iterator[str]:
    """Return the origin of pages that the operator trusts."""
    with Upstream().running() as pages:
        yield pages.url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """Return the origin of pages that nobody trusts."""
    with Upstream().running() as pages:
        yield pages.url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def doorward(
    scripted: ScriptedProvider, application: Application, console: str, folder: Path
) -> Iterator[Doorward]:
    with Doorward(
        folder, provider=scripted.settings(), upstreams=application.upstreams, trusted_origins=[console]
    ) as running:
        yield running


@pytest.fixture
def person(browser: Browser, doorward: Doorward, script: ScriptedProvider) -> Iterator[BrowserContext]:
    """Return the browser of somebody who is signed in."""
    with new_person(browser, doorward) as context:
        context.new_page().goto(doorward.url + "/page/x")
        yield context


def test_a_trusted_origins_script_reads_our_401(
    doorward: Doorward, person: BrowserContext, console: str
) -> None:
    """S37: and so can send its person to the login."""
    drop_session(person)
    page = person.new_page()
    page.goto(console + "/page/console")

    answer = page.evaluate(FETCH % doorward.url)

    assert answer["status"] == 401
    assert answer["mark"] == "login_required_api"
    assert answer["told"]["login_url"].startswith(doorward.url)


def test_another_origins_script_reads_nothing(
    doorward: Doorward, person: BrowserContext, elsewhere: str
) -> None:
    drop_session(person)
    page = person.new_page()
    page.goto(elsewhere + "/page/evil")

    assert "TypeError" in page.evaluate(FETCH % doorward.url)


def test_a_trusted_origins_script_acts_for_its_person(
    doorward: Doorward, person: BrowserContext, console: str, application: Application
) -> None:
    """S39: as the operator has said."""
    page = person.new_page()
    page.goto(console + "/page/console")
    application.upstream.forget()

    page.evaluate(POST % doorward.url)

    (received,) = application.upstream.requests("/api")
    assert received.values("X-Forwarded-User") == ["ann"]


def test_another_origins_script_does_not(
    doorward: Doorward, person: BrowserContext, elsewhere: str, application: Application
) -> None:
    """S39: the cookie that the browser sends along is of no use to it."""
    page = person.new_page()
    page.goto(elsewhere + "/page/evil")
    application.upstream.forget()

    page.evaluate(POST % doorward.url)

    assert application.upstream.requests("/api") == []
