from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sidecar.core.decision import Respond
from sidecar.core.policy import Authenticated, Groups
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import AssertionPolicy, HeaderPolicy
from sidecar.core.secret import Secret
from tests.core.flows.flowsetup import Browser, location, page_of, setup
from tests.core.gatesetup import NOW, PRESET, provider
from tests.core.oidcsetup import ec_key

EVERYBODY = RuleTable.build((Rule(name="all", allow=Authenticated()),))
ADMINS = RuleTable.build((Rule(name="all", allow=Groups(("admins",))),))
PROFILE = {
    "email": "a@example.com",
    "email_verified": True,
    "preferred_username": "al",
    "groups": ["users", "ops"],
}


def signed_in(**changes: Any) -> Browser:
    browser = setup(provider(), **{"rules": EVERYBODY, **changes})
    browser.op.id_claims = dict(PROFILE)
    browser.log_in("/oauth2/start")
    return browser


def send(browser: Browser, target: str, method: bytes = b"GET", *pairs: tuple[bytes, bytes]) -> Respond:
    result = browser.send(method, target, pairs)
    assert isinstance(result, Respond), result
    return result


def header(respond: Respond, name: bytes) -> list[bytes]:
    return [value for key, value in respond.response.headers if key.lower() == name.lower()]


@pytest.mark.parametrize(
    "name", ["", "none", "start/", "callback/x", "auth/x", "sign_out/", "Start", "sign_out/return/x"]
)
def test_what_is_no_endpoint_is_not_found(name: str) -> None:
    """S60: and never reaches the upstream."""
    assert send(signed_in(), f"/oauth2/{name}").response.status == 404


def test_nobody_may_ask_about_others_where_no_ingress_is_configured() -> None:
    """S75: whoever asks, with whichever session."""
    for target in ("/oauth2/auth", "/oauth2/auth?allowed_groups=users"):
        respond = send(signed_in(), target)

        assert respond.response.status == 403
        assert respond.note.reason == "caller_refused"
        assert header(respond, b"X-Auth-Request-User") == []


class TestUserinfo:
    def test_a_program_gets_json(self) -> None:
        respond = send(signed_in(), "/oauth2/userinfo")

        assert json.loads(respond.response.body) == {
            "user": "248289",
            "email": "a@example.com",
            "groups": ["users", "ops"],
            "preferredUsername": "al",
        }
        assert header(respond, b"Cache-Control") == [b"no-store"]

    def test_what_is_not_known_is_left_out(self) -> None:
        browser = setup(provider(), rules=EVERYBODY)
        browser.log_in()

        assert json.loads(send(browser, "/oauth2/userinfo").response.body) == {"user": "248289", "groups": []}

    def test_a_person_gets_a_page(self) -> None:
        name, shown = page_of(signed_in().get("/oauth2/userinfo"))

        assert name == "who_am_i"
        assert shown["email"] == "a@example.com"
        assert shown["expires"] == NOW + 43_200
        assert shown["sign_out_url"] == "/oauth2/sign_out"

    def test_nobody_is_told_to_sign_in(self) -> None:
        browser = setup(provider(), rules=EVERYBODY)

        assert send(browser, "/oauth2/userinfo").response.status == 401
        assert location(browser.get("/oauth2/userinfo")).startswith("https://id.example.com/")

    def test_a_trusted_origin_may_read_it(self) -> None:
        browser = signed_in(trusted_origins=frozenset({"https://spa.example.com"}))

        trusted = send(browser, "/oauth2/userinfo", b"GET", (b"Origin", b"https://spa.example.com"))
        stranger = send(browser, "/oauth2/userinfo", b"GET", (b"Origin", b"https://evil.example.com"))

        assert header(trusted, b"Access-Control-Allow-Origin") == [b"https://spa.example.com"]
        assert header(stranger, b"Access-Control-Allow-Origin") == []

    def test_it_is_asked_with_get_or_head(self) -> None:
        assert send(signed_in(), "/oauth2/userinfo", b"PUT").response.status == 405


class TestSignIn:
    def test_it_is_asked_with_get_or_head(self) -> None:
        assert send(setup(), "/oauth2/sign_in", b"HEAD").response.status == 200
        assert send(setup(), "/oauth2/sign_in", b"PUT").response.status == 405


@pytest.mark.parametrize(
    "target", ["/oauth2/start?rd=/x&cause=denied", "/oauth2/start", "/oauth2/sign_in?rd=/x"]
)
@pytest.mark.parametrize("mode", [b"cors", b"same-origin", b"no-cors", b"websocket"])
def test_a_script_that_an_ingress_sends_to_sign_in_is_told_401(target: str, mode: bytes) -> None:
    """S38: it can't follow to the provider, and would take our page for what it asked for."""
    respond = send(setup(), target, b"GET", (b"Sec-Fetch-Mode", mode))

    assert respond.response.status == 401
    assert json.loads(respond.response.body)["error"] == "login_required"
    assert header(respond, b"Set-Cookie") == header(respond, b"Location") == []


def with_assertion() -> HeaderPolicy:
    pem = ec_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assertion = AssertionPolicy(
        header="X-Assertion", keys=(Secret(pem),), issuer="https://app.example.com", audience="app"
    )
    return HeaderPolicy(upstream=PRESET.upstream, auth_response=PRESET.auth_response, assertion=assertion)


class TestJwks:
    def test_without_an_assertion_there_are_no_keys(self) -> None:
        respond = send(setup(), "/oauth2/jwks")

        assert json.loads(respond.response.body) == {"keys": []}
        assert header(respond, b"Content-Type") == [b"application/jwk-set+json"]

    def test_the_public_key_of_the_assertion_is_shown_to_anybody(self) -> None:
        respond = send(setup(provider(), headers=with_assertion()), "/oauth2/jwks")

        (key,) = json.loads(respond.response.body)["keys"]
        assert key["kty"] == "EC"
        assert "d" not in key

    def test_it_is_asked_with_get_or_head(self) -> None:
        assert send(setup(), "/oauth2/jwks", b"POST").response.status == 405


def test_another_prefix_moves_them_all() -> None:
    """Hydra and others serve /oauth2 themselves."""
    browser = setup(provider(redirect_path="/-/auth/callback"), prefix="/-/auth", rules=EVERYBODY)

    query = browser.op.authorize(browser.begin("/oauth2/auth"))

    assert location(browser.come_back(query, "/-/auth/callback")) == "/oauth2/auth"
    assert send(browser, "/-/auth/userinfo").response.status == 200


def test_a_callback_may_be_outside_the_prefix() -> None:
    browser = setup(provider(redirect_path="/login/oidc"), rules=EVERYBODY)

    assert location(browser.come_back(browser.op.authorize(browser.begin()), "/login/oidc")) == "/app/x?y=1"
