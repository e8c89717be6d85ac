"""A9: an address that the provider does not call verified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application

pytestmark = pytest.mark.slow

NOT_THERE = object()


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    access = [{"allow": {"email_domains": ["example.com"]}}]
    with Doorward(
        folder, provider=scripted.settings(), upstreams=application.upstreams, access=access
    ) as running:
        yield running


@pytest.mark.parametrize("verified", [False, "false", NOT_THERE], ids=["false", "text", "missing"])
def test_an_address_that_is_not_verified_is_denied_and_the_application_hears_nothing(
    doorward: Doorward, script: ScriptedProvider, application: Application, verified: object
) -> None:
    """A9, S24: a 403 page, and nothing that looks like a session afterwards."""
    script.claims["email_verified"] = verified
    if verified is NOT_THERE:
        del script.claims["email_verified"]
    person = doorward.agent()

    page = person.open(doorward.url + "/secret")

    assert page.status == 403
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert doorward.request_line(path="/oauth2/callback", status=403)["request_id"]
    assert person.fetch(doorward.url + "/secret").status in {401, 403}
    assert application.upstream.requests("/secret") == []


def test_the_same_person_with_a_verified_address_passes(
    doorward: Doorward, script: ScriptedProvider, application: Application
) -> None:
    """A9: it is the verification alone that counts."""
    page = doorward.agent().open(doorward.url + "/verified")

    assert page.status == 200
    assert application.upstream.last("/verified").values("X-Forwarded-Email") == ["ann@example.com"]


def test_a_verified_address_of_another_domain_is_denied(
    doorward: Doorward, script: ScriptedProvider, application: Application
) -> None:
    """S24: the domain is what follows the last `@`, whole."""
    script.claims["email"] = "ann@notexample.com"

    page = doorward.agent().open(doorward.url + "/other")

    assert page.status == 403
    assert application.upstream.requests("/other") == []
