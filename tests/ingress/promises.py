"""What every ingress with Doorward promises. `class TestNginx(IngressPromises)` holds one against it.

The class is collected only where a subclass whose name begins with Test names its `ingress`. All tests of a
class share one world, so each begins by forgetting what the application has received.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

import pytest
from websockets.exceptions import InvalidStatus

from tests.blackbox.chromium import new_person, received_by_application
from tests.blackbox.refreshing import sign_in_with_due_refresh
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.websocket import open_websocket
from tests.ingress.harness import IDENTITY, Ingress, World, folded

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["IngressPromises"]

FORGED = "mallory"
# No address of an ingress, as config/ingress/doorward.yaml has them.
CLIENT = "127.0.0.2"
# Random, so that no compression helps; many enough for several cookies.
SIXTY = [secrets.token_hex(40) for _ in range(60)]
FOUR_HUNDRED = [f"department-{number:03}-{secrets.token_hex(8)}" for number in range(400)]
SPELLINGS = (
    "X-Auth-Request-User",
    "x-auth-request-user",
    "X_Auth_Request_User",
    "X-Auth_Request-User",
    "X.Auth.Request.User",
    "X-Auth-Request.User",
)
# Told to a proxy behind another one; here every one of them is a stranger's invention.
INVENTED = (
    {"X-Forwarded-Uri": "/public/x"},
    {"X-Original-URI": "/public/x"},
    {"X-Original-URL": "/public/x"},
    {"X-Original-Url": "http://app.localhost/public/x"},
    {"X-Rewrite-URL": "/public/x"},
    {"X-Envoy-Original-Path": "/public/x"},
    {"X_Forwarded_Uri": "/public/x"},
    {"X-Forwarded-Method": "OPTIONS", "X-Original-Method": "OPTIONS"},
    {"X-HTTP-Method-Override": "GET"},
    {"X-Forwarded-Host": "evil.example"},
    {"X-Forwarded-Host": "app.localhost@evil.example"},
    {"X-Forwarded-Proto": "gopher"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1;host=evil.example"},
    {"Connection": "close, X-Forwarded-Uri, X-Original-URI, X-Original-URL, Cookie"},
)
DISGUISED = (
    "/public/../admin/x",
    "/public/%2e%2e/admin/x",
    "/public/..%2fadmin/x",
    "/public/..%2Fadmin%2Fx",
    "/public/..;/admin/x",
    "/public/..%5cadmin/x",
    "/public//../admin/x",
    "//admin/x",
    "/./admin/x",
    "/public/%252e%252e/admin/x",
    "/%61dmin/x",
    "/admin;y=1/x",
    "/public/%2e%2e%2fadmin/x?/public/x",
    "http://app.localhost/admin/x",
)
OWN = (
    "/oauth2/auth",
    "/oauth2/auth/",
    "/oauth2/auth?allowed_groups=staff",
    "/oauth2/auth/nginx",
    "/oauth2/auth/envoy/public/x",
    "/oauth2/%61uth",
    "/oauth2//auth",
    "/oauth2/./auth",
    "/oauth2/x/../auth",
    "//oauth2/auth",
    "/oauth2/auth%2fnginx",
)
PATHS = ("/x", "/public/x", "/admin/x")
NAVIGATION = {
    "Accept": "text/html",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "none",
}


class OtherFieldsPromises:
    """What holds with the preset `authorization-username-email` set on both sides, as each page describes.

    `passes_empty_fields`: a field that Doorward leaves empty reaches the application empty.
    """

    passes_empty_fields: ClassVar[bool] = False

    def test_the_application_gets_authorization_username_and_email(
        self, world: World, script: ScriptedProvider
    ) -> None:
        """S44: and nothing of what a browser says under these names, on a public path either."""
        person = world.signed_in()
        forged = {"Authorization": f"Bearer {FORGED}", "Username": FORGED, "Email": FORGED}

        assert world.raw("/mine", person=person, headers=forged).status == 200
        assert world.raw("/public/mine", headers=forged).status == 200

        mine, public = world.application.last("/mine"), world.application.last("/public/mine")
        (token,) = mine.values("Authorization")
        assert token.startswith("Bearer ey")
        assert (mine.values("Username"), mine.values("Email")) == (["ann"], ["ann@example.com"])
        told = [public.values(name) for name in forged]
        if self.passes_empty_fields:
            told = [[value for value in values if value] for values in told]
        assert told == [[], [], []]


class IngressPromises:
    """The promises. A promise that an ingress can't hold is one of its `limits`, and then fails closed."""

    ingress: ClassVar[Ingress]
    pytestmark = pytest.mark.slow

    @pytest.fixture(autouse=True)
    def _fresh(self, world: World, script: ScriptedProvider) -> None:
        world.application.forget()

    # --- signing in ---

    def test_a_person_signs_in_and_comes_back_to_the_exact_url(self, world: World, browser: Browser) -> None:
        """A1: in Chromium; a script of the page that has no session is told 401, in JSON that it can read."""
        url = world.url + "/page/reports?year=2026&q=a%2Fb&r=1+1"
        with new_person(browser, world.doorward) as context:
            page = context.new_page()
            page.goto(url)

            assert page.url == url
            received = received_by_application(page)
            assert received["target"] == "/page/reports?year=2026&q=a%2Fb&r=1+1"
            assert received["fields"]["x-auth-request-user"] == "ann"
            assert received["fields"]["x-auth-request-email"] == "ann@example.com"
            assert received["fields"]["x-auth-request-groups"] == "staff"

            context.clear_cookies()
            told = page.evaluate(
                "fetch('/api/items', {method: 'POST', body: '{}'}).then(async r =>"
                " ({status: r.status, redirected: r.redirected, body: await r.json()}))"
            )
            assert (told["status"], told["redirected"]) == (401, False)
            assert told["body"]["error"] == "login_required"
            page.goto(told["body"]["login_url"])
            page.wait_for_url(url)

    def test_two_tabs_at_once_both_come_back(self, world: World) -> None:
        """S37: in today's recipes the first to finish wins, and both end in 403."""
        person = world.agent()
        urls = [f"{world.url}/tab{number}?a=1&b={number}" for number in range(2)]
        begun = [person.open(url, follow=False) for url in urls]

        ends = [person.open(page.location) for page in begun]

        assert [(page.status, page.url) for page in ends] == [(200, url) for url in urls]

    def test_whom_the_rules_refuse_is_told_403(self, world: World) -> None:
        person = world.signed_in()
        world.application.forget()

        page = person.open(world.url + "/admin/users")
        told = person.fetch(world.url + "/admin/users")

        assert page.status == told.status == 403
        assert "ann@example.com" in page.text
        assert told.json()["error"]
        assert world.application.received == []

    def test_whom_the_rules_admit_gets_there(self, world: World) -> None:
        person = world.signed_in(groups=["admins", "staff"])

        assert person.open(world.url + "/admin/users").status == 200

        received = world.application.last("/admin/users")
        assert received.values("X-Auth-Request-Groups") == ["admins,staff"]

    def test_a_script_without_a_session_gets_401_and_no_redirect(self, world: World) -> None:
        """S38: in today's recipes every 401 becomes a redirect, which fetch reports as a CORS error."""
        stranger = world.agent()

        for method in ("GET", "POST", "PUT", "DELETE"):
            told = stranger.fetch(world.url + "/api/x", method, content=b"" if method == "POST" else None)

            assert told.status == 401
            assert "location" not in told.headers
            assert len(told.headers.get_list("www-authenticate")) == 1
            assert told.json()["login_url"].startswith(world.url + "/oauth2/")
        assert world.application.received == []
        assert stranger.jar == {}

    def test_a_form_without_a_session_is_not_lost_silently(self, world: World) -> None:
        person = world.signed_in("/page/form")
        page = person.open(world.url + "/page/form")
        person.jar.clear()
        world.application.forget()

        answer = person.submit(page, {"text": "a long letter"}, follow=False)

        assert answer.status == 401
        assert "not saved" in answer.text
        assert world.application.received == []

    def test_a_public_path_passes_without_a_session_and_without_an_identity(self, world: World) -> None:
        """S44: what the browser calls itself is gone."""
        invented = dict.fromkeys(IDENTITY, FORGED)

        assert world.agent().fetch(world.url + "/public/x", headers=invented).status == 200

        received = world.application.last("/public/x")
        assert [value for name in IDENTITY for value in folded(received, name) if value] == []

    def test_signing_out_ends_every_copy_of_the_cookie(self, world: World) -> None:
        """A10: in today's recipe the sign-out redirects to itself, and a copied cookie goes on working."""
        person = world.signed_in()
        thief = person.clone()
        assert thief.fetch(world.url + "/x").status == 200

        page = person.submit(person.open(world.url + "/oauth2/sign_out"))

        assert page.url.startswith(world.url + "/oauth2/sign_out/return")
        assert world.session_cookies(person) == []
        assert thief.fetch(world.url + "/x").status == 401

    def test_two_people_at_once_are_never_mixed_up(self, world: World) -> None:
        """S26: over connections that the ingress keeps open."""
        people = {
            name: world.signed_in(sub=name, preferred_username=name, email=f"{name}@example.com")
            for name in ("ann", "ben")
        }

        def ask(name: str) -> list[str]:
            fields = json.loads(world.raw("/who", person=people[name]).body)["headers"]
            return [value for field, value in fields if field.lower() == "x-auth-request-user"]

        names = [*people] * 20
        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(ask, names))

        assert told == [[name] for name in names]

    # --- WebSockets ---

    def test_a_websocket_passes_with_a_session(self, world: World) -> None:
        """D4: and the application is told who it is."""
        cookie = world.signed_in().cookie_header(world.url)

        with open_websocket(world.url + "/ws/echo?a=1", cookie=cookie) as socket:
            socket.send("hello")
            assert socket.recv(timeout=10) == "hello"
            socket.send("headers")
            told = json.loads(socket.recv(timeout=10))

        assert told["path"] == "/ws/echo?a=1"
        assert {name.lower(): value for name, value in told["headers"]}["x-auth-request-user"] == "ann"

    def test_a_websocket_without_a_session_is_refused(self, world: World) -> None:
        with pytest.raises(InvalidStatus) as refused:
            open_websocket(world.url + "/ws/echo").close()

        assert refused.value.response.status_code == 401
        assert world.application.received == []

    def test_a_websocket_of_another_origin_is_refused(self, world: World) -> None:
        """S39: browsers let any page open one, with our cookie."""
        cookie = world.signed_in().cookie_header(world.url)
        world.application.forget()

        with pytest.raises(InvalidStatus) as refused:
            open_websocket(world.url + "/ws/echo", cookie=cookie, origin="http://evil.localhost").close()

        assert refused.value.response.status_code == 403
        assert world.application.received == []

    def test_a_form_of_another_origin_is_refused(self, world: World) -> None:
        """S39: though its cookie came along."""
        person = world.signed_in()
        world.application.forget()
        origin = {"Origin": "http://evil.localhost", "Sec-Fetch-Site": "same-site"}

        told = world.raw("/transfer", "POST", person=person, headers={**origin, "Content-Length": "0"})

        assert told.status == 403
        assert world.application.received == []

    # --- attacks ---

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_nobody_can_say_who_he_is(self, world: World, spelling: str) -> None:
        """S41, S42, S43: signed in or not."""
        invented = {spelling: FORGED}
        person = world.signed_in()

        world.raw("/mine", person=person, headers=invented)
        world.raw("/public/mine", headers=invented)

        for path, users in (("/mine", ["ann"]), ("/public/mine", [])):
            for received in world.application.requests(path):
                assert [value for value in folded(received, "X-Auth-Request-User") if value] == users

    def test_a_connection_field_takes_no_identity_away(self, world: World) -> None:
        """S45: in today's recipe for Caddy it does."""
        person = world.signed_in()
        named = {"Connection": f"close, {', '.join(IDENTITY)}", **dict.fromkeys(IDENTITY, FORGED)}

        world.raw("/mine", person=person, headers=named)

        for received in world.application.requests("/mine"):
            assert [folded(received, name) for name in IDENTITY] == [["ann"], ["ann@example.com"], ["staff"]]

    @pytest.mark.parametrize("invented", INVENTED, ids=",".join)
    def test_what_a_stranger_says_of_the_request_opens_nothing(
        self, world: World, invented: dict[str, str]
    ) -> None:
        """S48, S49, S50."""
        person = world.signed_in()
        world.application.forget()

        stranger = world.raw("/private", headers=invented)
        navigation = world.raw("/private", headers={**NAVIGATION, **invented})
        refused = world.raw("/admin/x", person=person, headers=invented)
        forged = world.raw("/x", "POST", headers={**invented, "Content-Length": "0"})

        assert stranger.status in {400, 401, 403}
        assert navigation.status in {302, 400, 403}
        assert "evil" not in navigation.headers.get("Location", "")
        assert refused.status in {400, 401, 403}
        assert forged.status in {400, 401, 403}
        assert world.application.received == []

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
    def test_nobody_can_say_where_he_comes_from(self, world: World) -> None:
        """S48: Doorward is told the address that the ingress saw; rules may name it."""
        claimed = "203.0.113.9"
        invented = dict.fromkeys(
            ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Envoy-External-Address"), claimed
        )

        world.raw("/from-elsewhere", headers={**invented, "Forwarded": f"for={claimed}"}, source=CLIENT)

        assert world.doorward.request_line(client=CLIENT)
        assert claimed not in {line.get("client") for line in world.doorward.log_lines("request")}

    @pytest.mark.parametrize("target", DISGUISED)
    def test_a_path_in_disguise_opens_nothing(self, world: World, target: str) -> None:
        """S57: a prefix rule that sees the raw path opens /admin to /public/../admin."""
        person = world.signed_in()
        world.application.forget()

        answers = [world.raw(target), world.raw(target, person=person)]

        if (plain := world.ingress.resolves.get(target)) is not None:
            assert {received.target for received in world.application.received} == {plain}
            return
        assert all(answer.status in {400, 401, 403, 404} for answer in answers), answers
        assert world.application.received == []

    def test_a_target_with_another_host_reaches_nothing(self, world: World) -> None:
        """S49: whatever the ingress says to a host that it does not know."""
        person = world.signed_in()
        world.application.forget()

        for target in ("http://evil.example/public/x", "http://evil.example/x"):
            world.raw(target, person=person)

        assert world.application.received == []

    @pytest.mark.parametrize("target", OWN)
    def test_a_browser_does_not_reach_the_endpoint_that_the_ingress_asks(
        self, world: World, target: str
    ) -> None:
        """S75, S60."""
        person = world.signed_in()

        answer = world.raw(target, person=person, headers={"X-Original-URI": "/x", "X-Forwarded-Uri": "/x"})

        assert answer.status in {400, 403, 404}
        assert not any(name in answer.headers for name in IDENTITY)

    def test_what_doorward_tells_the_ingress_does_not_reach_the_browser(self, world: World) -> None:
        person = world.signed_in()

        answer = person.fetch(world.url + "/x")

        told = {name for name in answer.headers if name.startswith(("x-auth-request", "x-doorward"))}
        assert told == set()

    # --- what is large, and what is on the way ---

    def test_sixty_groups_in_several_cookies_arrive(self, world: World) -> None:
        """A12: default header buffers break here, behind nginx and HAProxy."""
        person = world.signed_in(groups=SIXTY)

        assert len(world.session_cookies(person)) > 1
        assert person.fetch(world.url + "/sixty").status == 200
        assert world.application.last("/sixty").values("X-Auth-Request-Groups") == [",".join(SIXTY)]

    def test_four_hundred_groups_arrive(self, world: World) -> None:
        """A12: and behind Caddy here."""
        world.provider.claims["groups"] = FOUR_HUNDRED
        person = world.agent()
        page = person.open(world.url + "/start-page")
        if world.ingress.is_limited("400 groups"):
            assert page.status != 200
            return

        assert page.status == 200
        assert person.fetch(world.url + "/all").status == 200
        assert world.application.last("/all").values("X-Auth-Request-Groups") == [",".join(FOUR_HUNDRED)]

    @pytest.mark.parametrize(
        "groups", [["staff"], SIXTY, FOUR_HUNDRED], ids=["one cookie", "several", "as many as there are"]
    )
    def test_a_refreshed_cookie_reaches_the_browser(self, world: World, groups: list[str]) -> None:
        """All chunks of it, and the application's own cookies beside them."""
        world.provider.claims["groups"] = groups
        person = sign_in_with_due_refresh(world.agent(), world.url + "/x", world.provider)
        before = {cookie.value for cookie in world.session_cookies(person)}

        answer = person.fetch(world.url + "/set-cookie?value=theme%3Ddark%3BMax-Age%3D9")

        assert answer.status == 200
        # Traefik writes the application's cookies anew, with blanks.
        told = [value.replace(" ", "") for value in answer.headers.get_list("set-cookie")]
        assert "theme=dark;Max-Age=9" in told
        after = {cookie.value for cookie in world.session_cookies(person)}
        is_limited = world.ingress.is_limited("refreshed cookie") or (
            len(groups) > 1 and world.ingress.is_limited("refreshed cookie in chunks")
        )
        if not is_limited:
            assert len(after) == len(before)
            assert not after & before
            assert person.fetch(world.url + "/again").status == 200
            assert world.application.last("/again").values("X-Auth-Request-User") == ["ann"]
        assert len(world.provider.calls("/token")) == 1

    def test_the_body_of_a_request_arrives_whole(self, world: World) -> None:
        """S50: with a length and without one."""
        person = world.signed_in()
        content = secrets.token_bytes(3 << 20)

        bodies: tuple[bytes | Iterator[bytes], ...] = (content, iter([content[:999], content[999:]]))
        for number, body in enumerate(bodies):
            told = person.fetch(f"{world.url}/upload{number}", "POST", content=body)

            assert told.status == 200
            assert told.json()["body_length"] == len(content)
            assert told.json()["body_sha256"] == hashlib.sha256(content).hexdigest()

    # --- Doorward is gone ---

    def test_without_doorward_nobody_passes(self, world: World) -> None:
        """A killed Doorward opens nothing, to nobody."""
        person = world.signed_in()
        world.application.forget()

        with world.doorward_killed():
            statuses = world.statuses([(path, who) for path in PATHS for who in (person, None)])

        assert all(status >= 400 for status in statuses), statuses
        assert world.application.received == []
        assert person.fetch(world.url + "/x").status == 200

    def test_with_a_hanging_doorward_nobody_passes(self, world: World) -> None:
        """Nor does one that accepts and says nothing; whoever asks is told so soon."""
        person = world.signed_in()
        world.application.forget()

        with world.doorward_hanging():
            statuses = world.statuses([(path, who) for path in PATHS for who in (person, None)])

        assert all(status >= 400 for status in statuses), statuses
        assert world.application.received == []
        assert person.fetch(world.url + "/x").status == 200
