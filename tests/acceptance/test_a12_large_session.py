"""A12: a session that no single cookie can hold."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.agent import Agent, Cookie
from tests.blackbox.certificates import make_certificate
from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application

pytestmark = pytest.mark.slow

# Random, so that no compression helps.
GROUPS = [secrets.token_hex(40) for _ in range(150)]


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    certificate = make_certificate(folder)
    with Doorward(
        folder,
        scheme="https",
        trust=certificate.trust,
        tls=certificate.settings,
        provider=scripted.settings(),
        upstreams=application.upstreams,
    ) as running:
        yield running


def session_cookies(agent: Agent) -> list[Cookie]:
    return [cookie for cookie in agent.cookies() if int(cookie.attributes["max-age"]) > 7200]


def test_a_large_session_is_split_and_works(
    doorward: Doorward, script: ScriptedProvider, application: Application
) -> None:
    """A12: the application receives every group."""
    script.claims["groups"] = GROUPS
    person = doorward.agent()

    assert person.open(doorward.url + "/").status == 200

    assert len(session_cookies(person)) > 1
    assert person.open(doorward.url + "/again").hops == ()
    assert application.upstream.last("/again").values("X-Forwarded-Groups") == [",".join(GROUPS)]


def test_a_missing_chunk_is_no_session(doorward: Doorward, script: ScriptedProvider) -> None:
    """S32: and the login that follows leaves no stale chunk behind."""
    script.claims["groups"] = GROUPS
    person = doorward.agent()
    person.open(doorward.url + "/")
    lost = session_cookies(person)[0]
    del person.jar[lost.host, lost.name]

    assert person.fetch(doorward.url + "/").status == 401
    script.claims["groups"] = ["staff"]
    assert person.open(doorward.url + "/").status == 200
    assert len(session_cookies(person)) == 1


def test_signing_out_takes_every_chunk_away(doorward: Doorward, script: ScriptedProvider) -> None:
    """A12: and the provider is told, with or without the ID token that may have been too long to keep."""
    script.claims["groups"] = GROUPS
    person = doorward.agent()
    person.open(doorward.url + "/")
    assert len(session_cookies(person)) > 1

    page = person.submit(person.open(doorward.url + "/oauth2/sign_out"))

    assert page.url.startswith(doorward.url + "/oauth2/sign_out/return")
    assert person.cookies() == []
    assert all(len(call.target) < 8192 for call in script.calls("/end_session"))


@pytest.mark.parametrize("groups", [["staff"], GROUPS], ids=["one cookie", "several"])
def test_each_cookie_is_httponly_secure_and_of_this_host_alone(
    doorward: Doorward, script: ScriptedProvider, groups: list[str]
) -> None:
    """A12, S28: SameSite=Lax unless set otherwise; the name says __Host-."""
    script.claims["groups"] = groups
    person = doorward.agent()
    person.open(doorward.url + "/")

    assert person.cookies()
    for cookie in person.cookies():
        assert cookie.name.startswith("__Host-")
        assert {"httponly", "secure"} <= cookie.attributes.keys()
        assert "domain" not in cookie.attributes
        assert cookie.attributes["path"] == "/"
        assert cookie.same_site == "lax"


@pytest.mark.parametrize(
    ("settings", "same_site", "partitioned"),
    [({"same_site": "none", "partitioned": True}, "none", True), ({"same_site": "none"}, "none", False)],
)
def test_samesite_is_as_set(
    scripted: ScriptedProvider,
    script: ScriptedProvider,
    application: Application,
    tmp_path: Path,
    settings: dict[str, object],
    same_site: str,
    partitioned: bool,
) -> None:
    """A12: for embedded panels; a login works all the same."""
    certificate = make_certificate(tmp_path)
    with Doorward(
        tmp_path,
        scheme="https",
        trust=certificate.trust,
        tls=certificate.settings,
        provider=scripted.settings(),
        upstreams=application.upstreams,
        cookie=settings,
    ) as doorward:
        person = doorward.agent()
        page = person.open(doorward.url + "/x")

        assert page.status == 200
        assert page.url == doorward.url + "/x"
        (cookie,) = session_cookies(person)
        assert cookie.same_site == same_site
        assert ("partitioned" in cookie.attributes) is partitioned
