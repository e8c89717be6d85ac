"""D2: what a provider can get wrong ends on a page, once."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.blackbox.agent import Page
from tests.blackbox.doorward import Doorward
from tests.blackbox.httpserver import Answer, Received
from tests.blackbox.scripted import ScriptedProvider, json_answer, redirect
from tests.blackbox.upstream import Application

pytestmark = pytest.mark.slow

CALL_SECONDS = 2
DETAIL = "a-secret-that-the-provider-tells-in-its-error"


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    settings = scripted.settings(timeout=f"{CALL_SECONDS}s", max_answer="64KiB")
    with Doorward(folder, provider=settings, upstreams=application.upstreams) as running:
        running.note_secrets([DETAIL])
        yield running
        running.note_secrets(scripted.secrets)


def is_an_error_page(page: Page, doorward: Doorward) -> bool:
    """Hold a page against what every error page must be, and find its request in the log."""
    line = doorward.request_line(path="/oauth2/callback", status=page.status)
    shown = re.search(r"<code>([^<]+)</code>", page.text)
    assert page.url.startswith(f"{doorward.url}/oauth2/callback")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert DETAIL not in page.text
    assert "Traceback" not in page.text
    assert shown is not None
    assert shown[1] in doorward.log
    return line["reason"] in {"login_failed", "provider_unavailable"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("access_denied", 403),
        ("consent_required", 403),
        ("server_error", 502),
        ("temporarily_unavailable", 503),
        ("<script>alert(1)</script>", 400),
    ],
)
def test_an_error_of_the_authorization_endpoint_is_a_page(
    doorward: Doorward, script: ScriptedProvider, error: str, status: int
) -> None:
    """D2, S67: nothing that the provider writes becomes part of the page; nobody goes in circles."""
    description = f"<img src=x onerror=alert(1)> {DETAIL}"

    def refuse(received: Received) -> Answer:
        parameters = {"error": error, "error_description": description, "iss": script.issuer}
        state = received.query["state"][0]
        return redirect(received.query["redirect_uri"][0], {**parameters, "state": state})

    script.script["/authorize"] = refuse

    page = doorward.agent().open(doorward.url + "/")

    assert is_an_error_page(page, doorward)
    assert page.status in {status, 403}
    assert "<img" not in page.text
    assert "alert(1)" not in page.text
    assert len(script.calls("/authorize")) == 1
    assert script.calls("/token") == []


def drip(_: Received) -> Answer:
    """Send a byte now and then: each read succeeds, the whole never ends."""

    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield b" "
            time.sleep(0.1)

    return Answer(headers=(("Content-Type", "application/json"),), body=body())


def silence(_: Received) -> Answer:
    time.sleep(CALL_SECONDS + 2)
    return Answer(status=500)


def flood(_: Received) -> Answer:
    return Answer(headers=(("Content-Type", "application/json"),), body=b" " * (1 << 20))


TOKEN_ANSWERS: dict[str, Callable[[Received], Answer]] = {
    "200 with an error": lambda _: json_answer({"error": "invalid_grant", "error_description": DETAIL}),
    "400": lambda _: json_answer({"error": "invalid_grant", "error_description": DETAIL}, 400),
    "401": lambda _: json_answer({"error": "invalid_client", "error_description": DETAIL}, 401),
    "429": lambda _: Answer(status=429, headers=(("Retry-After", "5"),), body=DETAIL.encode()),
    "500": lambda _: Answer(status=500, body=DETAIL.encode()),
    "503": lambda _: Answer(status=503, body=DETAIL.encode()),
    "not JSON": lambda _: Answer(headers=(("Content-Type", "text/html"),), body=DETAIL.encode()),
    "a JSON array": lambda _: json_answer([DETAIL]),
    "no ID token": lambda _: json_answer({"access_token": DETAIL, "token_type": "Bearer"}),
    "a redirect elsewhere": lambda _: redirect("http://localhost:9/token", {}),
    "dripping": drip,
    "silent": silence,
    "endless": flood,
}


@pytest.mark.parametrize("kind", TOKEN_ANSWERS)
def test_an_error_of_the_token_endpoint_is_a_page_in_bounded_time(
    doorward: Doorward, script: ScriptedProvider, application: Application, kind: str
) -> None:
    """D2, S56: one call, one page, no session, no secret; a call ends after its time in all."""
    script.script["/token"] = TOKEN_ANSWERS[kind]
    person = doorward.agent()
    started = time.monotonic()

    page = person.open(doorward.url + "/")

    assert time.monotonic() - started < CALL_SECONDS + 2
    assert page.status in {400, 403, 502, 503, 504}
    assert is_an_error_page(page, doorward)
    assert len(script.calls("/token")) == 1
    assert person.fetch(doorward.url + "/").status == 401
    assert application.upstream.requests("/") == []


def test_the_next_login_works_again(doorward: Doorward, script: ScriptedProvider) -> None:
    """D2: nothing is left over from a failure; the page's link begins anew."""
    script.script["/token"] = TOKEN_ANSWERS["500"]
    person = doorward.agent()
    page = person.open(doorward.url + "/wanted?x=1")
    link = re.search(r'class="button" href="([^"]+)"', page.text)
    assert link is not None
    script.script.clear()

    again = person.open(doorward.url + link[1].replace("&amp;", "&"))

    assert again.status == 200
    assert again.url == doorward.url + "/wanted?x=1"


def test_a_provider_that_is_down_while_somebody_logs_in_is_a_page(
    doorward: Doorward, script: ScriptedProvider
) -> None:
    """D2: likewise when nobody listens at all."""
    person = doorward.agent()
    at_provider = person.open(doorward.url + "/", follow=False).location
    callback = person.open(at_provider, follow=False).location
    script.stop()
    try:
        page = person.open(callback)
    finally:
        script.start()

    assert page.status in {502, 503, 504}
    assert is_an_error_page(page, doorward)


def test_hostile_callbacks_are_pages(doorward: Doorward, script: ScriptedProvider) -> None:
    """D2, S01, S17: a missing, foreign, doubled or replayed state; no token request is made."""
    base = f"{doorward.url}/oauth2/callback"
    spoil: list[Callable[[str], str]] = [
        lambda _: base,
        lambda _: f"{base}?code=x",
        lambda _: f"{base}?state=x&code=x",
        lambda _: f"{base}?state=&code=",
        lambda _: f"{base}?%00=%ff&state=%00",
        lambda good: good + "&state=x",
        lambda good: good + "&code=y",
        lambda good: good.replace("&iss=", "&iss=http%3A%2F%2Fevil.example&x="),
        lambda good: good[: good.index("&iss=")],
        lambda good: good.replace("code=", "x="),
        lambda good: good.replace("code=", "error=access_denied&x="),
    ]
    for change in spoil:
        person = doorward.agent()
        at_provider = person.open(doorward.url + "/", follow=False).location
        url = change(person.open(at_provider, follow=False).location)
        page = person.open(url)
        assert page.status in {400, 403}, url
        assert page.url.startswith(base)
        assert "Request <code>" in page.text, url
    assert script.calls("/token") == []


def test_a_callback_counts_once(doorward: Doorward, script: ScriptedProvider) -> None:
    """S01, S11: the state can't be used a second time, by nobody."""
    person = doorward.agent()
    at_provider = person.open(doorward.url + "/", follow=False).location
    callback = person.open(at_provider, follow=False).location
    twin, stranger = person.clone(), doorward.agent()
    assert person.open(callback).status == 200
    script.forget()

    again = twin.open(callback, follow=False)
    foreign = stranger.open(callback, follow=False)

    assert script.calls("/token") == []
    assert again.status in {302, 400, 403}
    assert foreign.status in {302, 400, 403}
    for page in (again, foreign):
        assert not any("max-age=4" in c.lower() for c in page.headers.get_list("set-cookie"))
