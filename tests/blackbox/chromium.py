"""Steps of a person at Chromium."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.blackbox.agent import is_ours

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.blackbox.doorward import Doorward

__all__ = ["drop_session", "new_person", "received_by_application", "sign_in"]

_MILLISECONDS = 15_000


@contextlib.contextmanager
def new_person(browser: Browser, doorward: Doorward, **options: Any) -> Iterator[BrowserContext]:
    """Open one person's browser, whose waits are bounded and whose cookies must not be in the log."""
    context = browser.new_context(**options)
    context.set_default_timeout(_MILLISECONDS)
    try:
        yield context
    finally:
        doorward.note_secrets(c["value"] for c in context.cookies() if is_ours(c["domain"]))
        context.close()


def sign_in(page: Page, name: str) -> None:
    """Fill in the certified provider's form and send it; return when the browser is back."""
    page.fill("input[name=login]", name)
    page.click("button")
    page.wait_for_url(lambda url: "localhost:" in url.split("/")[2])


def received_by_application(page: Page) -> dict[str, Any]:
    """Return what the application's page says that it received; fields by their lower-case name."""
    told: dict[str, Any] = json.loads(page.text_content("#received") or "")
    return {**told, "fields": {name.lower(): value for name, value in told["headers"]}}


def drop_session(context: BrowserContext) -> None:
    """Forget all cookies of Doorward, as when a session has ended."""
    context.clear_cookies(domain="localhost")
