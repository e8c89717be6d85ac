"""A10: signing out, here and at the provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.blackbox.agent import Agent, Page
from tests.blackbox.doorward import Doorward
from tests.blackbox.interop import certified_provider, provider_settings
from tests.blackbox.upstream import Application
from tests.interop.provider import InteropProvider
from tests.processes import find_free_port

pytestmark = pytest.mark.slow

PORT = find_free_port()


@pytest.fixture(scope="module")
def provider(folder: Path) -> Iterator[InteropProvider]:
    with certified_provider(folder, [f"http://localhost:{PORT}"]) as running:
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


@pytest.fixture
def person(doorward: Doorward) -> Agent:
    """Return the browser of somebody who is signed in."""
    agent = doorward.agent()
    assert agent.login(doorward.url + "/", "ann").status == 200
    return agent


def is_signed_in(agent: Agent, doorward: Doorward) -> bool:
    return agent.fetch(doorward.url + "/").status == 200


def sign_out(agent: Agent, doorward: Doorward, query: str = "") -> Page:
    """Confirm at our page and at the provider's; return where that ends."""
    asked = agent.open(doorward.url + "/oauth2/sign_out" + query)
    at_provider = agent.submit(asked)
    return agent.submit(at_provider, {"logout": "yes"})


def test_signing_out_ends_the_session_here_and_at_the_provider(
    doorward: Doorward, provider: InteropProvider, person: Agent
) -> None:
    """A10: the browser goes by the provider's end_session_endpoint and comes back to a registered URL."""
    asked = person.open(doorward.url + "/oauth2/sign_out")

    at_provider = person.submit(asked)

    (hop,) = [hop for hop in at_provider.hops if hop[0].endswith("/oauth2/sign_out")]
    told = parse_qs(urlsplit(hop[2]).query)
    assert hop[1] == 303
    assert hop[2].startswith(f"{provider.issuer}/session/end?")
    assert told["post_logout_redirect_uri"] == [f"{doorward.url}/oauth2/sign_out/return"]
    assert told["id_token_hint"]
    assert told["state"]
    assert not is_signed_in(person, doorward)

    done = person.submit(at_provider, {"logout": "yes"})
    assert urlsplit(done.url).path == "/oauth2/sign_out/return"
    assert done.status == 200
    assert [cookie for cookie in person.cookies() if cookie.value] == []
    # The provider asks who it is again, so its session has ended too.
    assert "login" in person.open(doorward.url + "/").forms[0].fields


def test_a_copied_cookie_is_worth_nothing_after_the_sign_out(doorward: Doorward, person: Agent) -> None:
    """A10, S36: for every copy, from that moment."""
    thief = person.clone()
    assert is_signed_in(thief, doorward)

    sign_out(person, doorward)

    assert not is_signed_in(thief, doorward)
    assert "login" in thief.open(doorward.url + "/").forms[0].fields
    doorward.request_line(reason="session_revoked", status=401)


def test_a_link_alone_signs_nobody_out(doorward: Doorward, person: Agent) -> None:
    """A10: a GET asks first."""
    page = person.open(doorward.url + "/oauth2/sign_out", site="https://elsewhere.example")

    assert page.status == 200
    assert page.forms[0].action.startswith(doorward.url + "/oauth2/sign_out")
    assert is_signed_in(person, doorward)


def test_a_form_of_another_site_signs_nobody_out(doorward: Doorward, person: Agent) -> None:
    """S39: nor does one that comes without this session's token."""
    url = doorward.url + "/oauth2/sign_out"
    stolen = person.open(url).forms[0].fields
    other = doorward.agent()
    other.login(doorward.url + "/", "bob")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    token = f"csrf_token={stolen['csrf_token']}".encode()

    foreign = other.fetch(url, "POST", content=token, headers=form, site="https://elsewhere.example")
    without = person.fetch(url, "POST", content=b"", headers=form)
    anothers = other.fetch(url, "POST", content=token, headers=form)

    # Without its cookies, which a browser does not send along, a foreign form finds nobody to sign out.
    assert foreign.status in {200, 403}
    assert without.status == 403
    assert anothers.status == 403
    assert is_signed_in(person, doorward)
    assert is_signed_in(other, doorward)


def test_after_the_sign_out_the_browser_goes_where_it_wanted_if_that_is_ours(
    doorward: Doorward, person: Agent
) -> None:
    """S08: a foreign place is not gone to."""
    ours = sign_out(person, doorward, "?rd=%2Fbye%3Fx%3D1")
    person.login(doorward.url + "/", "ann")
    foreign = sign_out(person, doorward, "?rd=https%3A%2F%2Felsewhere.example%2F")

    # /bye is protected, and its visitor is nobody now.
    assert ours.hops[-2][2].startswith(f"{doorward.url}/bye") or doorward.url + "/bye?x=1" in {
        hop[2] for hop in ours.hops
    }
    assert not any("elsewhere.example/" in hop[2] and hop[2].startswith("https") for hop in foreign.hops)


@pytest.mark.parametrize("query", ["", "?state=of-somebody-else"])
def test_a_return_with_no_or_another_state_still_tells_that_one_is_signed_out(
    doorward: Doorward, person: Agent, query: str
) -> None:
    """A10: the return is a page, and leads nowhere.

    oidcc-client-test-rp-init-logout-no-state: the first.
    oidcc-client-test-rp-init-logout-other-state: the second.
    """
    person.submit(person.open(doorward.url + "/oauth2/sign_out?rd=%2Fbye"))

    page = person.open(doorward.url + "/oauth2/sign_out/return" + query)

    assert page.status == 200
    assert page.hops == ()
