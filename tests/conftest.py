"""What all tests share: the browser, and the list of what a run had to leave out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.parts import MISSING, require_part

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; `browser.new_context()` is one person's browser with its own cookies.

    Playwright keeps an event loop running in this thread until the module's tests are over, so
    `asyncio.run` belongs in other modules.
    """
    from playwright.sync_api import sync_playwright

    chromium = require_part("chromium")
    # Chromium refuses its sandbox to root, as which containers and continuous integration run.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=str(chromium), args=arguments)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that asks for the browser, so that `-m "not browser"` leaves it out."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each part that was missing, once, with its mend and the number of tests it cost."""
    cost: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
        _, found, detail = reason.partition(MISSING)
        if found:
            cost[detail] = cost.get(detail, 0) + 1
    if cost:
        terminalreporter.section("left out for want of a part")
        for detail, count in sorted(cost.items()):
            terminalreporter.line(f"{count} tests without {detail}")
