"""The pages in a real browser: no policy violation, no script needed but one, readable on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.core.http import Page as OwnPage
from sidecar.pages import PAGES, render

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

URL = "http://localhost:9/oauth2/page"
LONG = "a-very-long-word-" * 12
VALUES: dict[str, dict[str, Any]] = {
    "sign_in": {
        "site_name": LONG,
        "providers": [
            {"name": "One", "url": "/oauth2/start?provider=one&rd=%2Fa%3Fb%3D1"},
            {"name": LONG, "url": "/oauth2/start?provider=two&rd=%2Fa"},
        ],
        "return_to": "/" + LONG,
        "keeps_fragment": True,
    },
    "signed_out": {"sign_in_url": "/"},
    "sign_out_confirm": {"action": "/oauth2/sign_out", "csrf_token": "t", "user": LONG},
    "denied": {"user": LONG, "sign_out_url": "/oauth2/sign_out"},
    "error": {"status": 502, "retry_url": "/"},
    "session_ended": {"sign_in_url": "/", "was_form": True},
    "login_loop": {"start_url": "/"},
    "who_am_i": {
        "user": LONG,
        "sign_out_url": "/oauth2/sign_out",
        "groups": [LONG, *(f"group-{number}" for number in range(60))],
        "expires": 1_900_000_000,
        "issuer": "https://id.example.com/" + LONG,
    },
}


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport={"width": 360, "height": 640}) as phone:
        yield phone


def is_foreign(url: str) -> bool:
    return not url.startswith(("http://localhost:9/", "data:"))


def show(context: BrowserContext, name: str, url: str = URL, **values: Any) -> tuple[Page, list[str]]:
    """Open a page of ours and return it with whatever the browser complained of."""
    rendered = render(OwnPage(name=name, values=VALUES[name] | values), "request-1")
    headers = {key.decode(): value.decode() for key, value in rendered.headers}
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda sent: (
            None if sent.url.startswith(("http://localhost:9", "data:")) else complaints.append(sent.url)
        ),
    )
    page.route(
        "http://localhost:9/**", lambda route: route.fulfill(status=200, headers=headers, body=rendered.body)
    )
    page.goto(url)
    return page, complaints


@pytest.mark.parametrize("name", PAGES)
def test_the_browser_has_nothing_to_complain_of(context: BrowserContext, name: str) -> None:
    """S67: style, drawing and icon are shown under the page's own policy."""
    page, complaints = show(context, name)
    assert page.locator("main h1").is_visible()
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.scene')).backgroundColor")
        != "rgba(0, 0, 0, 0)"
    )
    assert complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_never_scrolls_sideways(context: BrowserContext, name: str) -> None:
    page, _ = show(context, name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("name", PAGES)
def test_dark_is_dark(browser: Browser, name: str) -> None:
    with browser.new_context(color_scheme="dark") as context:
        page, _ = show(context, name)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(", ")) < 64


@pytest.mark.parametrize("name", PAGES)
def test_everything_to_press_can_be_reached_by_keyboard_and_hit_by_a_thumb(
    context: BrowserContext, name: str
) -> None:
    page, _ = show(context, name)
    for button in page.locator(".button").all():
        button.focus()
        assert button.evaluate("element => element === document.activeElement")
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44


def test_the_fragment_travels_in_the_return_url(context: BrowserContext) -> None:
    page, complaints = show(context, "sign_in", URL + "#/in/box?x=1&y=%20")
    links = [link.get_attribute("href") for link in page.locator("a[data-start]").all()]
    assert links == [
        "http://localhost:9/oauth2/start?provider=one&rd=%2Fa%3Fb%3D1%23%2Fin%2Fbox%3Fx%3D1%26y%3D%2520",
        "http://localhost:9/oauth2/start?provider=two&rd=%2Fa%23%2Fin%2Fbox%3Fx%3D1%26y%3D%2520",
    ]
    assert complaints == []


def test_without_a_script_the_links_work_all_the_same(browser: Browser) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page, _ = show(context, "sign_in", URL + "#top")
        link = page.locator("a[data-start]").first
        assert link.get_attribute("href") == "/oauth2/start?provider=one&rd=%2Fa%3Fb%3D1"


def test_a_fragment_is_never_sent_to_another_origin(context: BrowserContext) -> None:
    providers = [{"name": "x", "url": "https://id.example.com/start?rd=%2F"}]
    page, _ = show(context, "sign_in", URL + "#secret", providers=providers)
    assert page.locator("a[data-start]").get_attribute("href") == "https://id.example.com/start?rd=%2F"
