from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from sidecar.core.decision import Flow, Respond
from sidecar.core.effects import LoadMetadata
from sidecar.core.errors import ProviderUnavailable
from sidecar.core.flows import login
from sidecar.core.flows.call import Call
from tests.core.flows.flowsetup import Browser, location, page_of, setup
from tests.core.gatesetup import NOW, head, provider


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def header(respond: Respond, name: bytes) -> list[bytes]:
    return [value for key, value in respond.response.headers if key == name]


def test_a_navigation_goes_to_the_provider_with_all_that_protects_it() -> None:
    """S01-S03: A1: code, S256, state and nonce, and the state's other half in a cookie of this browser."""
    browser = setup()

    respond = browser.get("/app/x?y=1")

    assert respond.response.status == 302
    url = location(respond)
    asked = query(url)
    assert url.startswith("https://id.example.com/authorize?")
    assert asked["response_type"] == "code"
    assert asked["client_id"] == "app"
    assert asked["redirect_uri"] == "https://app.example.com/oauth2/callback"
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert len(asked["nonce"]) >= 22
    assert asked["state"]
    assert len(browser.cookies) == 1
    assert respond.note.reason == "login_started"


def test_nothing_keeps_the_redirect() -> None:
    """S11: no cache, no Referer."""
    respond = setup().get("/app/")

    assert header(respond, b"Cache-Control") == [b"no-store"]
    assert header(respond, b"Referrer-Policy") == [b"no-referrer"]


def test_no_two_logins_share_anything() -> None:
    """S02: state, nonce and challenge are fresh each time."""
    browser = setup()

    first, second = query(browser.begin()), query(browser.begin())

    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]


def test_the_metadata_is_asked_for_before_anything_is_set() -> None:
    """D3: a provider that is down leaves no cookie behind."""
    browser = setup()
    browser.op.unavailable = ProviderUnavailable("provider_unreachable")

    respond = browser.get("/app/")

    assert respond.response.status == 502
    assert respond.note.reason == "provider_unavailable"
    assert browser.set_cookies == []


def test_a_provider_that_is_too_slow_is_a_gateway_timeout() -> None:
    browser = setup()
    browser.op.unavailable = ProviderUnavailable("provider_timeout")

    assert browser.get("/app/").response.status == 504


def test_a_login_by_hand() -> None:
    """The steps are a generator: a test drives it without a loop."""
    world = setup().world
    call = Call(
        runtime=world.runtime,
        site=world.sites[0],
        state=world.state,
        head=head(b"/app/"),
        now=NOW,
        path="/app/",
        query=b"",
        cookies=(),
        client_ip="192.0.2.7",
    )
    flow = login.begin(call, "/app/")

    assert next(flow.steps) == LoadMetadata(provider=world.sites[0].providers["main"])
    with pytest.raises(ProviderUnavailable):
        flow.steps.throw(ProviderUnavailable("provider_timeout"))


class TestRequests:
    """S37, S38: who gets a redirect, and who is told."""

    def test_a_script_is_told_where_to_sign_in_and_gets_no_cookie(self) -> None:
        """S37: 401 with a JSON body, no state cookie."""
        browser = setup()

        respond = browser.send(b"GET", "/app/", ((b"Sec-Fetch-Mode", b"cors"), (b"Sec-Fetch-Dest", b"empty")))

        assert isinstance(respond, Respond)
        assert respond.response.status == 401
        assert browser.set_cookies == []

    def test_a_post_after_the_callback_is_redirected_with_303(self) -> None:
        """S12: a form is never sent on to another place."""
        browser = setup(provider(response_mode="form_post"))
        form = dict(parse_qsl(browser.op.authorize(browser.begin())))
        browser.cookies.clear()

        respond = browser.post("/oauth2/callback", form, (b"Sec-Fetch-Site", b"cross-site"))

        assert respond.response.status == 303
        assert location(respond).startswith("https://id.example.com/authorize?")


class TestStart:
    def test_it_leads_back_to_rd(self) -> None:
        browser = setup()

        started = browser.get("/oauth2/start?rd=" + quote("/app/a?b=c&d=%2F#frag", safe=""))

        assert location(browser.come_back(browser.op.authorize(location(started)))) == "/app/a?b=c&d=%2F#frag"

    @pytest.mark.parametrize(
        "rd", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
    )
    def test_a_foreign_target_becomes_the_root(self, rd: str) -> None:
        """S08: no open redirector."""
        browser = setup()

        started = browser.get("/oauth2/start?rd=" + quote(rd, safe=""))

        assert location(browser.come_back(browser.op.authorize(location(started)))) == "/"

    @pytest.mark.parametrize(
        "target", ["/oauth2/start?rd=/a&rd=/b", "/oauth2/start?provider=none", "/oauth2/start?rd=%ff"]
    )
    def test_a_malformed_query_is_refused(self, target: str) -> None:
        """S17: rd twice."""
        assert setup().get(target).response.status == 400

    @pytest.mark.parametrize("method", [b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"])
    def test_other_methods_are_refused(self, method: bytes) -> None:
        respond = setup().send(method, "/oauth2/start")

        assert isinstance(respond, Respond)
        assert respond.response.status == 405
        assert header(respond, b"Allow") == [b"GET"]

    def test_listed_parameters_go_along(self) -> None:
        browser = setup(provider(forwarded_params=frozenset({"login_hint"})))

        asked = query(location(browser.get("/oauth2/start?login_hint=a%40b&prompt=none&state=x")))

        assert asked["login_hint"] == "a@b"
        assert "prompt" not in asked

    def test_a_listed_parameter_that_is_there_twice_does_not(self) -> None:
        browser = setup(provider(forwarded_params=frozenset({"login_hint"})))

        assert "login_hint" not in query(location(browser.get("/oauth2/start?login_hint=a&login_hint=b")))


class TestChoice:
    """Several providers, or a site that wants its page shown first."""

    TWO = (
        provider("a", display_name="A", redirect_path="/oauth2/callback/a"),
        provider("b", redirect_path="/oauth2/callback/b"),
    )

    def test_with_several_providers_the_page_offers_them(self) -> None:
        browser = setup(*self.TWO)

        respond = browser.get("/app/x?y=1")

        assert location(respond) == "/oauth2/sign_in?rd=%2Fapp%2Fx%3Fy%3D1"
        name, values = page_of(browser.get(location(respond)))
        assert name == "sign_in"
        assert [each["url"] for each in values["providers"]] == [
            "/oauth2/start?provider=a&rd=%2Fapp%2Fx%3Fy%3D1",
            "/oauth2/start?provider=b&rd=%2Fapp%2Fx%3Fy%3D1",
        ]

    def test_each_provider_has_its_own_callback(self) -> None:
        """S06, S18: distinct redirect URIs."""
        browser = setup(*self.TWO)

        asked = [query(location(browser.get(f"/oauth2/start?provider={key}&rd=/app/"))) for key in "ab"]

        assert [each["redirect_uri"] for each in asked] == [
            "https://app.example.com/oauth2/callback/a",
            "https://app.example.com/oauth2/callback/b",
        ]

    def test_a_start_without_a_choice_shows_the_page(self) -> None:
        assert location(setup(*self.TWO).get("/oauth2/start?rd=/app/")) == "/oauth2/sign_in?rd=%2Fapp%2F"

    def test_a_site_may_show_its_page_first(self) -> None:
        browser = setup(sign_in="page")

        assert location(browser.get("/app/")) == "/oauth2/sign_in?rd=%2Fapp%2F"
        _, values = page_of(browser.get("/oauth2/sign_in?rd=%2Fapp%2F"))
        assert values["keeps_fragment"] is True
        assert location(browser.get(values["providers"][0]["url"])).startswith("https://id.example.com/")

    @pytest.mark.parametrize("rd", ["https://evil.example/", "//evil.example"])
    def test_the_page_leads_to_no_foreign_target(self, rd: str) -> None:
        """S08: also not by way of the sign-in page."""
        _, values = page_of(setup().get("/oauth2/sign_in?rd=" + quote(rd, safe="")))

        assert values["return_to"] == "/"
        assert "evil" not in str(values)


class TestCircle:
    """A browser that comes back without its cookie three times gets a page that explains."""

    def test_a_browser_that_keeps_no_cookies_ends_at_a_page(self) -> None:
        browser = setup()
        url = browser.begin()
        seen: list[Any] = []

        while not seen and browser.world.now < NOW + 10:
            browser.cookies.clear()
            respond = browser.come_back(browser.op.authorize(url))
            if respond.response.page is not None:
                seen.append(respond)
            else:
                url = location(respond)
            browser.world.now += 1

        assert page_of(seen[0]) == ("login_loop", {"start_url": "/oauth2/start?rd=%2Fapp%2Fx%3Fy%3D1"})
        assert seen[0].response.status == 400
        assert browser.world.now == NOW + 3
        assert browser.op.token_forms == []

    def test_a_browser_that_drops_only_the_session_ends_at_a_page_too(self) -> None:
        browser = setup()
        rounds = 1
        respond = browser.get("/app/")

        while respond.response.page is None and rounds < 10:
            browser.come_back(browser.op.authorize(location(respond)))
            browser.cookies = {name: v for name, v in browser.cookies.items() if b"doorward" not in name}
            respond = browser.get("/app/")
            rounds += 1

        assert page_of(respond)[0] == "login_loop"
        assert rounds == 4


def test_a_flow_knows_its_request() -> None:
    browser: Browser = setup()

    decision = browser.world.decide(head(b"/app/", (b"Sec-Fetch-Mode", b"navigate")))

    assert isinstance(decision, Flow)
    assert decision.name == "login"
    decision.steps.close()
