"""One login for several hosts of a site, over two workers: by an auth host, and handed over. In Chromium."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.blackbox.certificates import make_certificate
from tests.blackbox.chromium import new_person, received_by_application
from tests.blackbox.doorward import Doorward, new_key
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.processes import find_free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.slow

PORT = find_free_port()
# To browsers these are as far apart as a.example and b.other, for `localhost` is a top-level domain to them.
A, B = f"https://a.localhost:{PORT}", f"https://b.localhost:{PORT}"
AUTH, ONE, TWO = (f"https://{name}.door.localhost:{PORT}" for name in ("auth", "one", "two"))
FAR = f"https://far.localhost:{PORT}"
WORKERS = 2 if os.environ.get("DOORWARD_ENGINE", "express") == "express" else 1


def authority(url: str) -> str:
    return url.removeprefix("https://").removeprefix("http://")


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    certificate = make_certificate(folder)
    shared: dict[str, Any] = {
        "session": {"keys": [new_key()]},
        "access": [
            {"hosts": ["two.door.localhost"], "allow": {"groups": ["nobody"]}},
            {"allow": "authenticated"},
        ],
        "upstreams": application.upstreams,
        "provider": scripted.settings(),
    }
    apart = {**shared, "public_url": A, "hosts": [authority(B)], "access": [{"allow": "authenticated"}]}
    below = {
        **shared,
        "public_url": AUTH,
        "hosts": [authority(url) for url in (ONE, TWO, FAR)],
        "cookie": {"domain": "door.localhost"},
    }
    with Doorward(
        folder,
        port=PORT,
        sites={"apart": apart, "below": below},
        tls=certificate.settings,
        workers=WORKERS,
        public_url=None,
        session=None,
        access=None,
        trust=ssl.create_default_context(cafile=str(certificate.certificate)),
    ) as running:
        yield running


@pytest.fixture
def person(browser: Browser, doorward: Doorward) -> Iterator[BrowserContext]:
    with new_person(browser, doorward, ignore_https_errors=True) as context:
        yield context


@pytest.fixture
def page(person: BrowserContext, script: ScriptedProvider) -> Page:
    return person.new_page()


def user(page: Page) -> str:
    name: str = received_by_application(page)["fields"]["x-forwarded-user"]
    return name


def logins(script: ScriptedProvider) -> int:
    return len(script.calls("/authorize"))


def sign_out(page: Page, host: str) -> None:
    page.goto(host + "/oauth2/sign_out")
    page.click("button")
    page.wait_for_url("**/oauth2/sign_out**")


def test_a_host_that_shares_no_cookie_gets_the_session(page: Page, script: ScriptedProvider) -> None:
    """The exact URL comes back, with its fragment; the second host needs no login of its own."""
    page.goto(B + "/page/x?y=1&z=%26#there")
    assert page.url == B + "/page/x?y=1&z=%26#there"
    assert user(page) == "ann"
    page.goto(A + "/page/")
    assert user(page) == "ann"

    assert logins(script) == 1
    (sent,) = script.calls("/authorize")
    assert sent.query["redirect_uri"] == [f"{A}/oauth2/callback"]


def test_each_host_has_cookies_of_its_own(page: Page, person: BrowserContext) -> None:
    page.goto(B + "/page/")

    for host in (A, B):
        found = [cookie for cookie in person.cookies(host) if cookie["name"].startswith("__Host-")]
        assert found
        assert {cookie["domain"] for cookie in found} == {authority(host).partition(":")[0]}
        assert all(cookie["httpOnly"] and cookie["secure"] for cookie in found)


def test_signing_out_at_one_ends_it_at_the_other(page: Page, script: ScriptedProvider) -> None:
    """S36: on every worker."""
    page.goto(B + "/page/")
    sign_out(page, B)

    for _ in range(3):
        before = logins(script)
        with page.expect_response(lambda answer: answer.url.startswith(A + "/page/")) as first:
            page.goto(A + "/page/")
        assert first.value.status == 302
        assert logins(script) == before + 1
        sign_out(page, A)


def test_tabs_of_both_hosts_at_once(person: BrowserContext, script: ScriptedProvider) -> None:
    pages = [person.new_page() for _ in range(4)]
    urls = [f"{host}/page/{n}" for n, host in enumerate((A, B, B, A))]
    for each, url in zip(pages, urls, strict=True):
        each.goto(url, wait_until="commit")

    for each, url in zip(pages, urls, strict=True):
        each.wait_for_url(url)
        assert user(each) == "ann"


def test_a_stolen_code_is_worth_nothing(
    browser: Browser, doorward: Doorward, page: Page, script: ScriptedProvider
) -> None:
    """What stands in the log of somebody's proxy: another browser has nothing of it."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(B + "/page/")
    (returned,) = [url for url in seen if "/handoff/return" in url]

    with new_person(browser, doorward, ignore_https_errors=True) as thief:
        other = thief.new_page()
        answer = other.goto(returned)
        assert answer is not None
        assert answer.status == 400
        assert other.is_visible("text=Try again")
        assert not thief.cookies(B)


def test_an_auth_host_serves_all_hosts_below_a_domain(
    page: Page, person: BrowserContext, script: ScriptedProvider
) -> None:
    """One callback; the login begins and ends at the auth host and comes back to the exact URL."""
    page.goto(ONE + "/page/x?y=1&z=%26#there")
    assert page.url == ONE + "/page/x?y=1&z=%26#there"
    assert user(page) == "ann"

    (sent,) = script.calls("/authorize")
    assert sent.query["redirect_uri"] == [f"{AUTH}/oauth2/callback"]
    session = [cookie for cookie in person.cookies(AUTH) if cookie["name"] == "__Secure-doorward"]
    assert [cookie["domain"] for cookie in session] == [".door.localhost"]
    # Rules hold by host: the same session is refused at another one.
    answer = page.goto(TWO + "/page/")
    assert answer is not None
    assert answer.status == 403


def test_both_forms_at_one_site(page: Page, person: BrowserContext, script: ScriptedProvider) -> None:
    """A host outside of the cookie's domain gets the session of those within it, in a cookie of its own."""
    page.goto(ONE + "/page/")
    page.goto(FAR + "/page/x?y=1")

    assert page.url == FAR + "/page/x?y=1"
    assert user(page) == "ann"
    assert logins(script) == 1
    assert {cookie["domain"] for cookie in person.cookies(FAR)} == {"far.localhost"}
    sign_out(page, FAR)
    page.goto(ONE + "/page/")
    assert logins(script) == 2


@pytest.fixture(scope="module")
def plain(
    scripted: ScriptedProvider, application: Application, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Doorward]:
    port = find_free_port()
    with Doorward(
        tmp_path_factory.mktemp("plain"),
        port=port,
        public_url=f"http://a.localhost:{port}",
        hosts=[f"b.localhost:{port}"],
        provider=scripted.settings(),
        upstreams=application.upstreams,
        workers=WORKERS,
    ) as running:
        yield running


class TestWorkers:
    """Each request on a connection of its own, so that any worker may get it."""

    def test_any_worker_picks_up_what_another_put_aside(
        self, plain: Doorward, script: ScriptedProvider
    ) -> None:
        b = f"http://b.localhost:{plain.port}"
        for n in range(8):
            agent = plain.agent()
            page = agent.open(f"{b}/page/{n}?x=1")
            assert page.status == 200, page.text
            assert page.url == f"{b}/page/{n}?x=1"

    def test_a_code_is_good_once_at_all_workers(self, plain: Doorward, script: ScriptedProvider) -> None:
        b = f"http://b.localhost:{plain.port}"
        for _ in range(4):
            agent = plain.agent()
            url = f"{b}/page/"
            while "/handoff/return" not in url:
                url = agent.open(url, follow=False, site="http://elsewhere.example").location
            copies = [agent.clone() for _ in range(4)]
            answers = [copy.open(url, follow=False) for copy in copies]
            assert sorted(page.status for page in answers) == [302, 400, 400, 400]
            assert sum(bool(copy.fetch(f"{b}/json").status == 200) for copy in copies) == 1

    def test_what_is_written_names_host_and_session_and_no_code(self, plain: Doorward) -> None:
        """S27: and the URL with the code is in no line."""
        events = plain.log_lines("session_handed_over")

        assert events
        assert {line["host"] for line in events} == {f"b.localhost:{plain.port}"}
        assert all(line["session_id"] for line in events)
        assert "code=" not in plain.log
