"""What a request that does not pass is told, and by which kind of answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.core import refusals
from sidecar.core.decision import Decision, Flow, Respond
from sidecar.core.flows.call import Call
from sidecar.core.http import HeaderPair, RequestHead, header_values
from sidecar.core.navigation import is_navigation, wants_page
from sidecar.core.reasons import REASONS
from sidecar.core.runtime import Site
from sidecar.core.sentences import SENTENCES
from tests.core.gatesetup import World, head, provider, site

NAVIGATE: tuple[HeaderPair, ...] = ((b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Dest", b"document"))
ACCEPTS_HTML: tuple[HeaderPair, ...] = ((b"Accept", b"text/html,application/xhtml+xml,*/*;q=0.8"),)
TRUSTED = "https://spa.example"


def call(request: RequestHead, of: Site | None = None) -> Call:
    world = World((of or site(),))
    return Call(
        runtime=world.runtime,
        site=world.sites[0],
        state=world.state,
        head=request,
        now=world.now,
        path="/app/",
        query=b"",
        cookies=(),
        client_ip="192.0.2.7",
    )


def ask(*pairs: HeaderPair, of: Site | None = None, reason: str = "login_required", **parts: Any) -> Decision:
    return refusals.unauthenticated(call(head(parts.pop("target", b"/app/"), *pairs, **parts), of), reason)


def respond(*pairs: HeaderPair, **parts: Any) -> Respond:
    answer = ask(*pairs, **parts)
    assert isinstance(answer, Respond), answer
    return answer


def headers(answer: Respond, name: bytes) -> list[bytes]:
    return header_values(answer.response.headers, name)


class TestNavigation:
    @pytest.mark.parametrize(
        "pairs",
        [
            NAVIGATE,
            NAVIGATE[:1],
            (NAVIGATE[0], (b"Sec-Fetch-Dest", b"iframe")),
            (NAVIGATE[0], (b"Sec-Fetch-Dest", b"frame")),
            ACCEPTS_HTML,
            ((b"Accept", b"TEXT/HTML"),),
        ],
    )
    @pytest.mark.parametrize("method", [b"GET", b"HEAD"])
    def test_a_navigation_begins_a_login(self, method: bytes, pairs: tuple[HeaderPair, ...]) -> None:
        answer = ask(*pairs, method=method)
        assert isinstance(answer, Flow)
        assert answer.name == "login"

    @pytest.mark.parametrize(
        "pairs",
        [
            (),
            ((b"Accept", b"*/*"),),
            ((b"Accept", b"application/json"),),
            (*ACCEPTS_HTML, (b"X-Requested-With", b"XMLHttpRequest")),
            (*ACCEPTS_HTML, (b"Sec-Fetch-Mode", b"cors"), (b"Sec-Fetch-Dest", b"empty")),
            (*ACCEPTS_HTML, (b"Sec-Fetch-Mode", b"no-cors"), (b"Sec-Fetch-Dest", b"image")),
            ((b"Sec-Fetch-Mode", b"cors"), (b"Sec-Fetch-Dest", b"manifest")),
            ((b"Sec-Fetch-Mode", b"same-origin"), (b"Sec-Fetch-Dest", b"serviceworker")),
            ((b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Dest", b"object")),
            ((b"Sec-Fetch-Mode", b"websocket"), (b"Sec-Fetch-Dest", b"websocket")),
            (*NAVIGATE, (b"Sec-Purpose", b"prefetch;prerender")),
            (*NAVIGATE, (b"Purpose", b"prefetch")),
            (*NAVIGATE, *NAVIGATE),
        ],
    )
    def test_all_else_gets_a_401(self, pairs: tuple[HeaderPair, ...]) -> None:
        """S37, S38: fetch, manifests, service workers and prefetches can't follow us to another origin."""
        answer = respond(*pairs)
        assert answer.response.status == 401
        assert headers(answer, b"location") == headers(answer, b"set-cookie") == []

    @pytest.mark.parametrize("method", [b"OPTIONS", b"POST", b"DELETE"])
    def test_other_methods_are_never_redirected(self, method: bytes) -> None:
        """S38: other methods are never redirected."""
        assert respond(*NAVIGATE, method=method).response.status == 401

    def test_two_witnesses_that_differ_are_no_navigation(self) -> None:
        twice = head(b"/", (b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Mode", b"cors"))
        assert not is_navigation(twice)
        assert not wants_page(twice)


class TestProgram:
    def test_it_is_told_in_json_where_to_sign_in(self) -> None:
        """S37: it is told in json where to sign in."""
        answer = respond()
        assert json.loads(answer.response.body) == {
            "error": "login_required",
            "message": "Sign in to go on.",
            "login_url": "https://app.example.com/oauth2/start",
            "request_id": "req-1",
        }
        assert answer.note.reason == "login_required_api"

    def test_the_answer_names_us_as_its_author(self) -> None:
        """S37: no application's 401 is taken for ours, nor ours for an application's."""
        assert headers(respond(), b"doorward-intercepted") == [b"login_required_api"]

    def test_nothing_keeps_it(self) -> None:
        assert headers(respond(), b"cache-control") == [b"no-store"]

    def test_no_browser_opens_a_dialog(self) -> None:
        """RFC 9110 §15.5.2 asks for a challenge; Basic, Digest, NTLM and Negotiate would open one."""
        (challenge,) = headers(respond(), b"www-authenticate")
        assert challenge.startswith(b"Cookie realm=")

    @pytest.mark.parametrize("reason", ["session_expired", "session_revoked"])
    def test_the_log_knows_why(self, reason: str) -> None:
        answer = respond(reason=reason)
        assert answer.note.reason == reason
        assert json.loads(answer.response.body)["error"] == "login_required"

    def test_the_login_leads_back_to_the_page_that_asked(self) -> None:
        answer = respond((b"Referer", b"https://app.example.com/page?x=1"))
        url = json.loads(answer.response.body)["login_url"]
        assert url.startswith("https://app.example.com/oauth2/start?rd=")
        assert "page%3Fx%3D1" in url

    @pytest.mark.parametrize(
        "referer", [b"https://evil.example/x", b"//evil.example", b"javascript:alert(1)", b"\xff"]
    )
    def test_it_never_leads_to_a_foreign_page(self, referer: bytes) -> None:
        """S62: it never leads to a foreign page."""
        body = json.loads(respond((b"Referer", referer)).response.body)
        assert body["login_url"] == "https://app.example.com/oauth2/start"

    def test_a_site_with_a_choice_names_its_sign_in_page(self) -> None:
        two = site(providers={"a": provider("a"), "b": provider("b")})
        for of in (two, site(sign_in="page")):
            body = json.loads(respond(of=of).response.body)
            assert body["login_url"] == "https://app.example.com/oauth2/sign_in"


class TestForm:
    @pytest.mark.parametrize("pairs", [NAVIGATE, ACCEPTS_HTML])
    def test_a_form_is_told_that_its_session_has_ended(self, pairs: tuple[HeaderPair, ...]) -> None:
        """Never a silent loss."""
        answer = respond(*pairs, method=b"POST")
        assert answer.response.status == 401
        assert answer.response.page is not None
        assert answer.response.page.name == "session_ended"
        assert answer.response.page.values["was_form"] is True
        assert answer.note.reason == "session_ended_form"
        assert headers(answer, b"cache-control") == [b"no-store"]

    def test_a_fetch_that_posts_gets_json(self) -> None:
        assert respond((b"Sec-Fetch-Mode", b"cors"), *ACCEPTS_HTML, method=b"POST").response.page is None


class TestTrustedOrigins:
    def test_their_scripts_may_read_our_401(self) -> None:
        """S37: with the exact origin, never a wildcard."""
        answer = respond((b"Origin", TRUSTED.encode()), of=site(trusted_origins=frozenset({TRUSTED})))
        assert headers(answer, b"access-control-allow-origin") == [TRUSTED.encode()]
        assert headers(answer, b"access-control-allow-credentials") == [b"true"]
        assert headers(answer, b"access-control-expose-headers") == [b"Doorward-Intercepted"]
        assert headers(answer, b"vary") == [b"Origin"]

    @pytest.mark.parametrize(
        "origin", [b"https://evil.example", b"null", b"https://spa.example.evil.example", b"*"]
    )
    def test_no_other_origins_may(self, origin: bytes) -> None:
        answer = respond((b"Origin", origin), of=site(trusted_origins=frozenset({TRUSTED})))
        assert headers(answer, b"access-control-allow-origin") == []
        assert headers(answer, b"vary") == [b"Origin"]

    def test_two_origins_are_nobodys(self) -> None:
        twice = ((b"Origin", TRUSTED.encode()),) * 2
        answer = respond(*twice, of=site(trusted_origins=frozenset({TRUSTED})))
        assert headers(answer, b"access-control-allow-origin") == []

    def test_a_site_without_any_says_nothing(self) -> None:
        answer = respond((b"Origin", TRUSTED.encode()))
        assert headers(answer, b"vary") == headers(answer, b"access-control-allow-origin") == []


class TestRefuse:
    @pytest.mark.parametrize("reason", sorted(REASONS))
    def test_every_reason_can_be_told_to_anybody(self, reason: str) -> None:
        for request in (None, head(), head(b"/", *NAVIGATE)):
            answer = refusals.refuse(None, reason, 400, "req-1", request)
            assert answer.note.reason == reason
            assert headers(answer, b"doorward-intercepted") == [reason.encode()]
            assert headers(answer, b"cache-control") == [b"no-store"]

    def test_a_person_gets_a_page_with_a_request_id_and_no_detail(self) -> None:
        answer = refusals.refuse(site(), "upstream_unavailable", 502, "req-1", head(b"/x?y=1", *NAVIGATE))
        assert answer.response.page is not None
        said = SENTENCES["upstream_unavailable"]
        assert answer.response.page.values == {
            "status": 502,
            "title": said.title,
            "message": said.message,
            "request_id": "req-1",
            "retry_url": "/x?y=1",
        }

    @pytest.mark.parametrize(
        ("target", "method"),
        [(b"//evil.example/", b"GET"), (b"/\\evil", b"GET"), (b"/x", b"POST"), (b"*", b"GET")],
    )
    def test_trying_again_never_leads_elsewhere(self, target: bytes, method: bytes) -> None:
        """S63: nor sends a form again."""
        answer = refusals.refuse(site(), "timeout", 408, "r", head(target, *NAVIGATE, method=method))
        assert answer.response.page is not None
        assert answer.response.page.values["retry_url"] is None

    def test_a_405_names_the_methods(self) -> None:
        """RFC 9110 §15.5.6."""
        assert headers(refusals.refuse(None, "method_refused", 405, "r", head()), b"allow")
