"""Several sites in one process, several providers at one site, another prefix: in Chromium, by https."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.blackbox.certificates import make_certificate
from tests.blackbox.chromium import new_person, received_by_application, sign_in
from tests.blackbox.doorward import Doorward, new_key
from tests.blackbox.interop import certified_provider, provider_settings
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.interop.provider import InteropProvider
from tests.processes import find_free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = pytest.mark.slow

PORT = find_free_port()
WIKI, SHOP = f"https://wiki.localhost:{PORT}", f"https://shop.localhost:{PORT}"


@pytest.fixture(scope="module")
def certified(folder: Path) -> Iterator[InteropProvider]:
    # Two callbacks: each provider of a site has its own (S06).
    with certified_provider(folder, [WIKI, SHOP], callback="/gate/callback/certified") as running:
        yield running


@pytest.fixture(scope="module")
def doorward(
    certified: InteropProvider, scripted: ScriptedProvider, application: Application, folder: Path
) -> Iterator[Doorward]:
    certificate = make_certificate(folder)
    session = {"keys": [new_key()]}
    access = [{"path": "/page/public/**", "allow": "anyone"}, {"allow": "authenticated"}]
    shared: dict[str, Any] = {"session": session, "access": access, "upstreams": application.upstreams}
    wiki = {
        "public_url": WIKI,
        "prefix": "/gate",
        "providers": {
            "certified": provider_settings(
                certified, "confidential", response_mode="form_post", display_name="The Certified One"
            ),
            "scripted": scripted.settings(display_name="The Scripted One"),
        },
        **shared,
    }
    shop = {"public_url": SHOP, "provider": scripted.settings(), **shared}
    with Doorward(
        folder,
        port=PORT,
        sites={"wiki": wiki, "shop": shop},
        tls=certificate.settings,
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


def test_a_person_chooses_a_provider_and_comes_back_by_a_form(
    doorward: Doorward, person: BrowserContext
) -> None:
    """S28: form_post needs its cookie to travel from site to site, and only the login's own does."""
    page = person.new_page()
    page.goto(WIKI + "/page/x?y=1")
    assert page.url.startswith(WIKI + "/gate/sign_in")
    page.click("text=The Certified One")
    cookies = {cookie["name"]: cookie for cookie in person.cookies(WIKI)}
    assert {cookie["sameSite"] for cookie in cookies.values()} == {"None"}

    sign_in(page, "ann")

    page.wait_for_url(WIKI + "/page/x?y=1")
    assert received_by_application(page)["fields"]["x-forwarded-user"] == "ann"
    session = [cookie for cookie in person.cookies(WIKI) if cookie["name"] not in cookies]
    assert {cookie["sameSite"] for cookie in session if cookie["expires"] - _now(page) > 7200} == {"Lax"}
    assert all(cookie["name"].startswith("__Host-") and cookie["secure"] for cookie in session)


def _now(page: Any) -> float:
    return float(page.evaluate("Date.now() / 1000"))


def test_each_provider_of_a_site_leads_in(doorward: Doorward, person: BrowserContext) -> None:
    page = person.new_page()
    page.goto(WIKI + "/page/z")
    page.click("text=The Scripted One")
    page.wait_for_url(WIKI + "/page/z")

    assert received_by_application(page)["fields"]["x-forwarded-user"] == "ann"


def test_a_login_at_one_site_is_none_at_another(
    doorward: Doorward, person: BrowserContext, script: ScriptedProvider
) -> None:
    """S33: a cookie carried from one to the other by hand does not count either."""
    page = person.new_page()
    page.goto(SHOP + "/page/x")
    assert received_by_application(page)["fields"]["x-forwarded-host"] == f"shop.localhost:{PORT}"
    stolen = person.cookies(SHOP)
    page.goto(WIKI + "/page/x")
    assert page.url.startswith(WIKI + "/gate/sign_in")

    for cookie in stolen:
        cookie["domain"] = "wiki.localhost"
    person.add_cookies(stolen)  # type: ignore[arg-type]  # what it gives it also takes
    page.goto(WIKI + "/page/x")

    assert page.url.startswith(WIKI + "/gate/sign_in")


def test_with_another_prefix_the_usual_one_is_the_applications(
    doorward: Doorward, person: BrowserContext, script: ScriptedProvider
) -> None:
    page = person.new_page()
    page.goto(WIKI + "/page/z")
    page.click("text=The Scripted One")
    page.wait_for_url(WIKI + "/page/z")

    answer = page.evaluate("fetch('/oauth2/userinfo').then(r => r.json())")

    assert answer["target"] == "/oauth2/userinfo"


def test_a_host_that_is_none_of_the_sites_is_refused(doorward: Doorward, person: BrowserContext) -> None:
    page = person.new_page()

    answer = page.goto(f"https://other.localhost:{PORT}/page/public/x")

    assert answer is not None
    assert answer.status in {400, 421} or page.url.startswith(WIKI)
