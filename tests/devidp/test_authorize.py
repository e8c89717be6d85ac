"""The authorization endpoint of the embedded provider."""

from __future__ import annotations

import pytest

from tests.devidp.setup import (
    CALLBACK,
    ISSUER,
    SECRET,
    World,
    answer_of,
    authorization,
    document,
    header,
    hidden,
    query_of,
)


class TestErrorsThatNoClientHears:
    """RFC 6749 §4.1.2.1: no redirect to whoever is not known."""

    @pytest.mark.parametrize(
        "more",
        [
            {"client_id": None},
            {"client_id": "other"},
            {"redirect_uri": None},
            {"redirect_uri": ""},
            {"redirect_uri": CALLBACK + "/"},
            {"redirect_uri": CALLBACK + "?x=1"},
            {"redirect_uri": CALLBACK.upper()},
            {"redirect_uri": "http://evil.example/"},
            {"redirect_uri": SECRET.redirect_uris[0]},
        ],
    )
    def test_unknown_client_or_redirect_uri_gets_a_page(self, more: dict[str, str | None]) -> None:
        """S08: the redirect URI is compared to the letter, and with this client's only."""
        answer = World().authorize(**more)
        assert answer.status == 400
        assert not [name for name, _ in answer.headers if name == b"Location"]

    @pytest.mark.parametrize("name", ["client_id", "redirect_uri", "state"])
    def test_a_doubled_parameter_that_says_where_the_answer_goes_gets_a_page(self, name: str) -> None:
        """S17: neither the first nor the last wins."""
        query = "&".join(f"{key}={value}" for key, value in authorization(state="s").items())
        answer = World().request("GET", "/authorize", f"{query}&{name}=x").response
        assert answer.status == 400


class TestErrorsThatTheClientHears:
    @pytest.mark.parametrize(
        ("more", "error"),
        [
            ({"response_type": None}, "unsupported_response_type"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"response_type": "code id_token"}, "unsupported_response_type"),
            ({"response_mode": "fragment"}, "invalid_request"),
            ({"scope": None}, "invalid_scope"),
            ({"scope": "profile"}, "invalid_scope"),
            ({"code_challenge": None}, "invalid_request"),
            ({"code_challenge_method": None}, "invalid_request"),
            ({"code_challenge_method": "plain"}, "invalid_request"),
            ({"code_challenge": "short"}, "invalid_request"),
            ({"code_challenge": "=" * 43}, "invalid_request"),
            ({"prompt": "none login"}, "invalid_request"),
            ({"prompt": "dance"}, "invalid_request"),
            ({"max_age": "-1"}, "invalid_request"),
            ({"max_age": "1e3"}, "invalid_request"),
            ({"max_age": "\u0663"}, "invalid_request"),
            ({"request": "x"}, "request_not_supported"),
            ({"request_uri": "https://x"}, "request_uri_not_supported"),
            ({"registration": "{}"}, "registration_not_supported"),
            ({"prompt": "none"}, "login_required"),
        ],
    )
    def test_a_bad_request_goes_back_with_error_state_and_issuer(
        self, more: dict[str, str | None], error: str
    ) -> None:
        answer = answer_of(World().authorize(**more))
        assert answer["error"] == error
        assert answer["state"] == "st&te"
        assert answer["iss"] == ISSUER
        assert "code" not in answer

    def test_any_other_doubled_parameter_goes_back(self) -> None:
        """S17."""
        query = "&".join(f"{key}={value}" for key, value in authorization(state="s").items())
        answer = World().request("GET", "/authorize", query + "&nonce=2").response
        assert answer_of(answer)["error"] == "invalid_request"

    def test_whoever_goes_back_denies_access(self) -> None:
        world = World()
        assert answer_of(world.choose(world.authorize(), cancel="1"))["error"] == "access_denied"


class TestChoosing:
    def test_the_page_offers_everybody_by_name(self) -> None:
        page = World().authorize()
        assert page.status == 200
        for name in ("Ada Lovelace", "Ben Okafor", "Cléo Marchand"):
            assert name in page.body.decode()

    def test_a_choice_goes_back_with_code_state_and_issuer(self) -> None:
        world = World()
        answer = world.choose(world.authorize(), person="ben")
        assert header(answer, b"location").startswith(CALLBACK + "?")
        assert answer_of(answer).keys() == {"code", "state", "iss"}
        assert header(answer, b"cache-control") == "no-store"

    def test_the_query_of_a_redirect_uri_stays(self) -> None:
        world = World()
        answer = world.choose(world.authorize(redirect_uri="http://localhost:8080/cb?x=1"), person="ben")
        assert query_of(answer)[0] == ("x", "1")

    def test_the_request_may_come_by_post(self) -> None:
        """OIDC Core §3.1.2.1."""
        world = World()
        page = world.request("POST", "/authorize", form=authorization()).response
        assert page.status == 200
        assert answer_of(world.choose(page, person="ada"))["code"]

    def test_form_post_posts_the_answer_by_a_script_named_by_its_hash(self) -> None:
        world = World()
        page = world.choose(world.authorize(response_mode="form_post"), person="ada")
        assert page.status == 200
        assert hidden(page).keys() == {"code", "state", "iss"}
        assert hidden(page)["state"] == "st&te"
        policy = header(page, b"content-security-policy")
        assert "script-src 'sha256-" in policy
        assert "form-action 'self' http://localhost:8080;" in policy

    def test_the_choosing_form_may_lead_to_the_client_and_nowhere_else(self) -> None:
        policy = header(World().authorize(), b"content-security-policy")
        assert "form-action 'self' http://localhost:8080;" in policy
        assert "script-src" not in policy

    def test_a_form_of_another_browser_is_refused(self) -> None:
        """Another site can't log a browser in as somebody of its choice."""
        theirs, ours = World(), World()
        page = theirs.authorize()
        theirs.jar, stolen = {}, hidden(page)
        refused = theirs.request("POST", "/choose", form={**stolen, "person": "ada"}).response
        assert refused.status == 400
        assert ours.request("POST", "/choose", form={"person": "ada"}).response.status == 400

    def test_a_form_whose_request_was_changed_is_refused(self) -> None:
        world = World()
        page = world.authorize()
        fields = hidden(page)
        fields["request"] = fields["request"].replace("st%26te", "other")
        assert world.request("POST", "/choose", form={**fields, "person": "ada"}).response.status == 400

    def test_a_person_that_is_not_there_is_asked_again(self) -> None:
        world = World()
        answer = world.choose(world.authorize(), person="nobody")
        assert answer.status == 400
        assert "nobody of that name" in answer.body.decode()
        assert answer_of(world.choose(answer, person="ada"))["code"]

    def test_somebody_typed_has_the_groups_and_claims_that_were_typed(self) -> None:
        world = World()
        answer = world.choose(
            world.authorize(),
            user="zoë",
            name="Zoë",
            email="zoe@example.com",
            unverified="1",
            groups="a b, c,,",
            claims='{"level": 7, "name": "not this one"}',
        )
        tokens = document(world.redeem(answer_of(answer)["code"]))
        assert document(world.userinfo(tokens["access_token"])) == {
            "sub": "zoë",
            "name": "Zoë",
            "preferred_username": "zoë",
            "email": "zoe@example.com",
            "email_verified": False,
            "groups": ["a b", "c"],
            "level": 7,
        }

    def test_somebody_typed_is_offered_the_next_time(self) -> None:
        world = World()
        world.choose(world.authorize(), user="zoe", name="Zoë Example")
        assert "Zoë Example" in world.authorize(prompt="login").body.decode()

    @pytest.mark.parametrize(
        "typed",
        [
            {},
            {"user": " "},
            {"user": "a" * 256},
            {"user": "a\nb"},
            {"user": "a", "email": "a"},
            {"user": "a", "groups": ",".join("x" * 300)},
            {"user": "a", "claims": "{"},
            {"user": "a", "claims": "[]"},
            {"user": "a", "claims": "[" * 5000},
            {"user": "a", "claims": '{"iss": "x"}'},
            {"user": "a", "claims": '{"doorward_development": false}'},
        ],
    )
    def test_what_can_not_be_is_said_and_asked_again(self, typed: dict[str, str]) -> None:
        """S72: the provider's own claims are never typed, its marker least of all."""
        world = World()
        answer = world.choose(world.authorize(), **typed)
        assert answer.status == 400
        assert 'role="alert"' in answer.body.decode()
        assert not world.provider._authorize._memory.codes

    def test_what_was_typed_and_refused_is_still_in_the_form(self) -> None:
        world = World()
        answer = world.choose(world.authorize(), user="zoe", claims='{"a": "<b>"')
        assert 'value="zoe"' in answer.body.decode()
        assert "{&#34;a&#34;: &#34;&lt;b&gt;&#34;" in answer.body.decode()

    @pytest.mark.parametrize("hint", ["ben", "ben@example.com"])
    def test_a_login_hint_points_at_somebody(self, hint: str) -> None:
        page = World().authorize(login_hint=hint).body.decode()
        assert 'value="ben" autofocus' in page
        assert page.count("autofocus") == 1


class TestRemembering:
    def test_the_browser_is_not_asked_twice(self) -> None:
        world = World()
        world.log_in("ben")
        assert answer_of(world.authorize()).keys() == {"code", "state", "iss"}
        assert answer_of(world.authorize(prompt="none"))["code"]

    def test_another_browser_is_asked(self) -> None:
        world = World()
        world.log_in()
        world.jar = {}
        assert world.authorize().status == 200

    def test_the_cookie_carries_the_port_and_is_of_no_use_to_scripts(self) -> None:
        world = World()
        answer = world.choose(world.authorize(), person="ada")
        cookie = header(answer, b"set-cookie")
        assert cookie.startswith("doorward-development-provider-9000=")
        assert "; Path=/doorward-development; HttpOnly; SameSite=Lax" in cookie

    def test_a_login_gives_the_browser_a_new_cookie(self) -> None:
        """S35: one that was planted before a login is worth nothing after it."""
        world = World()
        world.authorize()
        planted = dict(world.jar)
        world.log_in()
        assert world.jar != planted
        world.jar = planted
        assert world.authorize().status == 200

    @pytest.mark.parametrize("prompt", ["login", "select_account", "login consent"])
    def test_prompt_asks_again(self, prompt: str) -> None:
        world = World()
        world.log_in()
        assert world.authorize(prompt=prompt).status == 200

    def test_max_age_asks_again_when_the_login_is_older(self) -> None:
        world = World()
        world.log_in()
        world.clock.now += 100
        assert world.authorize(max_age="100").status == 303
        world.clock.now += 1
        assert world.authorize(max_age="100").status == 200
        assert answer_of(world.authorize(max_age="100", prompt="none"))["error"] == "login_required"

    def test_a_login_ends_after_eight_hours(self) -> None:
        world = World()
        world.log_in()
        world.clock.now += 8 * 3600
        assert world.authorize().status == 200

    def test_a_hint_of_somebody_else_asks(self) -> None:
        """OIDC Core §3.1.2.1, id_token_hint."""
        world = World()
        hint = world.tokens("ben")["id_token"]
        assert world.authorize(prompt="none", id_token_hint=hint).status == 303
        world.log_in("ada", prompt="login")
        assert answer_of(world.authorize(prompt="none", id_token_hint=hint))["error"] == "login_required"
        assert world.authorize(id_token_hint=hint).status == 200

    def test_a_hint_that_we_did_not_sign_is_refused(self) -> None:
        world = World()
        world.log_in()
        assert answer_of(world.authorize(id_token_hint="a.b.c"))["error"] == "invalid_request"

    def test_memory_is_bounded(self) -> None:
        """A page that opens logins without end costs the oldest of them."""
        world = World()
        world.log_in()
        for _ in range(3000):
            world.authorize(prompt="none")
        assert len(world.provider._authorize._memory.codes) == 2000
