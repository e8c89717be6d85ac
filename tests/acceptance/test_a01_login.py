"""A1: from a protected page to the provider and back, with every way of authenticating as a client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.blackbox.agent import Agent, Page
from tests.blackbox.certificates import make_certificate
from tests.blackbox.doorward import Doorward
from tests.blackbox.interop import certified_provider, provider_settings
from tests.blackbox.upstream import Application
from tests.interop.provider import InteropProvider
from tests.processes import find_free_port

pytestmark = pytest.mark.slow

PATH = "/reports/2026%2F07/caf%C3%A9?x=1&y=%2F&empty=&x=2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to log in. `form_post` needs https, for its cookie is SameSite=None."""

    client_id: str
    port: int
    response_mode: str = "query"

    @property
    def scheme(self) -> str:
        return "https" if self.response_mode == "form_post" else "http"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"


CASES = [
    Case(client_id="confidential", port=find_free_port()),
    Case(client_id="confidential-post", port=find_free_port()),
    Case(client_id="private-key", port=find_free_port()),
    Case(client_id="confidential", port=find_free_port(), response_mode="form_post"),
]


@pytest.fixture(scope="module")
def provider(folder: Path) -> Iterator[InteropProvider]:
    with certified_provider(folder, [case.origin for case in CASES]) as running:
        yield running


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case.client_id}, {case.response_mode}")
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def doorward(
    case: Case, provider: InteropProvider, application: Application, folder: Path
) -> Iterator[Doorward]:
    certificate = make_certificate(folder)
    with Doorward(
        folder,
        port=case.port,
        scheme=case.scheme,
        trust=certificate.trust,
        provider=provider_settings(provider, case.client_id, response_mode=case.response_mode),
        upstreams=application.upstreams,
        headers={"set": {"X-Forwarded-Name": "name"}},
        tls=certificate.settings if case.scheme == "https" else None,
    ) as running:
        yield running


def log_in(person: Agent, doorward: Doorward, path: str, case: Case) -> Page:
    page = person.login(doorward.url + path, "ann")
    # A browser with scripts sends the provider's form by itself.
    return person.submit(page) if case.response_mode == "form_post" else page


def test_a_stranger_is_sent_to_the_provider_with_code_s256_state_and_nonce(
    doorward: Doorward, provider: InteropProvider, application: Application, case: Case
) -> None:
    """A1: no request of a stranger reaches the application."""
    first, second = (doorward.agent().open(doorward.url + PATH, follow=False) for _ in range(2))

    asked = [parse_qs(urlsplit(page.location).query) for page in (first, second)]
    assert first.status == 302
    assert first.headers["cache-control"] == "no-store"
    assert first.location.startswith(f"{provider.issuer}/auth?")
    assert asked[0]["response_type"] == ["code"]
    assert asked[0]["client_id"] == [case.client_id]
    assert asked[0]["redirect_uri"] == [f"{doorward.url}/oauth2/callback"]
    assert "openid" in asked[0]["scope"][0].split()
    assert asked[0]["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[0][name][0]) >= 22
        assert asked[0][name] != asked[1][name]
    assert application.upstream.requests(urlsplit(PATH).path) == []


def test_after_the_login_the_application_sees_who_it_is_at_the_exact_url(
    doorward: Doorward, application: Application, case: Case
) -> None:
    """A1: path and query come back byte for byte, and no cookie of ours reaches the application."""
    person = doorward.agent()

    page = log_in(person, doorward, PATH, case)

    assert page.status == 200
    assert page.url == doorward.url + PATH
    received = application.upstream.last(urlsplit(PATH).path)
    assert received.target == PATH
    assert received.values("X-Forwarded-User") == ["ann"]
    assert received.values("X-Forwarded-Email") == ["ann@example.com"]
    assert received.values("X-Forwarded-Name") == ["ann"]
    assert received.values("X-Forwarded-Groups") == ["users"]
    assert received.values("Cookie") == []
    assert received.values("Host") == [urlsplit(doorward.url).netloc]
    application.upstream.forget()


def test_the_code_leaves_the_address_bar_by_a_redirect(doorward: Doorward, case: Case) -> None:
    """A1, S10, S12: the callback is answered with a redirect, 303 after a form."""
    person = doorward.agent()

    page = person.login(doorward.url + "/", "ann")

    if case.response_mode == "form_post":
        assert page.forms[0].action == f"{doorward.url}/oauth2/callback"
        page = person.submit(page)
    (callback,) = [hop for hop in page.hops if urlsplit(hop[0]).path == "/oauth2/callback"]
    assert callback[1:] == (303 if case.response_mode == "form_post" else 302, f"{doorward.url}/")
    assert page.url == f"{doorward.url}/"
    assert page.status == 200


def test_whoever_is_logged_in_passes_without_the_provider(
    doorward: Doorward, application: Application, case: Case
) -> None:
    """A1: the session counts for navigations and scripts alike."""
    person = doorward.agent()
    log_in(person, doorward, "/", case)

    assert person.open(doorward.url + "/again").hops == ()
    assert person.fetch(doorward.url + "/again", "POST", content=b"x").status == 200
    assert application.upstream.last("/again").values("X-Forwarded-User") == ["ann"]
