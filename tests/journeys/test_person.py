"""A person at a browser: in, around, refused, and out again. Chromium against npm's certified provider."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.blackbox.chromium import drop_session, new_person, received_by_application, sign_in
from tests.blackbox.doorward import Doorward
from tests.blackbox.interop import certified_provider, provider_settings
from tests.blackbox.upstream import Application
from tests.interop.provider import InteropProvider
from tests.processes import find_free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = pytest.mark.slow

PORT = find_free_port()
PEOPLE = {"root": {"groups": ["admins"], "name": "Ada Root"}}
ACCESS = [
    {"path": "/page/public/**", "allow": "anyone"},
    {"path": "/page/admin/**", "allow": {"groups": ["admins"]}},
    {"allow": "authenticated"},
]


@pytest.fixture(scope="module")
def provider(folder: Path) -> Iterator[InteropProvider]:
    with certified_provider(folder, [f"http://localhost:{PORT}"], people=PEOPLE) as running:
        yield running


@pytest.fixture(scope="module")
def doorward(provider: InteropProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    """Run Doorward as it is by default: strangers go to the provider at once."""
    with Doorward(
        folder,
        port=PORT,
        provider=provider_settings(provider, "confidential"),
        upstreams=application.upstreams,
        access=ACCESS,
    ) as running:
        yield running


@pytest.fixture
def person(browser: Browser, doorward: Doorward) -> Iterator[BrowserContext]:
    with new_person(browser, doorward) as context:
        yield context


class TestOnePage:
    def test_a_stranger_signs_in_and_the_application_sees_who_it_is(
        self, doorward: Doorward, person: BrowserContext
    ) -> None:
        """A1: a person sees the page that was asked for, at the exact URL."""
        page = person.new_page()
        url = doorward.url + "/page/reports?year=2026&q=a%2Fb"
        page.goto(url)
        assert page.title() == "Sign in"

        sign_in(page, "ann")

        assert page.url == url
        received = received_by_application(page)
        assert received["target"] == "/page/reports?year=2026&q=a%2Fb"
        assert received["fields"]["x-forwarded-user"] == "ann"
        assert received["fields"]["x-forwarded-email"] == "ann@example.com"
        assert "cookie" not in received["fields"]
        assert page.evaluate("document.cookie") == ""

    def test_the_public_part_asks_for_nothing(self, doorward: Doorward, person: BrowserContext) -> None:
        page = person.new_page()

        page.goto(doorward.url + "/page/public/x")

        assert page.title() == "The application"
        assert person.cookies() == []

    def test_whom_the_rules_refuse_sees_a_page_with_a_way_out(
        self, doorward: Doorward, person: BrowserContext, application: Application
    ) -> None:
        """A person reads who they are, that they may not, and the request's number."""
        page = person.new_page()
        page.goto(doorward.url + "/page/admin/users")
        sign_in(page, "ann")

        assert page.url == doorward.url + "/page/admin/users"
        assert page.title().startswith("No access")
        assert "ann@example.com" in page.inner_text("main")
        assert doorward.request_line(status=403, user="ann")["request_id"] in page.inner_text("main")
        assert doorward.request_line(status=403, user="ann")["rule"] == "access[1]"
        assert application.upstream.requests("/page/admin/users") == []

        page.click("a.button")
        assert page.title().startswith("Sign out?")

    def test_whom_the_rules_admit_sees_the_same_page(
        self, doorward: Doorward, person: BrowserContext
    ) -> None:
        page = person.new_page()
        page.goto(doorward.url + "/page/admin/users")
        sign_in(page, "root")

        assert received_by_application(page)["fields"]["x-forwarded-groups"] == "admins"

    def test_signing_out_ends_both_sessions_and_every_copy_of_the_cookie(
        self, doorward: Doorward, person: BrowserContext, browser: Browser
    ) -> None:
        """A10: the page says so, the provider asks again, and a stolen cookie leads to a login."""
        page = person.new_page()
        page.goto(doorward.url + "/page/x")
        sign_in(page, "ann")
        with new_person(browser, doorward) as thief:
            thief.add_cookies([c for c in person.cookies() if c["domain"] == "localhost"])  # type: ignore[misc]
            stolen = thief.new_page()
            stolen.goto(doorward.url + "/page/x")
            assert stolen.title() == "The application"

            page.goto(doorward.url + "/oauth2/sign_out")
            page.click("main button")
            page.click("button[value=yes]")
            page.wait_for_url(doorward.url + "/oauth2/sign_out/return**")

            assert page.title().startswith("Signed out")
            stolen.goto(doorward.url + "/page/x")
            assert stolen.title() == "Sign in"
        page.goto(doorward.url + "/page/x")
        assert page.title() == "Sign in"

    def test_who_am_i_tells_a_person_how_they_are_known(
        self, doorward: Doorward, person: BrowserContext
    ) -> None:
        page = person.new_page()
        page.goto(doorward.url + "/page/x")
        sign_in(page, "root")

        page.goto(doorward.url + "/oauth2/userinfo")

        assert "Ada Root" in page.inner_text("main")
        assert "admins" in page.inner_text("main")


class TestScripts:
    """What a page's scripts meet, with a session and after it."""

    def test_fetch_without_a_session_gets_a_401_that_names_the_login(
        self, doorward: Doorward, person: BrowserContext
    ) -> None:
        """S37, S38: JSON with a URL that leads back to this very page, no redirect, no cookie."""
        page = person.new_page()
        page.goto(doorward.url + "/page/shop?item=1")
        sign_in(page, "ann")
        drop_session(person)

        told = page.evaluate(
            "fetch('/api/items', {method: 'POST', body: '{}'}).then(async r => ({status: r.status,"
            " redirected: r.redirected, mark: r.headers.get('doorward-intercepted'), body: await r.json()}))"
        )

        assert told["status"] == 401
        assert told["redirected"] is False
        assert told["mark"]
        assert told["body"]["error"] == "login_required"
        assert [c for c in person.cookies() if c["domain"] == "localhost"] == []
        page.goto(told["body"]["login_url"])
        # The provider still knows ann, so nobody is asked again.
        page.wait_for_url(doorward.url + "/page/shop?item=1")
        assert received_by_application(page)["fields"]["x-forwarded-user"] == "ann"

    def test_a_websocket_of_the_page_passes_with_the_session_and_not_without(
        self, doorward: Doorward, person: BrowserContext
    ) -> None:
        """D4: echoed through the gate."""
        script = (
            "new Promise(done => { const s = new WebSocket('/ws/echo'); s.onerror = () => done('refused');"
            " s.onopen = () => s.send('hello'); s.onmessage = m => { done(m.data); s.close(); } })"
        )
        page = person.new_page()
        page.goto(doorward.url + "/page/x")
        sign_in(page, "ann")

        assert page.evaluate(script) == "hello"
        drop_session(person)
        assert page.evaluate(script) == "refused"

    def test_a_form_sent_after_the_session_has_ended_is_not_lost_silently(
        self, doorward: Doorward, person: BrowserContext, application: Application
    ) -> None:
        """A page says that it was not sent on, and the way back to what was written is open."""
        page = person.new_page()
        page.goto(doorward.url + "/page/form")
        sign_in(page, "ann")
        page.fill("#form input", "a long letter")
        drop_session(person)

        page.click("#form button")

        assert page.title().startswith("Your session has ended")
        assert "not saved" in page.inner_text("main")
        assert [r for r in application.upstream.requests("/page/form") if r.method == "POST"] == []
        page.click("a.button")
        page.wait_for_url(doorward.url + "/**")
        page.goto(doorward.url + "/page/form")
        page.fill("#form input", "a long letter")
        page.click("#form button")
        assert received_by_application(page)["method"] == "POST"

    def test_a_page_of_another_origin_can_not_use_the_session(
        self, doorward: Doorward, person: BrowserContext, application: Application
    ) -> None:
        """S39: another port of localhost is the same site, so SameSite alone would let it."""
        page = person.new_page()
        page.goto(doorward.url + "/page/x")
        sign_in(page, "ann")
        page.goto(application.upstream.url.replace("127.0.0.1", "localhost") + "/page/evil")

        outcome = page.evaluate(
            f"fetch('{doorward.url}/transfer', {{method: 'POST', credentials: 'include', mode: 'no-cors',"
            " body: 'all'}).then(r => r.type)"
        )

        assert outcome == "opaque"
        assert application.upstream.requests("/transfer") == []
        assert doorward.request_line(path="/transfer")["reason"] == "cross_origin"


class TestManyTabs:
    def test_ten_tabs_with_long_urls_all_log_in_in_any_order(
        self, doorward: Doorward, person: BrowserContext
    ) -> None:
        """S37: each ends at its exact URL of 2 KB, with less than 8 KB of Cookie header."""
        letters = random.Random(7)
        urls = [
            f"{doorward.url}/page/tab{n}?q=" + "".join(letters.choices(string.ascii_letters, k=2000))
            for n in range(10)
        ]
        tabs = [person.new_page() for _ in urls]
        for tab, url in zip(tabs, urls, strict=True):
            tab.goto(url)
        sent = sum(
            len(c["name"]) + len(c["value"]) + 3 for c in person.cookies() if c["domain"] == "localhost"
        )
        order = list(range(10))
        letters.shuffle(order)

        for n in order:
            sign_in(tabs[n], "ann")

        assert sent < 8192
        assert [tab.url for tab in tabs] == urls
        assert {tab.title() for tab in tabs} == {"The application"}

    def test_a_login_that_was_begun_twice_ends_well_in_both_tabs(
        self, doorward: Doorward, person: BrowserContext
    ) -> None:
        """The same URL in two tabs, and the back button after the login."""
        first, second = person.new_page(), person.new_page()
        for tab in (first, second):
            tab.goto(doorward.url + "/page/twice")
        sign_in(second, "ann")
        sign_in(first, "ann")

        first.go_back()
        first.goto(doorward.url + "/page/twice")

        assert first.title() == second.title() == "The application"
