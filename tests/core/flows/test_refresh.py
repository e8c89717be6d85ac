"""S09, S22, S34, S36: refreshing, and what never happens by it: somebody losing a session."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.core.decision import Forward, Respond
from sidecar.core.effects import Once
from sidecar.core.errors import ProviderUnavailable
from sidecar.core.flows.call import Call
from sidecar.core.flows.refresh import refresh_then
from sidecar.core.runtime import SessionPolicy
from sidecar.core.session import Session
from tests.core.flows.flowsetup import Browser, location, setup
from tests.core.gatesetup import KEYS, NOW, head, provider, values
from tests.core.oidcsetup import answer, jwk, jwks, rsa_key, sign

DUE = 250.0  # the access token lives for 300 s, and is refreshed 60 s before its end
PROFILE = {"email": "a@example.com", "email_verified": True, "preferred_username": "a", "groups": ["users"]}


def signed_in(**changes: Any) -> Browser:
    browser = setup(provider(), **changes)
    browser.op.id_claims = dict(PROFILE)
    browser.log_in()
    browser.events.clear()
    browser.op.calls.clear()
    browser.op.token_forms.clear()
    browser.world.now = NOW + DUE
    # A provider may leave the nonce out of a refreshed ID token (OIDC Core §12.2).
    browser.op.id_claims |= {"nonce": None, "iat": NOW + DUE, "exp": NOW + DUE + 300}
    browser.op.token_members = {"access_token": "access-2", "refresh_token": "refresh-2"}
    return browser


def visit(browser: Browser) -> Forward:
    result = browser.send(b"GET", "/app/")
    assert isinstance(result, Forward), result
    return result


def turned_away(browser: Browser) -> Respond:
    result = browser.send(b"GET", "/app/")
    assert isinstance(result, Respond), result
    assert result.response.status == 401
    return result


def events(browser: Browser) -> list[str]:
    return [event.event for event in browser.events]


class TestSuccess:
    def test_it_happens_before_the_access_token_ends(self) -> None:
        browser = signed_in()
        browser.world.now = NOW + 200

        visit(browser)
        assert browser.op.token_forms == []

        browser.world.now = NOW + 240
        visit(browser)
        assert browser.op.token_forms == [
            {"grant_type": "refresh_token", "refresh_token": "refresh-1", "client_id": "app"}
        ]

    def test_the_request_goes_on_and_the_new_cookie_with_its_answer(self) -> None:
        browser = signed_in()
        before = dict(browser.cookies)

        forward = visit(browser)

        assert values(forward, b"X-Forwarded-User") == [b"248289"]
        assert browser.cookies != before
        assert events(browser) == ["session_refreshed"]

    def test_the_new_cookie_holds_the_rotated_token(self) -> None:
        """S09: RFC 9700 §4.14.2."""
        browser = signed_in()
        visit(browser)
        browser.world.now += DUE

        visit(browser)

        assert [form["refresh_token"] for form in browser.op.token_forms] == ["refresh-1", "refresh-2"]

    def test_a_provider_that_does_not_rotate_keeps_its_token(self) -> None:
        browser = signed_in()
        browser.op.token_members = {"refresh_token": None}
        visit(browser)
        browser.world.now += DUE

        visit(browser)

        assert [form["refresh_token"] for form in browser.op.token_forms] == ["refresh-1", "refresh-1"]

    def test_an_id_token_need_not_come(self) -> None:
        browser = signed_in()
        browser.op.token_members["id_token"] = None

        assert values(visit(browser), b"X-Forwarded-Groups") == [b"users"]

    def test_a_new_id_token_tells_who_it_is_now(self) -> None:
        """Groups that somebody has lost count from the refresh on."""
        browser = signed_in()
        browser.op.id_claims["groups"] = ["guests"]

        assert values(visit(browser), b"X-Forwarded-Groups") == [b"guests"]
        browser.world.now += 1
        assert values(visit(browser), b"X-Forwarded-Groups") == [b"guests"]

    def test_the_rules_are_asked_after_it(self) -> None:
        browser = signed_in()
        browser.op.id_claims["groups"] = ["admins"]

        assert isinstance(browser.send(b"GET", "/admin/"), Forward)

    def test_userinfo_that_is_down_meanwhile_leaves_it_as_it_was(self) -> None:
        browser = signed_in()
        browser.op.id_claims["groups"] = None

        def down() -> Any:
            raise ProviderUnavailable("provider_timeout")

        browser.op.on_userinfo = down

        assert values(visit(browser), b"X-Forwarded-Groups") == [b"users"]
        assert events(browser) == ["session_refreshed"]

    def test_the_absolute_end_does_not_move(self) -> None:
        """S36: across refresh."""
        browser = signed_in(session=SessionPolicy(keys=KEYS, absolute_seconds=600.0))
        visit(browser)
        browser.world.now = NOW + 599
        visit(browser)
        browser.world.now = NOW + 601

        turned_away(browser)

    def test_a_changed_key_of_the_provider_is_fetched(self) -> None:
        """D3: JWKS rotation during a session."""
        browser = signed_in()
        browser.op.signer = lambda payload: sign(payload, rsa_key(2), kid="k2")
        browser.op.fresh_keys = jwks(jwk(rsa_key(2), kid="k2"))

        visit(browser)

        assert events(browser) == ["session_refreshed"]

    def test_without_a_refresh_token_nothing_is_tried(self) -> None:
        browser = setup(provider())
        browser.op.token_members = {"refresh_token": None}
        browser.log_in()
        browser.world.now += 1000

        visit(browser)

        assert len(browser.op.token_forms) == 1

    def test_endpoints_that_show_the_session_refresh_it_too(self) -> None:
        browser = signed_in()

        result = browser.send(b"GET", "/oauth2/userinfo")

        assert isinstance(result, Respond)
        assert result.response.status == 200
        assert browser.set_cookies
        assert events(browser) == ["session_refreshed"]


class TestOnce:
    def test_however_many_ask_the_provider_is_asked_once(self) -> None:
        """S09: and each of them gets the new cookie."""
        browser = signed_in()
        old = dict(browser.cookies)
        new = []
        for _ in range(5):
            browser.cookies = dict(old)
            visit(browser)
            new.append(browser.set_cookies)

        assert len(browser.op.token_forms) == 1
        assert all(cookies for cookies in new)

    def test_a_superseded_cookie_that_comes_back_late_gets_the_winners_result(self) -> None:
        """S09: minutes later, and nobody is logged out."""
        browser = signed_in()
        old = dict(browser.cookies)
        visit(browser)
        winner, browser.cookies = browser.cookies, old
        browser.world.now += 200

        visit(browser)
        browser.cookies = winner
        visit(browser)

        assert len(browser.op.token_forms) == 1

    def test_the_result_is_sealed_and_kept_for_minutes(self) -> None:
        """It may go over a socket to other workers, so it holds no secret in clear."""
        browser = signed_in()

        visit(browser)

        ((key, sealed),) = browser.kept.items()
        assert b"refresh-2" not in sealed
        assert b"access-2" not in sealed
        assert key.endswith(b":0")

    def test_it_is_never_kept_beyond_the_sessions_end(self) -> None:
        browser = signed_in(session=SessionPolicy(keys=KEYS, absolute_seconds=300.0))
        asked: list[Once] = []
        original = browser.effect

        def watch(effect: Any, body: bytes) -> object:
            asked.extend([effect] if isinstance(effect, Once) else [])
            return original(effect, body)

        browser.effect = watch  # type: ignore[method-assign]
        visit(browser)

        assert asked[0].keep_seconds == pytest.approx(50.0)


class TestProviderDown:
    """D3: A provider that is down costs nobody a session that is still valid."""

    def test_the_request_goes_on_with_the_session_as_it_was(self) -> None:
        browser = signed_in()
        browser.op.unavailable = ProviderUnavailable("provider_timeout", "token: 10 s")
        before = dict(browser.cookies)

        forward = visit(browser)

        assert values(forward, b"X-Forwarded-User") == [b"248289"]
        assert browser.cookies == before
        assert browser.event_codes("refresh_postponed") == ["provider_timeout"]

    def test_also_after_the_access_token_has_ended(self) -> None:
        browser = signed_in()
        browser.op.unavailable = ProviderUnavailable("provider_timeout")
        browser.world.now = NOW + 2000

        visit(browser)

    def test_it_is_not_tried_again_at_once(self) -> None:
        browser = signed_in()
        browser.op.unavailable = ProviderUnavailable("provider_timeout")
        for _ in range(5):
            visit(browser)

        assert events(browser) == ["refresh_postponed"]

        browser.world.now += 31
        visit(browser)
        assert events(browser) == ["refresh_postponed"] * 2

    def test_nor_by_anybody_elses_session(self) -> None:
        browser = setup(provider())
        browser.op.id_claims = dict(PROFILE)
        browser.log_in()
        other = Browser(browser.world, browser.op)
        other.log_in()
        other.events.clear()
        browser.op.unavailable, browser.world.now = ProviderUnavailable("provider_timeout"), NOW + DUE
        visit(browser)

        visit(other)

        assert events(other) == []

    @pytest.mark.parametrize(
        ("code", "is_everybodys"),
        [("invalid_client", True), ("temporarily_unavailable", True), ("invalid_request", False)],
    )
    def test_what_may_be_about_one_session_keeps_nobody_else_waiting(
        self, code: str, is_everybodys: bool
    ) -> None:
        """S36: one session that can't be refreshed must not keep others from losing their rights."""
        browser = setup(provider())
        browser.op.id_claims = dict(PROFILE)
        browser.log_in()
        other = Browser(browser.world, browser.op)
        other.log_in()
        other.events.clear()
        browser.world.now = NOW + DUE
        browser.op.on_token = lambda _: answer({"error": code}, 400)
        visit(browser)
        browser.op.on_token = None
        browser.op.id_claims |= {"iat": NOW + DUE, "exp": NOW + DUE + 300}

        visit(other)

        assert events(other) == ([] if is_everybodys else ["session_refreshed"])

    def test_when_it_is_back_the_refresh_is_made(self) -> None:
        browser = signed_in()
        browser.op.unavailable = ProviderUnavailable("provider_timeout")
        visit(browser)
        browser.op.unavailable = None
        browser.world.now += 31

        visit(browser)

        assert events(browser) == ["refresh_postponed", "session_refreshed"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"error": "invalid_client"}, 401),
            ({"error": "unauthorized_client"}, 400),
            ({"error": "invalid_request"}, 400),
            ({"error": "temporarily_unavailable"}, 400),
            ({}, 429),
            (b"<html>", 200),
        ],
    )
    def test_a_refusal_that_blames_us_ends_no_session(self, body: Any, status: int) -> None:
        """A client secret that the operator forgot to change logs nobody out."""
        browser = signed_in()
        browser.op.on_token = lambda _: answer(body, status)

        visit(browser)

        assert events(browser) == ["refresh_postponed"]


class TestRefused:
    @pytest.mark.parametrize("code", ["invalid_grant", "interaction_required", "access_denied"])
    def test_a_refused_grant_asks_for_a_login(self, code: str) -> None:
        browser = signed_in()
        browser.op.on_token = lambda _: answer({"error": code}, 400)

        turned_away(browser)

        assert browser.event_codes("refresh_refused") == [code]

    def test_a_navigation_goes_to_the_provider(self) -> None:
        browser = signed_in()
        browser.op.on_token = lambda _: answer({"error": "invalid_grant"}, 400)

        assert location(browser.get("/app/")).startswith("https://id.example.com/authorize?")

    def test_the_provider_is_asked_once_for_it(self) -> None:
        browser = signed_in()
        browser.op.on_token = lambda _: answer({"error": "invalid_grant"}, 400)
        for _ in range(5):
            turned_away(browser)

        assert len(browser.op.token_forms) == 1

    def test_an_old_cookie_that_is_refused_takes_no_newer_one_with_it(self) -> None:
        """S09: a late loser never logs anyone out: nothing is cleared, nothing revoked."""
        browser = signed_in()
        old = dict(browser.cookies)
        visit(browser)
        winner = browser.cookies
        browser.kept.clear()  # the process was restarted
        browser.op.on_token = lambda _: answer({"error": "invalid_grant"}, 400)
        browser.cookies = dict(old)

        turned_away(browser)

        assert browser.set_cookies == []
        browser.cookies = winner
        visit(browser)

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"sub": "other"}, "sub_changed"),
            ({"iss": "https://evil.example"}, "iss_mismatch"),
            ({"aud": "other"}, "aud_mismatch"),
            ({"nonce": "other"}, "nonce_mismatch"),
            ({"email_verified": False}, "email_not_verified"),
        ],
    )
    def test_tokens_of_somebody_else_are_refused_together(self, changed: dict[str, Any], code: str) -> None:
        """S22: the access token that came with them is not used either."""
        browser = signed_in(session=SessionPolicy(keys=KEYS, keep_access_token=True))
        browser.op.id_claims |= changed

        turned_away(browser)

        assert browser.event_codes("refresh_refused") == [code]
        assert browser.set_cookies == []

    def test_userinfo_about_somebody_else_is_refused(self) -> None:
        """S22: UserInfo at a refresh."""
        browser = signed_in()
        browser.op.id_claims["groups"] = None
        browser.op.userinfo = {"sub": "other"}

        turned_away(browser)

        assert browser.event_codes("refresh_refused") == ["userinfo_sub_mismatch"]

    def test_a_session_signed_out_meanwhile_does_not_come_back(self) -> None:
        """S36: the refresh was under way."""
        browser = signed_in()

        def sign_out_meanwhile(form: dict[str, str]) -> Any:
            browser.op.on_token = None
            for entry in browser.world.state.sessions.entries.values():
                browser.world.state.revocations.add(entry.session.id, entry.session.absolute_end)
            return browser.op.tokens()

        browser.world.now = NOW + 200
        visit(browser)  # so that the session is known here
        browser.world.now = NOW + DUE
        browser.op.on_token = sign_out_meanwhile

        turned_away(browser)

    def test_another_configuration_does_not_refresh_an_old_session(self) -> None:
        browser = signed_in()
        moved = setup(provider(issuer="https://new.example.com"))
        moved.cookies, moved.world.now = browser.cookies, NOW + DUE

        turned_away(moved)

        assert moved.event_codes("refresh_refused") == ["provider_changed"]
        assert moved.op.token_forms == []


def test_without_a_session_it_asks_for_a_login() -> None:
    """S61: a call that has none is not let through by mistake."""
    browser = setup(provider())
    call = Call(
        runtime=browser.world.runtime,
        site=browser.world.sites[0],
        state=browser.world.state,
        head=head(b"/app/"),
        now=NOW,
        path="/app/",
        query=b"",
        cookies=(),
        client_ip="192.0.2.7",
    )

    def then(_: Session, __: tuple[bytes, ...]) -> Forward:
        raise AssertionError

    result = browser.carry_out(refresh_then(call, then))

    assert isinstance(result, Respond)
    assert result.response.status == 401


def test_events_hold_no_secret() -> None:
    """S27: at success, refusal and failure."""
    browser = signed_in()
    visit(browser)
    browser.world.now += DUE
    browser.op.on_token = lambda _: answer(
        {"error": "invalid_grant", "error_description": "leaked refresh-2"}, 400
    )
    turned_away(browser)

    told = repr(browser.events)
    for secret in ("refresh-1", "refresh-2", "access-1", "access-2", "leaked"):
        assert secret not in told
