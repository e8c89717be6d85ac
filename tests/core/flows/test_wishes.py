"""Where a request wants to lead back to, as ourselves and in oauth2-proxy's place."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Respond
from sidecar.core.errors import BadRequest
from sidecar.core.flows.call import Call
from sidecar.core.flows.wishes import read_wish
from sidecar.core.runtime import CookiePolicy
from tests.core.flows.flowsetup import Browser, location, page_of, setup
from tests.core.gatesetup import NAVIGATE, NOW, World, head, provider

HOST = "https://app.example.com"


def stand_in(**changes: object) -> Browser:
    browser = setup(**changes)
    browser.world.runtime = replace(browser.world.runtime, compat="oauth2-proxy")
    return browser


def returned_to(browser: Browser, target: str) -> str:
    """Log in by a link, and return where that leads."""
    return location(browser.come_back(browser.op.authorize(location(browser.get(target)))))


class TestUnescaped:
    """Recipes write `rd=$scheme://$host$request_uri`; oauth2-proxy loses all behind the first `&`."""

    @pytest.mark.parametrize(
        ("rd", "expected"),
        [
            (f"{HOST}/x?a=1&b=2", f"{HOST}/x?a=1&b=2"),
            (f"{HOST}/x?a=1&rd=/other&b=%26%20+", f"{HOST}/x?a=1&rd=/other&b=%26%20+"),
            (f"{HOST}/x?a=1&rd=/y?z&c=3", f"{HOST}/x?a=1&rd=/y?z&c=3"),
            (f"{HOST}/x?provider=none&cause=denied", f"{HOST}/x?provider=none&cause=denied"),
            ("/x?a=1&b=2", "/x?a=1&b=2"),
            # Escaped wholly or in part, as ever.
            ("https%3A%2F%2Fapp.example.com%2Fx%3Fa%3D1%26b%3D2", f"{HOST}/x?a=1&b=2"),
            (f"{HOST}%2Fx%3Fa%3D1%26b%3D2", f"{HOST}/x?a=1&b=2"),
            ("%2Fx%3Fa%3D1&other=2", "/x?a=1"),
            # No query of its own, but an escape that no decoded URL may hold.
            (f"{HOST}/a%20b", f"{HOST}/a%20b"),
            (f"{HOST}/a%0d%0aX&other=2", f"{HOST}/a%0d%0aX"),
            (f"{HOST}/plain", f"{HOST}/plain"),
            ("https://evil.example/x?a=1&b=2", "/"),
            ("//evil.example/x?a=1&b=2", "/"),
            ("/\\evil.example/x?a=1", "/"),
            ("", "/"),
        ],
    )
    def test_it_is_recovered_whole(self, rd: str, expected: str) -> None:
        assert returned_to(stand_in(), f"/oauth2/start?rd={rd}") == expected

    def test_a_name_that_only_ends_alike_is_another_parameter(self) -> None:
        assert (
            returned_to(stand_in(), f"/oauth2/start?wizard=/z?1&rd={HOST}/x?a=1&b=2") == f"{HOST}/x?a=1&b=2"
        )

    def test_two_are_one_too_many(self) -> None:
        """S17."""
        assert stand_in().get(f"/oauth2/start?rd=%2Fy&rd={HOST}/x?a=1").response.status == 400

    def test_what_stands_before_it_counts(self) -> None:
        one, two = (provider(key, redirect_path=f"/oauth2/callback/{key}") for key in ("one", "two"))
        browser = setup(one, two)
        browser.world.runtime = replace(browser.world.runtime, compat="oauth2-proxy")

        sent = dict(
            parse_qsl(urlsplit(location(browser.get("/oauth2/start?provider=two&rd=/x?provider=one"))).query)
        )

        assert sent["redirect_uri"].endswith("/two")

    def test_without_standing_in_it_is_read_by_the_rules(self) -> None:
        assert returned_to(setup(), f"/oauth2/start?rd={HOST}/x?a=1&b=2") == f"{HOST}/x?a=1"

    @given(query=st.binary(max_size=200).map(lambda tail: b"rd=" + tail))
    def test_no_query_is_more_than_a_bad_request(self, query: bytes) -> None:
        world = World()
        call = Call(
            runtime=replace(world.runtime, compat="oauth2-proxy"),
            site=world.sites[0],
            state=world.state,
            head=head(b"/oauth2/start"),
            now=NOW,
            path="/oauth2/start",
            query=query,
            cookies=(),
            client_ip="192.0.2.7",
        )
        try:
            read_wish(call)
        except BadRequest:
            return


class TestToldByAProxy:
    FIELD = (b"X-Auth-Request-Redirect", b"/x?a=1&b=2")

    def browser(self, *, is_trusted: bool, compat: bool = True) -> Browser:
        browser = stand_in() if compat else setup()
        proxies = (ip_network("192.0.2.0/24"),) if is_trusted else ()
        browser.world.runtime = replace(browser.world.runtime, trusted_proxies=proxies)
        return browser

    def returned_to(self, browser: Browser, target: str = "/oauth2/start") -> str:
        begun = location(browser.get(target, self.FIELD))
        return location(browser.come_back(browser.op.authorize(begun)))

    def test_a_trusted_one_is_believed(self) -> None:
        assert self.returned_to(self.browser(is_trusted=True)) == "/x?a=1&b=2"

    def test_anybody_else_is_not(self) -> None:
        assert self.returned_to(self.browser(is_trusted=False)) == "/"
        assert self.returned_to(self.browser(is_trusted=True, compat=False)) == "/"

    def test_rd_comes_first(self) -> None:
        assert self.returned_to(self.browser(is_trusted=True), "/oauth2/start?rd=/y") == "/y"


class TestSignInPage:
    """oauth2-proxy's nginx recipe: 302 to `/oauth2/sign_in?rd=$scheme://$host$request_uri`."""

    TARGET = f"/oauth2/sign_in?rd={HOST}/app/x?a=1&b=2"

    def test_with_one_provider_it_goes_there_at_once(self) -> None:
        assert returned_to(stand_in(), self.TARGET) == f"{HOST}/app/x?a=1&b=2"

    def test_it_ends_at_a_page_when_it_goes_round(self) -> None:
        browser = stand_in()
        for _ in range(3):
            returned_to(browser, self.TARGET)
            browser.cookies = {n: v for n, v in browser.cookies.items() if n.endswith(b".done")}

        assert page_of(browser.get(self.TARGET))[0] == "login_loop"

    @pytest.mark.parametrize("changes", [{"sign_in": "page"}, {}])
    def test_the_page_is_shown_where_the_site_wants_it_or_somebody_is_signed_in(
        self, changes: dict[str, object]
    ) -> None:
        """A recipe that sends the refused here too must not send them round."""
        browser = stand_in(**changes)
        if not changes:
            browser.log_in()

        name, values = page_of(browser.get(self.TARGET))

        assert name == "sign_in"
        assert values["return_to"] == f"{HOST}/app/x?a=1&b=2"

    def test_the_page_is_shown_where_we_do_not_stand_in(self) -> None:
        assert page_of(setup().get("/oauth2/sign_in?rd=/x"))[0] == "sign_in"


class TestRefused:
    """`cause=denied`: nobody has clicked on this start; it behaves as the page that was asked for would."""

    def test_the_loop_guard_counts(self) -> None:
        browser = setup()
        for _ in range(3):
            returned_to(browser, "/oauth2/start?rd=/app/&cause=denied")
            browser.cookies = {n: v for n, v in browser.cookies.items() if n.endswith(b".done")}

        assert page_of(browser.get("/oauth2/start?rd=/app/&cause=denied"))[0] == "login_loop"
        # A click means it.
        assert location(browser.get("/oauth2/start?rd=/app/")).startswith("https://id.example.com/")

    def test_the_page_is_shown_where_the_site_wants_it(self) -> None:
        browser = setup(sign_in="page")

        assert location(browser.get("/oauth2/start?rd=/app/&cause=denied")) == "/oauth2/sign_in?rd=%2Fapp%2F"
        assert location(browser.get("/oauth2/start?rd=/app/")).startswith("https://id.example.com/")

    def test_an_unknown_cause_is_a_click(self) -> None:
        browser = setup(sign_in="page")

        assert location(browser.get("/oauth2/start?rd=/&cause=other")).startswith("https://id.example.com/")


def test_an_auth_host_brings_back_to_the_host_that_was_asked_at() -> None:
    """One callback for all hosts below a domain: start at the auth host, back to the exact URL."""
    shared = CookiePolicy(
        session_name=b"__Secure-doorward",
        transaction_name=b"__Secure-login",
        secure=True,
        domain="example.com",
    )
    browser = setup(hosts=frozenset({"app.example.com", "app1.example.com"}), cookie=shared)
    app1 = replace(browser, host=b"app1.example.com")

    asked = location(app1.get("/app/x?y=1&z=%26"))
    assert app1.set_cookies == []
    assert asked.startswith("https://app.example.com/oauth2/start?")
    sent = location(browser.get(asked.removeprefix(HOST), (b"Sec-Fetch-Site", b"same-site")))
    back = browser.come_back(browser.op.authorize(sent))

    assert location(back) == "https://app1.example.com/app/x?y=1&z=%26"
    assert not isinstance(app1.send(b"GET", "/app/x", NAVIGATE), Respond)
