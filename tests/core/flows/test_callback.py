"""The order of the callback's checks, and what each says no to."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Forward, Respond
from sidecar.core.errors import ProviderUnavailable
from sidecar.core.runtime import ClaimNames, SessionPolicy
from sidecar.core.secret import Secret
from tests.core.flows.flowsetup import Browser, location, page_of, setup
from tests.core.gatesetup import KEYS, NOW, provider, values
from tests.core.oidcsetup import answer, claims, jwk, jwks, metadata_document, rsa_key, sign


def header(respond: Respond, name: bytes) -> list[bytes]:
    return [value for key, value in respond.response.headers if key == name]


def refused(browser: Browser, respond: Respond, code: str, status: int = 403) -> None:
    """A refused login: its page, its event, no session, and no transaction left to try again with."""
    assert respond.response.status == status
    assert respond.note.reason == "login_failed"
    assert respond.note.detail == code
    assert browser.event_codes("login_refused") == [code]
    name, shown = page_of(respond)
    assert name == "error"
    assert shown["request_id"] == "req-1"
    assert not browser.has_session
    assert browser.event_codes("login_succeeded") == []


class TestSuccess:
    def test_the_browser_returns_to_the_exact_url(self) -> None:
        """A1: S66: original path and query restored, code gone from the address bar."""
        browser = setup()

        respond = browser.log_in("/app/x?y=1&z=%2F%20")

        assert respond.response.status == 302
        assert location(respond) == "/app/x?y=1&z=%2F%20"
        assert header(respond, b"Referrer-Policy") == [b"no-referrer"]
        assert header(respond, b"Cache-Control") == [b"no-store"]
        assert respond.note.reason == "login_completed"

    def test_the_session_lets_the_next_request_through(self) -> None:
        browser = setup()
        browser.op.userinfo |= {"email": "alice@example.com", "email_verified": True, "groups": ["users"]}

        browser.log_in()
        forward = browser.send(b"GET", "/app/x?y=1")

        assert isinstance(forward, Forward)
        assert values(forward, b"X-Forwarded-User") == [b"248289"]
        assert values(forward, b"X-Forwarded-Email") == [b"alice@example.com"]
        assert values(forward, b"X-Forwarded-Groups") == [b"users"]

    def test_the_logins_cookie_goes(self) -> None:
        browser = setup()
        browser.begin("/app/")
        (name,) = browser.cookies

        browser.log_in()

        assert not [
            each
            for each in browser.cookies
            if each != name and each.startswith(b"__Host-login.") and not each.endswith(b".done")
        ]
        assert name in browser.cookies

    def test_the_code_is_redeemed_with_verifier_and_redirect_uri(self) -> None:
        """S02: RFC 7636 §4.5; the verifier is checked against the challenge by the provider on paper."""
        browser = setup()

        browser.log_in()

        (form,) = browser.op.token_forms
        assert form["grant_type"] == "authorization_code"
        assert form["code"] == "the-code"
        assert form["redirect_uri"] == "https://app.example.com/oauth2/callback"
        assert len(form["code_verifier"]) >= 43
        assert dict(browser.op.calls[0].headers)["Authorization"].startswith("Basic ")

    def test_a_public_client_sends_no_secret(self) -> None:
        """A2: S09."""
        browser = setup(provider())

        browser.log_in()

        (form,) = browser.op.token_forms
        assert form["client_id"] == "app"
        assert "client_secret" not in form
        assert browser.op.calls[0].headers == ()

    def test_a_session_id_is_new_at_each_login(self) -> None:
        """S35: and has 128 random bits or more."""
        browser = setup()
        ids = []
        for _ in range(2):
            browser.come_back(browser.op.authorize(browser.begin("/oauth2/start")))
            ids.append(dict(browser.events[-1].fields)["session_id"])

        assert ids[0] != ids[1]
        assert all(len(str(each)) == 32 for each in ids)

    def test_a_planted_session_cookie_is_not_carried_over(self) -> None:
        """S35: fixation."""
        browser = setup()
        other = Browser(browser.world, browser.op)
        other.log_in()
        planted = other.cookies[b"__Host-doorward"]
        browser.cookies[b"__Host-doorward"] = planted

        browser.come_back(browser.op.authorize(location(browser.get("/oauth2/start"))))

        assert browser.cookies[b"__Host-doorward"] != planted

    def test_ten_tabs_log_in_in_any_order(self) -> None:
        """S37: each tab's login completes."""
        browser = setup()
        urls = [browser.begin(f"/app/{tab}?" + "q" * 2000) for tab in range(10)]

        assert len(browser.cookie_field() or b"") < 4096
        for tab in (3, 9, 0, 1, 8, 2, 7, 4, 6, 5):
            assert location(browser.come_back(browser.op.authorize(urls[tab]))).startswith(f"/app/{tab}?")

    def test_of_fifty_tabs_none_breaks(self) -> None:
        """S37: the oldest cookies are dropped; such a tab's login begins anew and ends where it wanted to."""
        browser = setup()
        urls = [browser.begin(f"/app/{tab}?" + "q" * 2000) for tab in range(50)]
        arrived = 0
        for tab, url in enumerate(urls):
            assert len(browser.cookie_field() or b"") < 8192
            respond = browser.come_back(browser.op.authorize(url))
            if location(respond).startswith("https://id.example.com/"):
                respond = browser.come_back(browser.op.authorize(location(respond)))
            arrived += location(respond).startswith(f"/app/{tab}?")

        assert arrived == 50

    def test_the_access_line_names_who_it_was(self) -> None:
        respond = setup().log_in()

        assert respond.note.user == "248289"
        assert len(respond.note.session_id or "") == 32

    def test_the_operator_is_told_who_and_nothing_secret(self) -> None:
        """S27: no code, token, state or cookie in an event."""
        browser = setup()
        query = browser.op.authorize(browser.begin())

        browser.come_back(query)

        told = repr(browser.events)
        assert "'248289'" in told
        for secret in (
            "the-code",
            "access-1",
            "refresh-1",
            "client-secret",
            browser.op.nonce,
            dict(parse_qsl(query))["state"],
        ):
            assert secret not in told


class TestParameters:
    """S17: the authorization response itself."""

    @pytest.mark.parametrize("name", ["state", "code", "iss", "error", "id_token", "session_state"])
    def test_a_parameter_that_is_there_twice_is_refused(self, name: str) -> None:
        """S17: refused, neither first-wins nor last-wins."""
        browser = setup()
        query = browser.op.authorize(browser.begin())
        value = dict(parse_qsl(query)).get(name, "x")

        respond = browser.come_back(f"{query}&{urlencode({name: value})}&{urlencode({name: value})}")

        refused(browser, respond, "duplicate_parameter", 400)
        assert browser.op.token_forms == []

    @pytest.mark.parametrize(
        "query", ["", "code=x", "state=", "state=x", "state=x&code=y", "%ff=%ff", "a&b&c", "state=%00"]
    )
    def test_without_a_state_of_ours_nothing_is_redeemed(self, query: str) -> None:
        """S01: missing, empty or unknown."""
        browser = setup()

        respond = browser.come_back(query)

        assert respond.response.status == 400
        assert page_of(respond)[0] == "error"
        assert browser.op.token_forms == []

    @pytest.mark.parametrize("changed", [{"state": "x"}, {"state": ""}, {"state": None}])
    def test_a_changed_state_is_refused_although_the_cookie_is_there(self, changed: dict[str, Any]) -> None:
        """S01: altered, emptied or taken away."""
        browser = setup()

        respond = browser.come_back(browser.op.authorize(browser.begin(), **changed))

        refused(browser, respond, "state_invalid", 400)

    def test_somebody_elses_state_begins_an_own_login(self) -> None:
        """S01, S18: who began a login must end it; the victim of a planted one signs in as itself."""
        attacker, victim = setup(), setup()
        victim.world = attacker.world

        respond = victim.come_back(attacker.op.authorize(attacker.begin()))

        assert location(respond).startswith("https://id.example.com/authorize?")
        assert victim.op.token_forms == []
        assert not victim.has_session

    def test_a_used_state_is_refused_while_the_cookie_is_there(self) -> None:
        """S01, S11: a state is good for one callback."""
        browser = setup()
        query = browser.op.authorize(browser.begin())
        before = dict(browser.cookies)
        browser.come_back(query)
        browser.cookies, browser.events = before, []

        respond = browser.come_back(query)

        refused(browser, respond, "login_used", 400)
        assert len(browser.op.token_forms) == 1

    def test_a_reload_after_success_goes_where_the_login_went(self) -> None:
        browser = setup()
        query = browser.op.authorize(browser.begin())
        browser.come_back(query)

        respond = browser.come_back(query)

        assert location(respond) == "/app/x?y=1"
        assert len(browser.op.token_forms) == 1

    def test_a_login_that_took_too_long_begins_anew(self) -> None:
        browser = setup()
        query = browser.op.authorize(browser.begin())
        browser.world.now += 7200

        respond = browser.come_back(query)

        assert location(respond).startswith("https://id.example.com/authorize?")
        assert browser.op.token_forms == []

    @pytest.mark.parametrize("code", [None, "", "c" * 9000])
    def test_a_response_without_a_code_is_refused(self, code: str | None) -> None:
        browser = setup()

        respond = browser.come_back(browser.op.authorize(browser.begin(), code=code))

        refused(browser, respond, "code_missing")

    def test_a_token_in_the_query_is_not_a_login(self) -> None:
        """S07, S10: none accepted from a query string."""
        browser = setup()
        token = sign(claims(nonce=browser.op.nonce))

        respond = browser.come_back(
            browser.op.authorize(browser.begin(), code=None, id_token=token, access_token="a")
        )

        refused(browser, respond, "code_missing")

    @pytest.mark.parametrize("method", [b"POST", b"HEAD", b"PUT", b"OPTIONS"])
    def test_other_methods_are_refused(self, method: bytes) -> None:
        browser = setup()
        query = browser.op.authorize(browser.begin())

        respond = browser.send(method, f"/oauth2/callback?{query}")

        assert isinstance(respond, Respond)
        assert respond.response.status == 405
        assert browser.op.token_forms == []


class TestMixUp:
    """S05, S06: RFC 9207, RFC 9700 §4.4."""

    def test_the_providers_own_iss_is_accepted(self) -> None:
        browser = setup()

        respond = browser.come_back(browser.op.authorize(browser.begin(), iss="https://id.example.com"))

        assert location(respond) == "/app/x?y=1"

    @pytest.mark.parametrize(
        "iss", ["https://evil.example", "https://id.example.com/", "", "HTTPS://id.example.com"]
    )
    def test_another_iss_is_refused(self, iss: str) -> None:
        """S05: compared as a string."""
        browser = setup()

        respond = browser.come_back(browser.op.authorize(browser.begin(), iss=iss))

        refused(browser, respond, "response_iss_mismatch")
        assert browser.op.token_forms == []

    def test_a_promised_iss_must_be_there(self) -> None:
        browser = setup()
        browser.op.document = metadata_document(authorization_response_iss_parameter_supported=True)

        respond = browser.come_back(browser.op.authorize(browser.begin()))

        refused(browser, respond, "response_iss_missing")
        assert browser.op.token_forms == []

    @pytest.mark.parametrize("iss", ["https://evil.example", None])
    def test_errors_are_checked_too(self, iss: str | None) -> None:
        """S05: error responses checked too."""
        browser = setup()
        browser.op.document = metadata_document(authorization_response_iss_parameter_supported=True)
        query = browser.op.authorize(browser.begin(), code=None, error="access_denied", iss=iss)

        respond = browser.come_back(query)

        assert respond.note.detail == ("response_iss_missing" if iss is None else "response_iss_mismatch")

    def test_a_code_at_another_providers_callback_is_refused(self) -> None:
        """S06: the login of A never ends at B's path."""
        a, b = (
            provider("a", redirect_path="/oauth2/callback/a"),
            provider("b", redirect_path="/oauth2/callback/b"),
        )
        browser = setup(a, b)
        query = browser.op.authorize(location(browser.get("/oauth2/start?provider=a&rd=/app/")))

        respond = browser.come_back(query, "/oauth2/callback/b")

        refused(browser, respond, "provider_changed", 400)
        assert browser.op.token_forms == []

    def test_each_providers_login_ends_at_its_own(self) -> None:
        a, b = (
            provider("a", redirect_path="/oauth2/callback/a"),
            provider("b", redirect_path="/oauth2/callback/b"),
        )
        browser = setup(a, b)
        query = browser.op.authorize(location(browser.get("/oauth2/start?provider=b&rd=/app/")))

        assert location(browser.come_back(query, "/oauth2/callback/b")) == "/app/"


class TestProviderErrors:
    """D2: a page with a request id, no loop, nothing of the provider's words."""

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            ("access_denied", 403),
            ("interaction_required", 403),
            ("login_required", 403),
            ("consent_required", 403),
            ("account_selection_required", 403),
            ("server_error", 502),
            ("temporarily_unavailable", 503),
            ("invalid_scope", 400),
            ("unauthorized_client", 400),
        ],
    )
    def test_an_error_response_ends_on_a_page(self, error: str, status: int) -> None:
        """D2: S67: access_denied is not answered by asking again."""
        browser = setup()
        query = browser.op.authorize(
            browser.begin(), code=None, error=error, error_description="<script>alert(1)</script>"
        )

        respond = browser.come_back(query)

        refused(browser, respond, error, status)
        assert "script" not in repr(respond.response)
        assert header(respond, b"Location") == []

    def test_its_link_begins_a_new_login(self) -> None:
        browser = setup()

        respond = browser.come_back(browser.op.authorize(browser.begin(), code=None, error="access_denied"))

        assert page_of(respond)[1]["retry_url"] == "/oauth2/start?provider=main&rd=%2Fapp%2Fx%3Fy%3D1"

    @pytest.mark.parametrize("error", ["", "a b", "<b>", "x" * 100])
    def test_a_strange_error_code_is_not_repeated(self, error: str) -> None:
        browser = setup()

        respond = browser.come_back(browser.op.authorize(browser.begin(), error=error))

        refused(browser, respond, "unknown_error", 400)

    def test_an_error_beats_a_code(self) -> None:
        browser = setup()

        respond = browser.come_back(browser.op.authorize(browser.begin(), error="access_denied"))

        refused(browser, respond, "access_denied")
        assert browser.op.token_forms == []

    def test_an_error_without_a_login_of_this_browser_is_a_page_and_no_new_login(self) -> None:
        browser = setup()
        query = browser.op.authorize(browser.begin(), code=None, error="access_denied")
        browser.cookies.clear()

        respond = browser.come_back(query)

        refused(browser, respond, "state_no_cookie", 400)

    @pytest.mark.parametrize(
        ("body", "status", "code", "page_status"),
        [
            ({"error": "invalid_grant"}, 400, "invalid_grant", 400),
            ({"error": "invalid_client"}, 401, "invalid_client", 400),
            ({"error": "invalid_grant"}, 200, "invalid_grant", 400),
            ({"error": "server_error"}, 400, "server_error", 502),
            ({}, 429, "rate_limited", 502),
            (b"<html>", 200, "token_answer_unreadable", 502),
        ],
    )
    def test_a_refused_code_ends_on_a_page(self, body: Any, status: int, code: str, page_status: int) -> None:
        """D2: HTTP 200 error JSON, 4xx, 429."""
        browser = setup()
        browser.op.on_token = lambda _: answer(body, status)

        refused(browser, browser.log_in(), code, page_status)

    @pytest.mark.parametrize(("code", "status"), [("provider_timeout", 504), ("provider_answered_5xx", 502)])
    def test_a_provider_that_fails_meanwhile_ends_on_a_page_with_a_way_back(
        self, code: str, status: int
    ) -> None:
        """D2, S10: the way back is a new login, never the URL with the code in it."""
        browser = setup()

        def fail(_: object) -> Any:
            raise ProviderUnavailable(code, "detail")

        browser.op.on_token = fail
        respond = browser.log_in()

        refused(browser, respond, code, status)
        assert page_of(respond)[1]["retry_url"] == "/oauth2/start?provider=main&rd=%2Fapp%2Fx%3Fy%3D1"

    def test_a_program_gets_json(self) -> None:
        respond = setup().send(b"GET", "/oauth2/callback?state=x")

        assert isinstance(respond, Respond)
        assert respond.response.status == 400
        assert b'"error":"login_failed"' in respond.response.body


class TestTokens:
    """S04: nothing of a token answer is used or kept before the ID token has passed."""

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"nonce": "other"}, "nonce_mismatch"),
            ({"nonce": None}, "nonce_mismatch"),
            ({"iss": "https://evil.example"}, "iss_mismatch"),
            ({"aud": "other"}, "aud_mismatch"),
            ({"aud": ["app", "other"]}, "aud_untrusted"),
            ({"exp": NOW - 100}, "token_expired"),
            ({"sub": ""}, "sub_invalid"),
            ({"at_hash": "AAAA"}, "at_hash_mismatch"),
        ],
    )
    def test_a_bad_id_token_refuses_the_login(self, changed: dict[str, Any], code: str) -> None:
        browser = setup()
        browser.op.id_claims = changed

        refused(browser, browser.log_in(), code)

    @pytest.mark.parametrize(
        ("members", "code"),
        [
            ({"id_token": None}, "id_token_missing"),
            ({"id_token": "x"}, "token_malformed"),
            ({"access_token": None}, "access_token_missing"),
            ({"token_type": "mac"}, "token_type_refused"),
        ],
    )
    def test_an_incomplete_answer_refuses_the_login(self, members: dict[str, Any], code: str) -> None:
        browser = setup()
        browser.op.token_members = members

        refused(browser, browser.log_in(), code)

    def test_a_lifetime_need_not_be_told(self) -> None:
        browser = setup()
        browser.op.token_members = {"expires_in": None, "token_type": "bearer"}

        assert location(browser.log_in()) == "/app/x?y=1"

    def test_a_new_key_is_fetched_once_and_the_login_goes_on(self) -> None:
        """S21: D3: an unknown kid."""
        browser = setup()
        browser.op.signer = lambda payload: sign(payload, rsa_key(2), kid="k2")
        browser.op.fresh_keys = jwks(jwk(rsa_key(2), kid="k2"))

        assert location(browser.log_in()) == "/app/x?y=1"
        assert browser.op.key_fetches == 1

    def test_a_key_that_stays_unknown_refuses_the_login(self) -> None:
        browser = setup()
        browser.op.signer = lambda payload: sign(payload, rsa_key(2), kid="k2")

        refused(browser, browser.log_in(), "unknown_key")
        assert browser.op.key_fetches == 1

    def test_a_key_that_changed_under_its_old_id_is_fetched_too(self) -> None:
        browser = setup()
        browser.op.signer = lambda payload: sign(payload, rsa_key(2))
        browser.op.fresh_keys = jwks(jwk(rsa_key(2), kid="k1"))

        assert location(browser.log_in()) == "/app/x?y=1"

    def test_other_refusals_fetch_nothing(self) -> None:
        browser = setup()
        browser.op.id_claims = {"aud": "other"}

        browser.log_in()

        assert browser.op.key_fetches == 0


class TestIdentity:
    def test_userinfo_tells_what_the_id_token_does_not(self) -> None:
        browser = setup()
        browser.op.userinfo |= {"email": "a@example.com", "email_verified": True}

        browser.log_in()

        request = browser.op.calls[-1]
        assert request.operation == "userinfo"
        assert dict(request.headers) == {"Authorization": "Bearer access-1"}

    def test_userinfo_is_not_asked_when_nothing_is_missing(self) -> None:
        browser = setup()
        browser.op.id_claims = {
            "email": "a@example.com",
            "email_verified": True,
            "preferred_username": "a",
            "groups": [],
        }

        browser.log_in()

        assert [request.operation for request in browser.op.calls] == ["token"]

    def test_userinfo_about_somebody_else_refuses_the_login(self) -> None:
        """S22: the sub check."""
        browser = setup()
        browser.op.userinfo = {"sub": "other"}

        refused(browser, browser.log_in(), "userinfo_sub_mismatch")

    def test_userinfo_that_refuses_its_own_token_is_done_without(self) -> None:
        browser = setup()
        browser.op.on_userinfo = lambda: answer({"error": "insufficient_scope"}, 403)

        assert location(browser.log_in()) == "/app/x?y=1"
        assert browser.event_codes("provider_call_failed") == ["userinfo_refused"]

    def test_without_an_endpoint_the_id_token_has_to_do(self) -> None:
        browser = setup()
        browser.op.document = metadata_document(userinfo_endpoint=None)

        assert location(browser.log_in()) == "/app/x?y=1"
        assert [request.operation for request in browser.op.calls] == ["token"]

    @pytest.mark.parametrize("document", [metadata_document(), metadata_document(userinfo_endpoint=None)])
    def test_userinfo_that_must_be_there_must_be_there(self, document: bytes) -> None:
        browser = setup(provider(userinfo="always"))
        browser.op.document = document
        browser.op.on_userinfo = lambda: answer({}, 403)

        code = "userinfo_missing" if b"userinfo" not in document else "userinfo_refused"
        refused(browser, browser.log_in(), code)

    def test_signed_userinfo_is_verified_with_fresh_keys(self) -> None:
        """S22: signed UserInfo."""
        browser = setup()
        token = sign(
            {"sub": "248289", "email": "a@example.com", "email_verified": True}, rsa_key(2), kid="k2"
        )
        browser.op.on_userinfo = lambda: answer(token.encode(), kind="application/jwt")
        browser.op.fresh_keys = jwks(jwk(rsa_key(), kid="k1"), jwk(rsa_key(2), kid="k2"))

        assert location(browser.log_in()) == "/app/x?y=1"

    def test_an_address_that_is_not_verified_gets_its_own_page(self) -> None:
        """A9: S24: 403, and the application hears nothing."""
        browser = setup()
        browser.op.id_claims = {"email": "a@example.com", "email_verified": False}

        respond = browser.log_in()

        refused(browser, respond, "email_not_verified")
        assert "e-mail" in page_of(respond)[1]["title"]

    def test_an_address_of_unknown_standing_is_no_address(self) -> None:
        browser = setup()
        browser.op.id_claims = {"email": "a@example.com"}

        browser.log_in()
        forward = browser.send(b"GET", "/app/")

        assert isinstance(forward, Forward)
        assert values(forward, b"X-Forwarded-Email") == []

    def test_a_user_without_a_name_is_refused(self) -> None:
        browser = setup(provider(claims=ClaimNames(user=("upn",))))

        refused(browser, browser.log_in(), "user_missing")

    def test_ten_thousand_groups_are_refused(self) -> None:
        """S25: a clear code."""
        browser = setup()
        browser.op.userinfo |= {"groups": [f"g{number}" for number in range(10_000)]}

        refused(browser, browser.log_in(), "too_many_groups")


class TestWhatIsKept:
    @staticmethod
    def session_bytes(**policy: Any) -> int:
        browser = setup(session=SessionPolicy(keys=KEYS, **policy))
        browser.op.token_members = {"access_token": "a" * 1000, "refresh_token": "r" * 500}
        browser.log_in()
        return sum(len(value) for name, value in browser.cookies.items() if b"doorward" in name)

    def test_tokens_are_kept_only_where_they_are_needed(self) -> None:
        plain = self.session_bytes(keep_id_token=False)

        assert self.session_bytes(keep_id_token=False, keep_access_token=True) > plain + 1000
        assert self.session_bytes(keep_id_token=True) > plain + 400

    def test_without_a_sign_out_at_the_provider_the_id_token_is_not_kept(self) -> None:
        browser = setup()
        browser.op.document = metadata_document(end_session_endpoint=None)
        browser.log_in()
        other = setup()
        other.log_in()

        assert len(browser.cookies[b"__Host-doorward"]) < len(other.cookies[b"__Host-doorward"]) - 400

    def test_an_id_token_that_is_too_large_is_left_out(self) -> None:
        """A12, S25: the session counts, the provider's sign-out does without its hint."""
        browser = setup()
        browser.op.id_claims = {"address": "x" * 60_000}

        assert location(browser.log_in()) == "/app/x?y=1"
        assert browser.has_session

    def test_a_session_that_is_too_large_is_refused(self) -> None:
        """S25: with a code that says so."""
        for keeps_id_token in (True, False):
            policy = SessionPolicy(keys=KEYS, keep_access_token=True, keep_id_token=keeps_id_token)
            browser = setup(session=policy)
            browser.op.token_members = {"access_token": "a" * 60_000}

            refused(browser, browser.log_in(), "session_too_large")


class TestFormPost:
    """OAuth 2.0 Form Post Response Mode."""

    @staticmethod
    def browser() -> Browser:
        secret = Secret(b"s")
        return setup(
            provider(response_mode="form_post", auth_method="client_secret_post", client_secret=secret)
        )

    @staticmethod
    def come_back(browser: Browser, body: dict[str, str] | str, *pairs: tuple[bytes, bytes]) -> Respond:
        return browser.post("/oauth2/callback", body, (b"Sec-Fetch-Site", b"cross-site"), *pairs)

    def test_a_login_ends_with_303(self) -> None:
        """S12, S28, S66: the callback is a cross-site POST, and exempt from the check of origins."""
        browser = self.browser()
        body = browser.op.authorize(browser.begin())
        assert b"SameSite=None" in browser.set_cookies[0]

        respond = self.come_back(browser, body, (b"Origin", b"https://id.example.com"))

        assert respond.response.status == 303
        assert location(respond) == "/app/x?y=1"
        assert browser.has_session
        assert [v for v in browser.set_cookies if v.startswith(b"__Host-doorward=") and b"SameSite=Lax" in v]

    def test_an_error_is_shown(self) -> None:
        browser = self.browser()

        respond = self.come_back(
            browser, browser.op.authorize(browser.begin(), code=None, error="access_denied")
        )

        refused(browser, respond, "access_denied")

    def test_a_parameter_that_is_there_twice_is_refused(self) -> None:
        """S17: in forms too."""
        browser = self.browser()

        respond = self.come_back(browser, browser.op.authorize(browser.begin()) + "&code=x")

        refused(browser, respond, "duplicate_parameter", 400)

    @pytest.mark.parametrize(
        "kind", [b"application/json", b"multipart/form-data; boundary=x", b"text/plain", b""]
    )
    def test_another_content_type_is_refused(self, kind: bytes) -> None:
        browser = self.browser()

        respond = self.come_back(browser, browser.op.authorize(browser.begin()), (b"Content-Type", kind))

        refused(browser, respond, "not_a_form", 400)

    def test_parameters_in_both_places_are_refused(self) -> None:
        """S17: two sets of parameters."""
        browser = self.browser()
        body = browser.op.authorize(browser.begin())

        respond = browser.post("/oauth2/callback?state=x", body, (b"Sec-Fetch-Site", b"cross-site"))

        refused(browser, respond, "not_a_form", 400)

    def test_a_form_that_is_too_large_is_refused(self) -> None:
        """S25: 64 KiB."""
        browser = self.browser()

        respond = self.come_back(browser, browser.op.authorize(browser.begin()) + "&x=" + "x" * 70_000)

        refused(browser, respond, "too_large", 400)


class TestHostile:
    """A hostile cookie, state or code is a login or a page with a request id: no defect, no circle."""

    BROWSER = setup()

    @given(st.text(alphabet="abcstideorne&=%+;0123456789./\\<>", max_size=80))
    def test_any_query_ends_on_a_page(self, query: str) -> None:
        browser = self.BROWSER
        browser.cookies.clear()

        respond = browser.send(b"GET", f"/oauth2/callback?{query}", ((b"Sec-Fetch-Mode", b"navigate"),))

        assert isinstance(respond, Respond)
        assert respond.response.status == 400

    @given(st.binary(max_size=200))
    def test_any_form_ends_on_a_page(self, body: bytes) -> None:
        browser = TestFormPost.browser()
        kind = (b"Content-Type", b"application/x-www-form-urlencoded")

        respond = browser.send(b"POST", "/oauth2/callback", (kind,), body)

        assert isinstance(respond, Respond)
        assert respond.response.status == 400

    @given(st.binary(max_size=100).filter(lambda value: b";" not in value))
    def test_any_cookie_is_a_login_or_a_page(self, value: bytes) -> None:
        browser = setup()
        query = browser.op.authorize(browser.begin())
        browser.cookies = dict.fromkeys([*browser.cookies, b"__Host-doorward", b"__Host-login.done"], value)

        respond = browser.come_back(query)

        assert location(respond).startswith("https://id.example.com/authorize?")
        assert browser.op.token_forms == []

    @pytest.mark.parametrize("code", ["'; DROP TABLE", "<script>", "a\r\nX: y", "\x00", "\u202e", "%00"])
    def test_any_code_is_only_passed_on(self, code: str) -> None:
        browser = setup()

        browser.come_back(browser.op.authorize(browser.begin(), code=code))

        assert browser.op.token_forms[0]["code"] == code
