"""Sessions handed over to a host that shares no cookie with public_url's, and everybody who wants one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest

from sidecar.core.decision import Forward, Respond
from sidecar.core.entrance import site_at
from sidecar.core.flows.handoff import CODE_SECONDS
from sidecar.core.policy import Authenticated, Groups
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import CookiePolicy, ForwardAuthPolicy, SessionPolicy, Site
from sidecar.core.sessioncookie import read_session
from tests.core.flows.flowsetup import Browser, location, page_of, setup, site_with
from tests.core.gatesetup import KEYS, NAVIGATE, provider

HOSTS = frozenset({"app.example.com", "b.other", "c.other"})
SHARED = CookiePolicy(
    session_name=b"__Secure-doorward",
    transaction_name=b"__Secure-login",
    secure=True,
    domain="example.com",
)
CROSS = (b"Sec-Fetch-Site", b"cross-site")
TARGET = "/app/x?y=1&z=%26"


def person(*providers: Any, **changes: Any) -> tuple[Browser, Browser]:
    """Return one browser at public_url's host and at b.other."""
    a = setup(*providers, **{"hosts": HOSTS, **changes})
    return a, a.at(b"b.other")


def path_of(url: str, host: str) -> str:
    """Return the target of a URL that has to lead to `host`."""
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", host), url
    return f"{parts.path}?{parts.query}"


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def header(respond: Respond, name: bytes) -> list[bytes]:
    return [value for key, value in respond.response.headers if key == name]


def ask(b: Browser, target: str = TARGET) -> str:
    """Open a page at b.other without a session; return the target at public_url's host."""
    return path_of(location(b.get(target)), "app.example.com")


def code_for(a: Browser, request: str) -> str:
    """Ask public_url's host, where there is a session; return the target at b.other."""
    return path_of(location(a.get(request, CROSS)), "b.other")


def handed_over(a: Browser, b: Browser, target: str = TARGET) -> Respond:
    """Sign in at a.example and get the session at b.other."""
    if not a.has_session:
        a.log_in()
    return b.get(code_for(a, ask(b, target)), CROSS)


def session_at(browser: Browser) -> Any:
    world = browser.world
    of = site_at(world.sites[0], browser.host.decode())
    return read_session(of, world.state, tuple(browser.cookies.items()), world.now).session


def reconfigure(browser: Browser, *sites: Site) -> None:
    browser.world.sites = sites
    browser.world.runtime = replace(browser.world.runtime, sites=sites)


def codes(browser: Browser) -> list[object]:
    return browser.event_codes("handoff_refused")


class TestOneLoginForTwoHosts:
    def test_a_login_at_the_other_host_goes_by_public_url_and_comes_back_to_the_exact_url(self) -> None:
        """Nobody is signed in anywhere: one login, by the one callback that is registered."""
        a, b = person()

        request = ask(b)
        to_provider = location(a.get(request, CROSS))
        assert query(to_provider)["redirect_uri"] == "https://app.example.com/oauth2/callback"
        back = location(a.come_back(a.op.authorize(to_provider)))
        assert back == request
        taken = b.get(code_for(a, back), CROSS)

        assert taken.note.reason == "handoff_completed"
        assert location(taken) == TARGET
        assert isinstance(b.send(b"GET", TARGET, NAVIGATE), Forward)
        assert len(a.op.token_forms) == 1

    def test_somebody_who_is_signed_in_at_public_url_sees_no_provider(self) -> None:
        a, b = person()
        a.log_in()
        a.op.calls.clear()

        handed_over(a, b)

        assert isinstance(b.send(b"GET", TARGET, NAVIGATE), Forward)
        assert a.op.calls == []

    def test_it_is_the_same_session(self) -> None:
        a, b = person()
        handed_over(a, b)

        assert session_at(a).id == session_at(b).id
        assert session_at(a).absolute_end == session_at(b).absolute_end
        assert [event.event for event in b.events].count("session_handed_over") == 1

    def test_signing_out_at_one_host_ends_it_at_the_other(self) -> None:
        """S36: sign-out at b.other; the cookie of a.example is worth nothing."""
        a, b = person()
        handed_over(a, b)
        _, values = page_of(b.get("/oauth2/sign_out"))
        b.post("/oauth2/sign_out", {"csrf_token": values["csrf_token"]})

        assert not b.has_session
        assert a.has_session
        assert isinstance(a.send(b"GET", "/app/x", ((b"Accept", b"text/html"),)), Respond)

    def test_rules_hold_by_host(self) -> None:
        """A session that comes from another host is admitted where the rules of this one say so."""
        rules = RuleTable.build(
            (
                Rule(name="b", path="/**", hosts=("b.other",), allow=Groups(("nobody",))),
                Rule(name="a", path="/**", allow=Authenticated()),
            )
        )
        a, b = person(rules=rules)
        handed_over(a, b)

        denied = b.get(TARGET)
        assert denied.response.status == 403
        assert denied.note.rule == "b"
        assert isinstance(a.send(b"GET", TARGET, NAVIGATE), Forward)

    def test_tabs_at_once(self) -> None:
        """Ten tabs are opened, and each comes back to its own URL."""
        a, b = person()
        a.log_in()
        requests = [ask(b, f"/app/{n}") for n in range(10)]
        returns = [code_for(a, request) for request in requests]

        assert [location(b.get(each, CROSS)) for each in returns] == [f"/app/{n}" for n in range(10)]

    def test_a_long_url_comes_back_whole(self) -> None:
        """Even where the login in between has room for little."""
        for room in (500, 3000):
            a, b = person(provider(max_state_chars=room))
            target = "/app/x?" + "&".join(f"k{n}={n * 7919}" for n in range(120))

            request = ask(b, target)
            back = location(a.come_back(a.op.authorize(location(a.get(request, CROSS)))))
            assert back == request
            assert location(b.get(code_for(a, back), CROSS)) == target

    def test_a_click_on_start_hands_over_too(self) -> None:
        a, b = person()
        a.log_in()

        asked = location(b.get(f"/oauth2/start?rd={quote(TARGET, safe='')}"))

        assert location(b.get(code_for(a, path_of(asked, "app.example.com")), CROSS)) == TARGET

    def test_a_script_at_the_other_host_is_told_of_its_own_start(self) -> None:
        """S37: no cookie is set for a script; where it may send its browser is a place of this host."""
        _, b = person()
        referer = (b"Referer", b"https://b.other/app/page?x=1")

        told = b.send(
            b"GET", "/app/x", ((b"Sec-Fetch-Mode", b"cors"), (b"Sec-Fetch-Dest", b"empty"), referer)
        )

        assert isinstance(told, Respond)
        wanted = quote("https://b.other/app/page?x=1", safe="")
        assert f'"login_url":"https://b.other/oauth2/start?rd={wanted}"'.encode() in told.response.body
        assert b.set_cookies == []

    def test_the_provider_that_was_chosen_is_asked(self) -> None:
        """The choice, and what may go along to the provider, travel with the request."""
        staff = provider(
            "staff", redirect_path="/oauth2/callback/staff", forwarded_params=frozenset({"login_hint"})
        )
        guests = provider("guests", redirect_path="/oauth2/callback/guests", client_id="guests")
        a, b = person(staff, guests)

        asked = location(b.get("/oauth2/start?provider=staff&login_hint=ann&prompt=none"))
        sent = query(location(a.get(path_of(asked, "app.example.com"), CROSS)))

        assert sent["redirect_uri"].endswith("/callback/staff")
        assert sent["login_hint"] == "ann"
        assert "prompt" not in sent

    def test_with_several_providers_the_page_is_public_urls(self) -> None:
        providers = [provider(key, redirect_path=f"/oauth2/callback/{key}") for key in ("one", "two")]
        a, b = person(*providers)

        shown = a.get(ask(b), CROSS)

        assert shown.note.reason == "sign_in_page"
        assert location(shown).startswith("/oauth2/sign_in?rd=%2Foauth2%2Fhandoff%3Frequest")

    def test_a_session_that_is_due_is_refreshed_first(self) -> None:
        """The other host gets the new generation; the new cookie goes with the redirect."""
        a, b = person()
        a.log_in()
        request = ask(b)
        a.world.now += 290

        given = a.get(request, CROSS)
        assert a.op.token_forms[-1]["grant_type"] == "refresh_token"
        b.get(path_of(location(given), "b.other"), CROSS)

        assert session_at(a).generation == session_at(b).generation == 1

    def test_a_host_that_was_away_gets_the_refreshed_session_however_late(self) -> None:
        """One refresh token is used once, although two hosts have it: else the provider ends the login."""
        a, b = person()
        handed_over(a, b)
        a.world.now += 290
        a.send(b"GET", "/app/", NAVIGATE)

        assert a.kept_for[-1] == pytest.approx(43200 - 290)

    def test_activity_that_the_cookie_does_not_know_of_counts(self) -> None:
        """Somebody whose tunnel at public_url's host was busy until now is not idle at the other."""
        a, b = person(session=SessionPolicy(keys=KEYS, idle_seconds=100))
        a.log_in()
        a.world.now += 90
        a.world.state.sessions.touch(session_at(a).id, a.world.now)
        a.world.now += 20

        assert location(handed_over(a, b)) == TARGET


class TestCookies:
    def test_a_host_outside_of_the_domain_gets_cookies_of_its_own(self) -> None:
        """A browser takes no cookie for a domain that the host is not in."""
        a, b = person(cookie=SHARED)
        a.log_in()
        assert all(b"Domain=example.com" in value for value in a.set_cookies)

        request = ask(b)
        assert b.set_cookies
        assert not any(b"Domain" in value for value in b.set_cookies)
        b.get(code_for(a, request), CROSS)
        assert any(value.startswith(b"__Secure-doorward=") for value in b.set_cookies)
        assert not any(b"Domain" in value for value in b.set_cookies)
        assert isinstance(b.send(b"GET", TARGET, NAVIGATE), Forward)

    @pytest.mark.parametrize("cookie", [SHARED, None])
    def test_a_sessions_cookie_is_worth_nothing_at_another_host(self, cookie: CookiePolicy | None) -> None:
        """Behind an ingress each application sees the cookies of its host, and could use them elsewhere."""
        a, b = person(**({} if cookie is None else {"cookie": cookie}))
        a.log_in()
        c = b.at(b"c.other")
        for one in (b, c):
            given = location(a.get(ask(one), CROSS))
            one.get(path_of(given, one.host.decode()), CROSS)

        for host in (b"app.example.com", b"b.other", b"c.other"):
            for browser in (a, b, c):
                thief = browser.at(host)
                thief.cookies.update(browser.cookies)
                result = thief.send(b"GET", TARGET, NAVIGATE)
                assert isinstance(result, Forward) is (browser.host == host)

    def test_what_is_set_is_for_this_host_and_for_no_script(self) -> None:
        _, b = person()
        ask(b)

        (value,) = b.set_cookies
        assert b"Secure; HttpOnly; SameSite=Lax" in value
        assert value.startswith(b"__Host-login.")
        assert b"Domain" not in value

    def test_the_upstream_sees_none_of_them(self) -> None:
        """S40."""
        a, b = person()
        handed_over(a, b)
        ask(b.at(b"b.other"))

        forward = b.send(b"GET", TARGET, NAVIGATE)
        assert isinstance(forward, Forward)
        assert not [value for name, value in forward.kept if name == b"Cookie"]

    def test_the_cookie_of_the_request_is_gone_afterwards(self) -> None:
        a, b = person()
        handed_over(a, b)

        assert [name for name in b.cookies if name.startswith(b"__Host-login.")] == [b"__Host-login.done"]


class TestWhatTravels:
    def test_no_url_holds_more_than_a_one_time_code(self) -> None:
        a, b = person()
        a.log_in()
        session = session_at(a)
        request = ask(b)
        given = a.get(request, CROSS)

        assert query(location(given)).keys() == {"code"}
        for text in (request, location(given)):
            assert session.id not in text
            assert "access-1" not in text

    def test_nothing_keeps_or_passes_on_the_answers(self) -> None:
        """S11: no cache, no Referer."""
        a, b = person()
        a.log_in()
        asked = b.get(TARGET)
        given = a.get(path_of(location(asked), "app.example.com"), CROSS)
        taken = b.get(path_of(location(given), "b.other"), CROSS)

        for respond in (asked, given, taken):
            assert header(respond, b"Cache-Control") == [b"no-store"]
            assert header(respond, b"Referrer-Policy") == [b"no-referrer"]

    def test_what_is_put_aside_is_sealed_and_its_name_tells_nothing(self) -> None:
        """RFC 9700 §4.14: it goes over the supervisor's socket."""
        a, b = person()
        a.log_in()
        code = query(code_for(a, ask(b)))["code"]

        ((key, sealed),) = a.kept.items()
        assert code.encode() not in key
        assert session_at(a).id.encode() not in sealed
        assert b"refresh-1" not in sealed


def refused(respond: Respond, status: int) -> dict[str, Any]:
    """Return the values of the page that says no, with a link to try again."""
    assert respond.response.status == status
    assert respond.note.reason == "handoff_refused"
    name, values = page_of(respond)
    assert name == "error"
    assert values["retry_url"]
    return values


class TestWhoGetsNothing:
    def test_a_stolen_code_without_the_cookie(self) -> None:
        """Whoever reads the URL in a log or over a shoulder has nothing; who asked begins anew."""
        a, b = person()
        a.log_in()
        returned = code_for(a, ask(b))
        thief = b.at(b"b.other")

        refused(thief.get(returned, CROSS), 400)

        assert not thief.has_session
        assert codes(thief) == ["state_no_cookie"]
        refused(b.get(returned, CROSS), 400)
        assert location(b.get(code_for(a, ask(b)), CROSS)) == TARGET

    def test_a_code_that_was_shown_to_us_is_worth_nothing_to_who_made_the_request(self) -> None:
        """Somebody leads a person who is signed in here with a request of his own, and reads the code."""
        victim, b = person()
        victim.log_in()
        attacker = b.at(b"b.other")
        returned = code_for(victim, ask(attacker))

        refused(b.get(returned, CROSS), 400)
        refused(attacker.get(returned, CROSS), 400)

        assert codes(attacker) == ["state_no_cookie", "handoff_used"]
        assert not attacker.has_session

    def test_a_code_that_was_planted_in_anothers_browser(self) -> None:
        """Login CSRF: the victim began something at b.other too, but not what the attacker's code is for."""
        a, b = person()
        a.log_in()
        attackers = code_for(a, ask(b))
        victim = b.at(b"b.other")
        ask(victim)

        refused(victim.get(attackers, CROSS), 400)
        assert not victim.has_session

    def test_a_code_of_another_host(self) -> None:
        """The code is bound to the host that asked, whatever cookies somebody carries over."""
        a, b = person()
        a.log_in()
        returned = code_for(a, ask(b))
        c = b.at(b"c.other")
        c.cookies.update(b.cookies)

        refused(c.get(returned, CROSS), 403)
        assert codes(c) == ["handoff_elsewhere"]
        assert not c.has_session

    def test_a_code_at_public_urls_own_host(self) -> None:
        a, b = person()
        a.log_in()
        returned = code_for(a, ask(b))
        other = a.at(b"app.example.com")
        other.cookies.update(b.cookies)

        refused(other.get(returned, CROSS), 403)
        assert not other.has_session

    def test_a_code_that_is_used_twice(self) -> None:
        """With a copy of the cookie, too."""
        a, b = person()
        a.log_in()
        returned = code_for(a, ask(b))
        copy = b.at(b"b.other")
        copy.cookies.update(b.cookies)
        b.get(returned, CROSS)

        refused(copy.get(returned, CROSS), 400)
        assert codes(copy) == ["handoff_used"]
        assert not copy.has_session

    def test_two_codes_of_one_request(self) -> None:
        """Somebody reloads public_url's answer: the request is good for one session."""
        a, b = person()
        a.log_in()
        request = ask(b)
        first, second = code_for(a, request), code_for(a, request)
        copy = b.at(b"b.other")
        copy.cookies.update(b.cookies)
        b.get(first, CROSS)

        refused(copy.get(second, CROSS), 400)
        assert codes(copy) == ["handoff_used"]

    def test_who_reloads_the_return_is_led_on(self) -> None:
        """A session is here by now: no error for a person, and nothing is given twice."""
        a, b = person()
        a.log_in()
        returned = code_for(a, ask(b))
        b.get(returned, CROSS)

        again = b.get(returned, CROSS)
        assert location(again) == TARGET
        assert b.set_cookies == []

    @pytest.mark.parametrize(("seconds", "is_taken"), [(CODE_SECONDS - 1, True), (CODE_SECONDS, False)])
    def test_a_code_older_than_a_minute(self, seconds: float, *, is_taken: bool) -> None:
        """Even where the place that keeps it forgets to forget."""
        a, b = person()
        a.log_in()
        returned = code_for(a, ask(b))
        b.world.now += seconds

        taken = b.get(returned, CROSS)
        assert b.has_session is is_taken
        if not is_taken:
            refused(taken, 400)
            assert codes(b) == ["handoff_old"]

    def test_a_code_of_the_future(self) -> None:
        a, b = person()
        a.log_in()
        returned = code_for(a, ask(b))
        b.world.now -= 1

        refused(b.get(returned, CROSS), 400)

    @pytest.mark.parametrize("code", ["", "x", "A" * 43, "A" * 5000, "%00", "é", "a&code=b"])
    def test_a_code_that_nobody_gave(self, code: str) -> None:
        a, b = person()
        a.log_in()
        ask(b)

        respond = b.get("/oauth2/handoff/return?code=" + quote(code, safe="&=%"), CROSS)

        assert respond.response.status in {400, 403}
        assert respond.note.reason == "handoff_refused"
        assert not b.has_session
        assert b.kept == {}

    def test_a_session_that_was_revoked_between(self) -> None:
        """S36: signed out while the code was on its way."""
        a, b = person()
        a.log_in()
        returned = code_for(a, ask(b))
        _, values = page_of(a.get("/oauth2/sign_out"))
        a.post("/oauth2/sign_out", {"csrf_token": values["csrf_token"]})

        refused(b.get(returned, CROSS), 403)
        assert codes(b) == ["session_revoked"]
        assert not b.has_session

    def test_a_session_that_ends_between(self) -> None:
        a, b = person(session=SessionPolicy(keys=KEYS, absolute_seconds=30))
        a.log_in()
        returned = code_for(a, ask(b))
        b.world.now += 30

        refused(b.get(returned, CROSS), 403)
        assert codes(b) == ["session_expired"]

    def test_a_session_of_another_site(self) -> None:
        """Two sites with one key: neither takes what the other has put aside."""
        other = replace(site_with(hosts=frozenset({"d.example.com", "b.example"})), name="other")
        other = replace(other, public_url=replace(other.public_url, host="d.example.com"))
        a, b = person()
        reconfigure(a, *a.world.sites, other)
        a.log_in()
        returned = code_for(a, ask(b))
        elsewhere = b.at(b"b.example")
        elsewhere.cookies.update(b.cookies)

        refused(elsewhere.get(returned, CROSS), 403)
        assert codes(elsewhere) == ["sealed_invalid"]


class TestRequests:
    def test_one_that_was_tampered_with(self) -> None:
        a, b = person()
        a.log_in()
        request = query(ask(b))["request"]

        for wrong in (request[:-2] + "AA", request[:40], "", "x", request.upper(), "é"):
            respond = a.get(f"/oauth2/handoff?{urlencode({'request': wrong})}", CROSS)
            refused(respond, 403)
        assert set(codes(a)) == {"state_invalid"}
        assert a.kept == {}

    def test_the_state_of_a_login_is_none(self) -> None:
        """What goes to a provider, and to its logs, begins no hand-off, nor the other way round."""
        a, b = person()
        state = query(a.begin())["state"]
        a.log_in()
        refused(a.get(f"/oauth2/handoff?{urlencode({'request': state})}", CROSS), 403)

        request = query(ask(b))["request"]
        for browser in (a, b):
            answer = browser.come_back(urlencode({"code": "the-code", "state": request}))
            assert answer.note.reason == "login_failed"
        assert not b.has_session

    def test_one_that_is_too_old_begins_anew_where_it_came_from(self) -> None:
        a, b = person()
        request = ask(b)
        a.world.now += 3600

        values = refused(a.get(request, CROSS), 400)
        assert values["retry_url"] == f"https://b.other/oauth2/start?{urlencode({'rd': TARGET})}"

    def test_one_of_a_host_that_is_none_of_the_sites_any_more(self) -> None:
        """The configuration has changed: a host that was taken out gets no session."""
        a, b = person()
        a.log_in()
        request = ask(b)
        reconfigure(a, replace(a.world.sites[0], hosts=HOSTS - {"b.other"}))

        refused(a.get(request, CROSS), 403)
        assert a.kept == {}

    def test_one_that_is_asked_at_another_host_than_public_urls(self) -> None:
        a, b = person()
        handed_over(a, b)
        c = b.at(b"c.other")

        refused(b.get(ask(c), CROSS), 403)
        assert codes(b) == ["handoff_elsewhere"]

    @pytest.mark.parametrize("name", ["handoff", "handoff/return"])
    def test_only_get(self, name: str) -> None:
        a, _ = person()
        assert a.post(f"/oauth2/{name}", {}).response.status == 405

    @pytest.mark.parametrize(
        "wanted",
        [
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "https://b.other.evil.example/",
            "http://b.other/",
        ],
    )
    def test_it_leads_nowhere_else(self, wanted: str) -> None:
        """S62: an open redirect by return_to."""
        a, b = person()
        a.log_in()
        asked = location(b.get(f"/oauth2/start?{urlencode({'rd': wanted})}"))

        assert location(b.get(code_for(a, path_of(asked, "app.example.com")), CROSS)) == "/"

    def test_public_url_may_be_where_it_leads(self) -> None:
        """S62: the site's own hosts, with the scheme of public_url."""
        a, b = person()
        a.log_in()
        wanted = "https://c.other/x?y"
        asked = location(b.get(f"/oauth2/start?{urlencode({'rd': wanted})}"))

        assert location(b.get(code_for(a, path_of(asked, "app.example.com")), CROSS)) == wanted


class TestBehindAProxy:
    """One that rewrites Host, as some do: what the browser sees is in X-Forwarded-Host."""

    TOLD = (b"X-Forwarded-Host", b"app.example.com")

    @pytest.mark.parametrize("is_trusted", [True, False])
    def test_the_host_that_a_trusted_one_tells_counts(self, *, is_trusted: bool) -> None:
        """S48: anybody else's word is nothing."""
        _, inner = person()
        proxies = (ip_network("192.0.2.0/24"),) if is_trusted else ()
        inner.world.runtime = replace(inner.world.runtime, trusted_proxies=proxies)

        sent = location(inner.get(TARGET, self.TOLD))

        home = "https://id.example.com/authorize"
        assert sent.startswith(home if is_trusted else "https://app.example.com/oauth2/handoff?")

    def test_a_host_that_is_none_of_the_sites_is_not_taken(self) -> None:
        _, b = person()
        b.world.runtime = replace(b.world.runtime, trusted_proxies=(ip_network("192.0.2.0/24"),))

        sent = location(b.get(TARGET, (b"X-Forwarded-Host", b"evil.example")))

        assert sent.startswith("https://app.example.com/oauth2/handoff?")


class TestBehindAnIngress:
    """Forward auth: the ingress asks at any host, and sends the browser to where `start_location` says."""

    def ask(self, browser: Browser) -> Respond:
        fields = (
            (b"X-Original-Method", b"GET"),
            (b"X-Original-URI", TARGET.encode()),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Forwarded-For", b"192.0.2.9"),
        )
        asked = browser.send(b"GET", "/oauth2/auth/nginx", (*NAVIGATE, *fields))
        assert isinstance(asked, Respond)
        return asked

    def behind(self, a: Browser) -> None:
        callers = ForwardAuthPolicy(callers=(ip_network("192.0.2.7"),))
        a.world.runtime = replace(a.world.runtime, forward_auth=callers)

    def test_the_session_is_handed_over(self) -> None:
        a, b = person()
        self.behind(a)
        refusal = self.ask(b)
        assert refusal.response.status == 401
        start = path_of(location(refusal), "b.other")

        request = path_of(location(b.get(start)), "app.example.com")
        back = location(a.come_back(a.op.authorize(location(a.get(request, CROSS)))))
        taken = b.get(code_for(a, back), CROSS)

        assert location(taken) == TARGET
        assert self.ask(b).response.status == 200
        assert self.ask(a).response.status == 200

    def test_the_auth_host_brings_back(self) -> None:
        a, _ = person(hosts=HOSTS | {"app1.example.com"}, cookie=SHARED)
        self.behind(a)
        app1 = replace(a, host=b"app1.example.com")
        start = path_of(location(self.ask(app1)), "app.example.com")

        back = location(a.come_back(a.op.authorize(location(a.get(start)))))

        assert back == f"https://app1.example.com{TARGET}"
        assert self.ask(app1).response.status == 200


class TestNoCircle:
    def test_a_browser_that_keeps_no_cookies_at_the_other_host_ends_at_a_page(self) -> None:
        a, b = person()
        a.log_in()
        returned = code_for(a, ask(b))
        b.cookies.clear()

        refused(b.get(returned, CROSS), 400)

    def test_a_browser_that_keeps_one_cookie_but_not_the_sessions_ends_at_a_page(self) -> None:
        """Three in a row that came to nothing."""
        a, b = person()
        a.log_in()
        for _ in range(3):
            b.get(code_for(a, ask(b)), CROSS)
            b.cookies = {n: v for n, v in b.cookies.items() if not n.startswith(b"__Host-doorward")}

        assert page_of(b.get(TARGET))[0] == "login_loop"

    def test_a_browser_that_keeps_no_session_at_public_url_ends_at_a_page(self) -> None:
        a, b = person()
        target = path_of(location(b.get("/oauth2/start?rd=/app/")), "app.example.com")
        reasons = []
        for _ in range(5):
            respond = a.get(target, CROSS)
            reasons.append(respond.note.reason)
            if respond.note.reason == "login_started":
                target = location(a.come_back(a.op.authorize(location(respond))))
                a.cookies = {n: v for n, v in a.cookies.items() if not n.startswith(b"__Host-doorward")}

        assert reasons == ["login_started"] * 3 + ["login_loop"] * 2


def test_only_hosts_that_share_no_cookie_ask() -> None:
    """public_url's own host begins logins itself; `hosts` within the cookie's domain go there by start."""
    covered: Site = site_with(hosts=frozenset({"app.example.com", "app1.example.com"}), cookie=SHARED)
    browser = setup()
    reconfigure(browser, covered)

    at_home = browser.get(TARGET)
    assert location(at_home).startswith("https://id.example.com/")
    elsewhere = browser.at(b"app1.example.com").get(TARGET)
    wanted = quote(f"https://app1.example.com{TARGET}", safe="")
    assert location(elsewhere) == f"https://app.example.com/oauth2/start?rd={wanted}&cause=denied"
