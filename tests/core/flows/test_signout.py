"""S36, S39: OpenID Connect RP-Initiated Logout 1.0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from sidecar.core.decision import Forward, Respond
from sidecar.core.errors import ProviderUnavailable
from sidecar.core.runtime import CookiePolicy, SessionPolicy
from tests.core.flows.flowsetup import Browser, location, page_of, setup
from tests.core.gatesetup import KEYS, NOW, provider
from tests.core.oidcsetup import claims, metadata_document


def signed_in(**changes: Any) -> Browser:
    browser = setup(provider(), **changes)
    browser.log_in()
    browser.events.clear()
    return browser


def token(browser: Browser, target: str = "/oauth2/sign_out") -> str:
    return str(page_of(browser.get(target))[1]["csrf_token"])


def sign_out(browser: Browser, target: str = "/oauth2/sign_out") -> Respond:
    return browser.post(target, {"csrf_token": token(browser)})


def logout_query(respond: Respond) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location(respond)).query))


def is_signed_in(browser: Browser) -> bool:
    return isinstance(browser.send(b"GET", "/app/"), Forward)


class TestAsking:
    def test_a_link_asks_and_signs_nobody_out(self) -> None:
        """S39: GET changes nothing."""
        browser = signed_in()

        name, shown = page_of(browser.get("/oauth2/sign_out"))

        assert name == "sign_out_confirm"
        assert shown["action"] == "/oauth2/sign_out"
        assert is_signed_in(browser)

    def test_the_form_may_lead_to_the_provider(self) -> None:
        """CSP form-action holds for the redirects that follow, too, and a provider may have several hosts."""
        page = signed_in().get("/oauth2/sign_out").response.page

        assert page is not None
        assert page.form_targets == ("https:",)

    def test_somebody_who_is_not_signed_in_is_told_so(self) -> None:
        browser = setup()
        browser.cookies[b"__Host-doorward"] = b"stale"

        assert page_of(browser.get("/oauth2/sign_out"))[0] == "signed_out"
        assert browser.cookies == {}

    @pytest.mark.parametrize("method", [b"HEAD", b"PUT", b"DELETE", b"OPTIONS"])
    def test_other_methods_are_refused(self, method: bytes) -> None:
        respond = signed_in().send(method, "/oauth2/sign_out")

        assert isinstance(respond, Respond)
        assert respond.response.status == 405


class TestSigningInAgain:
    def test_changing_places_quickly_is_no_circle_of_logins(self) -> None:
        """Three sign-outs within half a minute, and the fourth login still begins at the provider."""
        browser = signed_in()

        for _ in range(4):
            sign_out(browser)
            browser.log_in()

        assert is_signed_in(browser)


class TestForm:
    """S39: our own POST endpoints carry a token."""

    @pytest.mark.parametrize("form", ["", "csrf_token=", "csrf_token=x", "csrf_token=%ff", "other=x"])
    def test_without_the_token_it_asks_again(self, form: str) -> None:
        browser = signed_in()

        respond = browser.post("/oauth2/sign_out", form)

        assert respond.response.status in {400, 403}
        assert is_signed_in(browser)

    def test_another_sessions_token_is_none(self) -> None:
        browser = signed_in()
        other = Browser(browser.world, browser.op)
        other.log_in()

        respond = browser.post("/oauth2/sign_out", {"csrf_token": token(other)})

        assert respond.response.status == 403
        assert is_signed_in(browser)

    def test_an_old_token_is_none(self) -> None:
        browser = setup(provider(), session=SessionPolicy(keys=KEYS, idle_seconds=36000.0))
        browser.op.token_members = {"refresh_token": None}
        browser.log_in()
        old = token(browser)
        browser.world.now += 3601

        assert browser.post("/oauth2/sign_out", {"csrf_token": old}).response.status == 403
        assert is_signed_in(browser)

    def test_a_state_is_no_token(self) -> None:
        """S33: sealed for another purpose."""
        browser = signed_in()
        state = dict(parse_qsl(urlsplit(location(browser.get("/oauth2/start"))).query))["state"]

        assert browser.post("/oauth2/sign_out", {"csrf_token": state}).response.status == 403

    @pytest.mark.parametrize(
        "pairs",
        [
            ((b"Sec-Fetch-Site", b"cross-site"),),
            ((b"Sec-Fetch-Site", b"same-site"),),
            ((b"Origin", b"https://evil.example"),),
            ((b"Origin", b"null"), (b"Sec-Fetch-Site", b"cross-site")),
        ],
    )
    def test_a_request_from_elsewhere_is_refused_with_the_token_too(
        self, pairs: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        browser = signed_in()

        respond = browser.post("/oauth2/sign_out", {"csrf_token": token(browser)}, *pairs)

        assert respond.response.status == 403
        assert is_signed_in(browser)

    def test_our_own_page_sends_no_origin_for_it_says_no_referrer(self) -> None:
        """Fetch §3.2: under that policy a form's Origin is null; Sec-Fetch-Site tells where it comes from."""
        browser = signed_in()

        respond = browser.post("/oauth2/sign_out", {"csrf_token": token(browser)}, (b"Origin", b"null"))

        assert respond.response.status == 303


class TestSigningOut:
    def test_it_ends_here_and_goes_on_to_the_provider(self) -> None:
        """A10: cookie gone, browser sent to the provider with a registered return URL."""
        browser = signed_in()

        respond = sign_out(browser)

        assert respond.response.status == 303
        assert location(respond).startswith("https://id.example.com/logout?")
        asked = logout_query(respond)
        assert asked["client_id"] == "app"
        assert asked["post_logout_redirect_uri"] == "https://app.example.com/oauth2/sign_out/return"
        assert asked["id_token_hint"].count(".") == 2
        assert len(asked["state"]) == 22
        assert not browser.has_session
        assert [event.event for event in browser.events] == ["session_signed_out"]

    def test_every_copy_of_the_cookie_is_dead(self) -> None:
        """S36, A10: replaying the old cookie leads to a login, until its absolute end."""
        browser = signed_in()
        copy = Browser(browser.world, browser.op, cookies=dict(browser.cookies))

        sign_out(browser)

        assert not is_signed_in(copy)
        browser.world.now = NOW + 43_000
        assert not is_signed_in(copy)

    @pytest.mark.parametrize("query", ["rd=/a&rd=/b", "rd=%ff", "rd=%C0%AF"])
    def test_a_wish_that_cant_be_read_leaves_nothing_half_done(self, query: str) -> None:
        """S36: revoked, cleared and signed out at the provider, whatever the URL says besides."""
        browser = signed_in()

        respond = sign_out(browser, f"/oauth2/sign_out?{query}")

        assert respond.response.status == 303
        assert "id_token_hint" in logout_query(respond)
        assert not is_signed_in(browser)

    def test_without_an_endpoint_it_is_over_here(self) -> None:
        browser = signed_in()
        browser.op.document = metadata_document(end_session_endpoint=None)

        respond = sign_out(browser)

        assert page_of(respond)[0] == "signed_out"
        assert not browser.has_session

    def test_a_provider_that_is_down_changes_nothing(self) -> None:
        browser = signed_in()
        form = token(browser)
        browser.op.unavailable = ProviderUnavailable("provider_timeout")

        respond = browser.post("/oauth2/sign_out", {"csrf_token": form})

        assert page_of(respond)[0] == "signed_out"
        assert not is_signed_in(browser)

    def test_a_hint_that_is_too_long_is_left_out(self) -> None:
        browser = setup(provider())
        browser.op.id_claims = {"address": "x" * 8000}
        browser.log_in()

        asked = logout_query(sign_out(browser))

        assert "id_token_hint" not in asked
        assert asked["client_id"] == "app"

    def test_the_endpoint_keeps_its_own_query(self) -> None:
        browser = signed_in()
        browser.op.document = metadata_document(
            end_session_endpoint="https://id.example.com/logout?p=1&state=x"
        )

        asked = logout_query(sign_out(browser))

        assert asked["p"] == "1"
        assert asked["state"] != "x"

    def test_a_session_of_a_provider_that_is_gone_ends_here(self) -> None:
        browser = signed_in()
        moved = setup(provider("other"))
        moved.cookies = browser.cookies

        assert page_of(sign_out(moved))[0] == "signed_out"
        assert not moved.has_session

    def test_two_sign_outs_at_once_are_both_fine(self) -> None:
        browser = signed_in()
        form, copy = token(browser), dict(browser.cookies)
        browser.post("/oauth2/sign_out", {"csrf_token": form})
        browser.cookies = copy

        assert page_of(browser.post("/oauth2/sign_out", {"csrf_token": form}))[0] == "signed_out"


class TestReturning:
    def come_back(self, browser: Browser, query: str) -> Respond:
        return browser.get(f"/oauth2/sign_out/return{query}", (b"Sec-Fetch-Site", b"cross-site"))

    def test_the_right_state_leads_where_the_person_wanted(self) -> None:
        browser = signed_in()
        state = logout_query(sign_out(browser, "/oauth2/sign_out?rd=/public/bye"))["state"]

        respond = self.come_back(browser, f"?state={state}")

        assert location(respond) == "/public/bye"
        assert not [name for name in browser.cookies if name.endswith(b".out")]

    def test_without_a_wish_it_says_that_it_is_done(self) -> None:
        browser = signed_in()
        state = logout_query(sign_out(browser))["state"]

        assert page_of(self.come_back(browser, f"?state={state}"))[0] == "signed_out"

    @pytest.mark.parametrize("query", ["", "?state=", "?state=other", "?state=a&state=b", "?state=%ff"])
    def test_another_state_leads_nowhere(self, query: str) -> None:
        """S08: no state, another one, two of them: signed out all the same."""
        browser = signed_in()
        sign_out(browser, "/oauth2/sign_out?rd=/public/bye")

        assert page_of(self.come_back(browser, query))[0] == "signed_out"

    def test_another_browsers_state_leads_nowhere(self) -> None:
        browser = signed_in()
        state = logout_query(sign_out(browser, "/oauth2/sign_out?rd=/public/bye"))["state"]
        other = Browser(browser.world, browser.op)

        assert page_of(self.come_back(other, f"?state={state}"))[0] == "signed_out"

    def test_a_cookie_that_is_not_ours_leads_nowhere(self) -> None:
        browser = signed_in()
        browser.cookies = {b"__Host-login.out": b"AAAA", b"other": b"x"}

        assert page_of(self.come_back(browser, "?state=x"))[0] == "signed_out"

    def test_too_late_leads_nowhere(self) -> None:
        browser = signed_in()
        state = logout_query(sign_out(browser, "/oauth2/sign_out?rd=/public/bye"))["state"]
        browser.world.now += 601

        assert page_of(self.come_back(browser, f"?state={state}"))[0] == "signed_out"

    @pytest.mark.parametrize(
        "rd", ["https://evil.example/", "//evil.example", "%5C%5Cevil.example", "javascript:1"]
    )
    def test_a_foreign_target_becomes_the_root(self, rd: str) -> None:
        """S08, S62: checked when asked and when used."""
        browser = signed_in()
        state = logout_query(sign_out(browser, f"/oauth2/sign_out?rd={rd}"))["state"]

        assert location(self.come_back(browser, f"?state={state}")) == "/"

    def test_it_takes_get_only(self) -> None:
        assert signed_in().post("/oauth2/sign_out/return", "").response.status == 405

    def test_without_a_providers_part_the_wish_is_followed_at_once(self) -> None:
        browser = signed_in()
        browser.op.document = metadata_document(end_session_endpoint=None)

        assert location(sign_out(browser, "/oauth2/sign_out?rd=/public/bye")) == "/public/bye"


def test_the_kept_id_token_is_the_latest() -> None:
    browser = setup(provider())
    browser.log_in()
    browser.world.now = NOW + 250
    browser.op.id_claims = {"iat": NOW + 250, "exp": NOW + 600}
    browser.send(b"GET", "/app/")
    expected = browser.op.signer(claims(nonce=browser.op.nonce, iat=NOW + 250, exp=NOW + 600))

    assert logout_query(sign_out(browser))["id_token_hint"] == expected


def test_a_site_without_id_tokens_signs_out_without_a_hint() -> None:
    browser = setup(provider(), session=replace(SessionPolicy(keys=KEYS), keep_id_token=False))
    browser.log_in()

    assert "id_token_hint" not in logout_query(sign_out(browser))


HOSTS = frozenset({"app.example.com", "app1.example.com", "b.other"})
CROSS = (b"Sec-Fetch-Site", b"cross-site")
SHARED = CookiePolicy(
    session_name=b"__Secure-doorward",
    transaction_name=b"__Secure-login",
    secure=True,
    domain="example.com",
)


def target_at(url: str, host: str) -> str:
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", host), url
    return f"{parts.path}?{parts.query}"


class TestAnotherHost:
    """A provider knows one address to send a browser back to; who signed out elsewhere comes back there."""

    def two(self) -> tuple[Browser, Browser]:
        a = signed_in(hosts=HOSTS)
        b = a.at(b"b.other")
        given = a.get(target_at(location(b.get("/app/")), "app.example.com"), CROSS)
        b.get(target_at(location(given), "b.other"), CROSS)
        return a, b

    @pytest.mark.parametrize(("rd", "shown"), [("?rd=/public/bye", "/public/bye"), ("", None)])
    def test_the_browser_comes_back_by_public_url(self, rd: str, shown: str | None) -> None:
        a, b = self.two()

        asked = sign_out(b, f"/oauth2/sign_out{rd}")
        told = logout_query(asked)
        assert told["post_logout_redirect_uri"] == "https://app.example.com/oauth2/sign_out/return"
        assert not b.has_session
        by = a.get(f"/oauth2/sign_out/return?state={told['state']}", CROSS)
        assert not a.has_session
        back = b.get(target_at(location(by), "b.other"), CROSS)

        if shown is None:
            assert page_of(back)[0] == "signed_out"
        else:
            assert location(back) == shown
        assert b.cookies == {}

    def test_a_host_that_shares_the_cookie_too(self) -> None:
        browser = signed_in(hosts=HOSTS, cookie=SHARED)
        app1 = replace(browser, host=b"app1.example.com")

        told = logout_query(sign_out(app1, "/oauth2/sign_out?rd=/bye"))
        by = browser.get(f"/oauth2/sign_out/return?state={told['state']}", CROSS)
        back = app1.get(target_at(location(by), "app1.example.com"), CROSS)

        assert location(back) == "/bye"

    def test_somebody_elses_state_only_leads_to_the_page_that_says_it_is_done(self) -> None:
        """S62: a state leads to hosts of the site alone; where to from there is in the browser that asked."""
        a, b = self.two()
        told = logout_query(sign_out(b, "/oauth2/sign_out?rd=/public/bye"))
        stranger = a.at(b"app.example.com")

        by = stranger.get(f"/oauth2/sign_out/return?state={told['state']}", CROSS)
        back = stranger.at(b"b.other").get(target_at(location(by), "b.other"), CROSS)

        assert page_of(back)[0] == "signed_out"

    @pytest.mark.parametrize("hosts", [{"app.example.com"}, {"app.example.com", "b.other:8443"}])
    def test_a_host_that_is_gone_is_not_gone_to(self, hosts: set[str]) -> None:
        a, b = self.two()
        told = logout_query(sign_out(b))
        changed = replace(a.world.sites[0], hosts=frozenset(hosts))
        a.world.runtime = replace(a.world.runtime, sites=(changed,))

        assert page_of(a.get(f"/oauth2/sign_out/return?state={told['state']}", CROSS))[0] == "signed_out"

    def test_a_session_that_goes_on_at_public_url_keeps_its_cookie(self) -> None:
        """Somebody has signed in there anew meanwhile."""
        a, b = self.two()
        told = logout_query(sign_out(b))
        a.log_in()

        a.get(f"/oauth2/sign_out/return?state={told['state']}", CROSS)

        assert is_signed_in(a)


class TestStandingIn:
    """`compat: oauth2-proxy`: there a plain GET signs out. Here it does if it comes from the site."""

    def signed_in(self, **changes: Any) -> Browser:
        browser = signed_in(**changes)
        browser.world.runtime = replace(browser.world.runtime, compat="oauth2-proxy")
        return browser

    def ask(self, browser: Browser, target: str, *pairs: tuple[bytes, bytes]) -> Respond:
        respond = browser.send(b"GET", target, ((b"Accept", b"text/html"), *pairs))
        assert isinstance(respond, Respond)
        return respond

    @pytest.mark.parametrize(
        "pairs",
        [
            ((b"Sec-Fetch-Site", b"same-origin"),),
            ((b"Sec-Fetch-Site", b"same-site"),),
            ((b"Sec-Fetch-Site", b"none"),),
            ((b"Referer", b"https://app.example.com/app/x"),),
            ((b"Referer", b"https://app1.example.com/app/x"),),
            ((b"Origin", b"https://app.example.com"),),
        ],
    )
    def test_a_link_of_the_site_signs_out(self, pairs: tuple[tuple[bytes, bytes], ...]) -> None:
        browser = self.signed_in(hosts=HOSTS)

        respond = self.ask(browser, "/oauth2/sign_out?rd=/public/bye", *pairs)

        assert location(respond).startswith("https://id.example.com/logout?")
        assert not is_signed_in(browser)

    @pytest.mark.parametrize(
        "pairs",
        [
            (),
            ((b"Sec-Fetch-Site", b"cross-site"),),
            ((b"Sec-Fetch-Site", b"cross-site"), (b"Referer", b"https://app.example.com/")),
            ((b"Sec-Fetch-Site", b"same-origin"), (b"Sec-Fetch-Site", b"cross-site")),
            ((b"Referer", b"https://evil.example/app.example.com"),),
            ((b"Referer", b"https://app.example.com.evil.example/"),),
            ((b"Referer", b"http://app.example.com/"),),
            ((b"Referer", b""),),
            ((b"Origin", b"null"),),
            ((b"Origin", b"https://evil.example"), (b"Referer", b"https://app.example.com/")),
            # Fetched ahead, in case somebody clicks.
            ((b"Sec-Fetch-Site", b"same-origin"), (b"Sec-Purpose", b"prefetch;prerender")),
        ],
    )
    def test_a_link_of_anybody_else_asks(self, pairs: tuple[tuple[bytes, bytes], ...]) -> None:
        """S39: nobody is signed out from afar."""
        browser = self.signed_in()

        assert page_of(self.ask(browser, "/oauth2/sign_out", *pairs))[0] == "sign_out_confirm"
        assert is_signed_in(browser)

    def test_it_asks_where_we_do_not_stand_in(self) -> None:
        browser = signed_in()

        respond = self.ask(browser, "/oauth2/sign_out", (b"Sec-Fetch-Site", b"same-origin"))

        assert page_of(respond)[0] == "sign_out_confirm"

    def test_who_is_not_signed_in_goes_where_they_want(self) -> None:
        browser = self.signed_in()
        browser.cookies.clear()
        same = (b"Sec-Fetch-Site", b"same-origin")

        assert location(self.ask(browser, "/oauth2/sign_out?rd=/bye", same)) == "/bye"
        assert page_of(self.ask(browser, "/oauth2/sign_out", same))[0] == "signed_out"
        assert location(self.ask(browser, "/oauth2/sign_out?rd=https://evil.example/", same)) == "/"
