"""Signing out in Chromium where the provider is more than one host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.blackbox.chromium import new_person
from tests.blackbox.doorward import Doorward
from tests.blackbox.httpserver import Answer, HttpServer, Received
from tests.blackbox.scripted import ScriptedProvider, redirect
from tests.blackbox.upstream import Application

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    with Doorward(folder, provider=scripted.settings(), upstreams=application.upstreams) as running:
        yield running


def test_a_provider_that_goes_on_by_another_host_brings_the_person_back(
    browser: Browser, doorward: Doorward, script: ScriptedProvider
) -> None:
    """Our page's Content-Security-Policy holds for each redirect that follows its form, in Chromium."""

    def go_back(received: Received) -> Answer:
        asked = {name: values[0] for name, values in received.query.items()}
        return redirect(asked["post_logout_redirect_uri"], {"state": asked["state"]})

    def go_elsewhere(received: Received) -> Answer:
        query = received.target.partition("?")[2]
        return Answer(status=302, headers=(("Location", f"{elsewhere.url}/logout?{query}"),))

    with HttpServer(go_back).running() as elsewhere, new_person(browser, doorward) as person:
        script.script["/end_session"] = go_elsewhere
        page = person.new_page()
        page.goto(doorward.url + "/page/x")
        page.goto(doorward.url + "/oauth2/sign_out")
        page.click("main button")
        page.wait_for_url(doorward.url + "/oauth2/sign_out/return**")

        assert page.title().startswith("Signed out")
        assert elsewhere.received
