"""A developer at Chromium before `doorward dev`: be somebody, sign in as somebody, watch how that goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.blackbox.chromium import received_by_application
from tests.blackbox.upstream import Application
from tests.dev.process import DevProcess, dev

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def inspected(folder: Path, application: Application) -> Iterator[DevProcess]:
    with dev(folder, application.upstream.url, "--inspect") as gate:
        gate.wait_for("Every step is shown at")
        yield gate


@pytest.fixture
def view(inspected: DevProcess, browser: Browser) -> Iterator[Page]:
    """Open the view as its line at the start says, in a browser of its own."""
    found = re.search(r"http://127\.0\.0\.1:\d+/\?token=[0-9a-f]+", inspected.text())
    assert found is not None
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(15_000)
    shown = context.new_page()
    shown.goto(found[0])
    yield shown
    context.close()


def test_a_persona_is_in_at_once_and_a_page_of_another_site_is_not(
    page: Page, folder: Path, application: Application
) -> None:
    """`--as`: no login page, no cookie; S39, S72: the persona is for pages of this site."""
    with dev(folder, application.upstream.url, "--as", "alice", "--groups", "admins,staff") as gate:
        answer = page.goto(gate.url + "/page/reports?year=2026")

        assert answer is not None
        assert answer.headers["doorward-development"]
        received = received_by_application(page)
        assert received["target"] == "/page/reports?year=2026"
        assert received["fields"]["x-forwarded-user"] == "alice"
        assert received["fields"]["x-forwarded-groups"] == "admins,staff"
        assert page.context.cookies() == []

        page.goto(application.upstream.url + "/page/evil")
        read = f"fetch('{gate.url}/api').then(r => r.status, () => 'refused')"
        assert page.evaluate(read) in {"refused", 401}
        assert "X-Forwarded-User" not in str(application.upstream.requests("/api"))


def test_a_login_is_shown_step_by_step_with_its_secrets_masked(
    page: Page, view: Page, inspected: DevProcess
) -> None:
    """S27: the view of `--inspect`, as a person reads it: the order, what each is, and nothing to steal."""
    answers: list[str] = []
    page.on("request", lambda request: answers.append(request.url))
    page.goto(inspected.url + "/page/reports?year=2026")
    page.click("button.person >> nth=0")
    page.wait_for_url(inspected.url + "/page/reports?year=2026")
    assert received_by_application(page)["fields"]["x-forwarded-user"] == "ada"

    rows = view.locator(".flow-table tbody tr", has=view.locator("td.col-comment"))
    told = ("1 sent to sign in", "2 at the provider", "3 back with a code", "4 code for tokens", "let in")
    for words in told:
        rows.filter(has_text=words).first.wait_for()
    comments = [text.strip() for text in rows.locator("td.col-comment").all_inner_texts()]
    order = [next(i for i, text in enumerate(comments) if text.startswith(words)) for words in told]
    assert order == sorted(order)
    for words in told[:4]:
        # Marked as what belongs to a login.
        assert "🔑" in rows.filter(has_text=words).first.inner_text()

    rows.filter(has_text="4 code for tokens").click()
    view.click(".flow-detail nav >> text=Comment")
    explained = view.inner_text(".flow-detail section")
    assert "PKCE verifier matches the challenge" in explained
    assert "nonce of the ID token matches a request that was seen" in explained
    # Line by line, which mitmweb alone would run together.
    assert "\n  code: " in explained

    secrets = {cookie["value"] for cookie in page.context.cookies()}
    for url in answers:
        query = parse_qs(urlsplit(url).query)
        secrets.update(value for name in ("code", "state", "nonce") for value in query.get(name, ()))
    assert len(secrets) >= 4
    everything = view.content() + str(view.evaluate(_ALL))
    assert "ada" in everything
    assert [secret for secret in secrets if secret in everything] == []


# What the page's own script can ask: the list, each request's bodies, and the file that it would save.
_ALL = """(async () => {
    const text = path => fetch(path).then(answer => answer.text());
    const flows = await (await fetch('/flows')).json();
    const bodies = flows.flatMap(flow => ['request', 'response'].map(
        part => text(`/flows/${flow.id}/${part}/content/auto.json`)));
    const rest = [text('/flows/dump'), text('/events'), ...bodies];
    return [JSON.stringify(flows), ...await Promise.all(rest)];
})()"""
