"""A18: everything once against a certified provider, with a short-lived access token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.doorward import Doorward
from tests.blackbox.interop import certified_provider, provider_settings
from tests.blackbox.upstream import Application
from tests.blackbox.waiting import wait_until
from tests.interop.provider import InteropProvider
from tests.processes import find_free_port

pytestmark = pytest.mark.slow

PORT = find_free_port()
PEOPLE = {"eve": {"groups": ["admins", "a,b"], "name": "Ève Exemple"}}


@pytest.fixture(scope="module")
def provider(folder: Path) -> Iterator[InteropProvider]:
    # A refresh is due after half of each token's life.
    with certified_provider(
        folder, [f"http://localhost:{PORT}"], access_token_seconds=4, people=PEOPLE
    ) as running:
        yield running


@pytest.fixture(scope="module")
def doorward(provider: InteropProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    with Doorward(
        folder,
        port=PORT,
        provider=provider_settings(provider, "confidential"),
        upstreams=application.upstreams,
    ) as running:
        yield running


def test_login_userinfo_refresh_and_sign_out(
    doorward: Doorward, provider: InteropProvider, application: Application
) -> None:
    """A18: name and groups come from UserInfo alone there; the refreshed session is the same person's.

    oidcc-client-test-refresh-token, oidcc-client-test-rp-init-logout: seen in the same run.
    """
    person = doorward.agent()
    page = person.login(doorward.url + "/first?x=1", "eve")
    first = dict(application.upstream.last("/first").headers)
    cookies_at_login = {cookie.name: cookie.value for cookie in person.cookies()}

    def refreshed() -> bool:
        assert person.fetch(doorward.url + "/later").status == 200
        return doorward.metric("doorward_events_total", event="session_refreshed") >= 1

    wait_until(refreshed, "a refresh", seconds=20)
    later = dict(application.upstream.last("/later").headers)
    cookies_later = {cookie.name: cookie.value for cookie in person.cookies()}

    assert page.url == doorward.url + "/first?x=1"
    assert doorward.metric("doorward_provider_calls_total", operation="userinfo") >= 1
    assert first["X-Forwarded-User"] == "eve"
    assert first["X-Forwarded-Email"] == "eve@example.com"
    assert "admins" in first["X-Forwarded-Groups"]
    # S47: a comma inside a group's name does not make two groups of it.
    assert "a,b" not in first["X-Forwarded-Groups"].split(",", 1)[1]
    assert later["X-Forwarded-User"] == "eve"
    assert later["X-Forwarded-Groups"] == first["X-Forwarded-Groups"]
    assert cookies_later != cookies_at_login

    at_provider = person.submit(person.open(doorward.url + "/oauth2/sign_out"))
    done = person.submit(at_provider, {"logout": "yes"})
    assert done.url.startswith(f"{doorward.url}/oauth2/sign_out/return")
    assert person.fetch(doorward.url + "/").status == 401
