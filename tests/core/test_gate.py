"""May this request pass? Each rule of the gate, with real rules, keys and cookies."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Flow, Forward, Respond
from sidecar.core.http import HeaderPair
from sidecar.core.policy import Anyone, Authenticated, Networks
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import CookiePolicy, HeaderPolicy, Origin, Route, Upstream
from tests.core.gatesetup import (
    NOW,
    PRESET,
    UPSTREAM,
    World,
    identity,
    provider,
    sent,
    session,
    site,
    values,
)

HTML = ((b"Accept", b"text/html"),)
NAVIGATE = ((b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Dest", b"document"))
CROSS = ((b"Origin", b"https://evil.example"), (b"Sec-Fetch-Site", b"cross-site"))
WEBSOCKET = (
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
)
IDENTITY_NAMES = {b"X-Forwarded-User", b"X-Forwarded-Email", b"X-Forwarded-Groups"}


def has_identity(forward: Forward) -> bool:
    return bool(IDENTITY_NAMES & {name for name, _ in sent(forward)})


class TestAdmission:
    def test_a_session_passes_with_its_identity(self) -> None:
        world = World()
        forward = world.forward(b"/app/x?y=1", cookie=world.cookie())
        assert forward.target == b"/app/x?y=1"
        assert forward.upstream is UPSTREAM
        assert values(forward, b"X-Forwarded-User") == [b"alice"]
        assert values(forward, b"X-Forwarded-Email") == [b"alice@example.com"]
        assert (forward.note.reason, forward.note.rule, forward.note.user) == ("allowed", "all", "alice")

    def test_the_second_request_of_a_session_is_decided_as_the_first(self) -> None:
        """The hot path gives the same, field by field."""
        world = World()
        cookie = b"a=1; " + world.cookie() + b"; b=2"
        first, second, third = (world.forward(b"/app/", (b"X-A", b"1"), cookie=cookie) for _ in range(3))
        assert sent(first) == sent(second) == sent(third)
        assert second.edits is third.edits
        assert (first.note, first.lease, first.finish) == (third.note, third.lease, third.finish)

    def test_no_rule_means_denied(self) -> None:
        """S61."""
        world = World()
        refusal = world.respond(b"/elsewhere", cookie=world.cookie())
        assert (refusal.response.status, refusal.note.reason) == (403, "no_rule")

    def test_nobody_is_sent_to_sign_in_where_it_would_not_help(self) -> None:
        """S61: no rule matches."""
        refusal = World().respond(b"/elsewhere", *HTML)
        assert (refusal.response.status, refusal.note.reason) == (403, "no_rule")

    def test_a_session_that_is_not_admitted_gets_a_page(self) -> None:
        world = World()
        refusal = world.respond(b"/admin/x", *NAVIGATE, cookie=world.cookie())
        assert (refusal.response.status, refusal.note.reason) == (403, "denied")
        assert refusal.response.page is not None
        assert refusal.response.page.name == "denied"
        assert refusal.response.page.values["user"] == "alice@example.com"
        assert (refusal.note.rule, refusal.note.user) == ("admin", "alice")

    def test_a_program_that_is_not_admitted_gets_json(self) -> None:
        world = World()
        refusal = world.respond(b"/admin/x", cookie=world.cookie())
        assert (refusal.response.status, refusal.response.page) == (403, None)
        assert b'"error":"denied"' in refusal.response.body

    def test_admission_is_by_the_rule_of_each_path(self) -> None:
        world = World()
        admin = world.cookie(session(identity=identity(groups=("admins",))))
        assert world.forward(b"/admin/x", cookie=admin).note.rule == "admin"
        assert world.forward(b"/app/x", cookie=admin).note.rule == "all"
        assert world.respond(b"/closed/x", cookie=admin).response.status == 403
        assert world.forward(b"/admin/x", cookie=admin).note.rule == "admin"

    def test_anyone_passes_without_a_session(self) -> None:
        forward = World().forward(b"/public/x")
        assert not has_identity(forward)
        assert (forward.note.reason, forward.lease) == ("allowed_anyone", None)

    def test_anyone_with_a_session_passes_with_identity(self) -> None:
        world = World()
        forward = world.forward(b"/public/x", cookie=world.cookie())
        assert values(forward, b"X-Forwarded-User") == [b"alice"]
        assert forward.note.reason == "allowed_anyone"

    @pytest.mark.parametrize(
        "cookie", [b"__Host-doorward=nonsense", b"__Host-doorward=", b"__Host-doorward.0=x"]
    )
    def test_anyone_with_an_invalid_session_passes_without(self, cookie: bytes) -> None:
        forward = World().forward(b"/public/x", cookie=cookie + b"; a=1")
        assert not has_identity(forward)
        assert values(forward, b"Cookie") == [b"a=1"]

    def test_a_source_address_admits_without_a_session(self) -> None:
        rule = Rule(name="net", allow=Networks.of(["192.0.2.0/24"]))
        world = World((site(rules=RuleTable.build([rule])),))
        assert world.forward(b"/x").note.reason == "allowed"
        assert world.respond(b"/x", *HTML, peer="198.51.100.1").response.status == 403

    def test_the_address_is_judged_anew_when_the_session_moves(self) -> None:
        """A grant holds for the address that it was made for."""
        rule = Rule(name="net", allow=Networks.of(["192.0.2.0/24"]))
        world = World((site(rules=RuleTable.build([rule])),))
        cookie = world.cookie()
        for _ in range(2):
            assert isinstance(world.ask(b"/x", cookie=cookie), Forward)
            assert isinstance(world.ask(b"/x", cookie=cookie, peer="198.51.100.1"), Respond)

    def test_a_copied_end_of_a_cookie_opens_nothing(self) -> None:
        """S33: an entry of the cache is only found by it."""
        world = World()
        cookie = world.cookie()
        assert isinstance(world.ask(cookie=cookie), Forward)
        name, _, value = cookie.partition(b"=")
        forged = name + b"=" + b"A" * (len(value) - 40) + value[-40:]
        assert isinstance(world.ask(cookie=forged), Respond)


class TestSessionsEnd:
    def test_an_expired_session_is_asked_to_sign_in(self) -> None:
        """S36: also one that the hot path knew."""
        world = World()
        cookie = world.cookie()
        world.forward(cookie=cookie)
        world.now += 3600
        refusal = world.respond(cookie=cookie)
        assert (refusal.response.status, refusal.note.reason) == (401, "session_expired")

    def test_a_revoked_session_is_refused_at_once(self) -> None:
        """S36: a copied cookie too."""
        world = World()
        cookie = world.cookie()
        world.forward(cookie=cookie)
        world.state.revocations.add("session-1", NOW + 50_000)
        refusal = world.respond(cookie=cookie)
        assert (refusal.response.status, refusal.note.reason) == (401, "session_revoked")

    def test_a_new_configuration_takes_effect_for_open_sessions(self) -> None:
        """S73."""
        world = World()
        cookie = world.cookie()
        world.forward(cookie=cookie)
        tighter = RuleTable.build([Rule(name="none", path="/other", allow=Authenticated())])
        world.runtime = replace(world.runtime, sites=(site(rules=tighter),))
        assert world.respond(cookie=cookie).note.reason == "no_rule"

    def test_the_cookie_is_issued_anew_when_its_clock_is_old(self) -> None:
        """S36: the idle limit follows activity, and not every answer carries a cookie."""
        world = World()
        cookie = world.cookie()
        assert world.forward(cookie=cookie).finish.set_cookies == ()
        world.now += 400
        forward = world.forward(cookie=cookie)
        assert has_identity(forward)
        (value,) = (v for v in forward.finish.set_cookies if b"Max-Age=0" not in v)
        assert world.forward(cookie=cookie).finish.set_cookies == ()
        renewed = value.partition(b";")[0]
        world.now += 3500
        assert isinstance(world.ask(cookie=renewed), Forward)

    def test_a_refusal_carries_the_renewed_cookie_too(self) -> None:
        world = World()
        cookie = world.cookie()
        world.now += 400
        refusal = world.respond(b"/admin/x", cookie=cookie)
        assert any(name == b"Set-Cookie" for name, _ in refusal.response.headers)

    def test_a_due_refresh_comes_before_the_verdict(self) -> None:
        from sidecar.core.secret import Secret

        world = World()
        due = session(refresh_token=Secret(b"r"), access_token=Secret(b"a"), access_expires_at=NOW + 30)
        assert world.flow(cookie=world.cookie(due)).name == "refresh"


class TestHost:
    def test_a_request_without_host_is_refused(self) -> None:
        """S49: RFC 9112 §3.2."""
        assert World().respond(host=None).response.status == 400

    @pytest.mark.parametrize("second", [b"app.example.com", b"evil.example"])
    def test_a_second_host_is_refused(self, second: bytes) -> None:
        """S49."""
        world = World()
        for name in (b"Host", b"host"):
            refusal = world.respond(b"/public/", (name, second))
            assert (refusal.response.status, refusal.note.reason) == (400, "invalid_request")
        assert world.respond(b"/public/", (b"Host", b"app.example.com"), host=second).response.status == 400

    @pytest.mark.parametrize(
        "host", [b"evil.example", b"app.example.com.evil.example", b"evil-app.example.com"]
    )
    def test_an_unknown_host_is_not_served(self, host: bytes) -> None:
        """S49."""
        refusal = World().respond(b"/public/", host=host)
        assert (refusal.response.status, refusal.note.reason) == (421, "unknown_host")

    @pytest.mark.parametrize(
        "host",
        [
            b"",
            b"app.example.com@evil.example",
            b"evil@app.example.com",
            b"app.example.com,x",
            b"a b",
            b"[::1",
        ],
    )
    def test_a_malformed_host_is_refused(self, host: bytes) -> None:
        """S49: caddy-security CVE-2024-21499."""
        assert World().respond(b"/public/", host=host).response.status == 400

    @pytest.mark.parametrize("host", [b"APP.example.com", b"app.example.com:443", b"app.example.com:8443"])
    def test_case_and_port_do_not_hide_a_site(self, host: bytes) -> None:
        """A published port differs from the one in public_url; Host goes upstream as it came."""
        forward = World().forward(b"/public/", host=host)
        assert forward.kept[0] == (b"Host", host)
        assert values(forward, b"X-Forwarded-Host") == [b"app.example.com"]

    def test_the_port_counts_where_it_tells_sites_apart(self) -> None:
        one, two = (
            site(
                name=f"site{port}",
                public_url=Origin(scheme="http", host="localhost", port=port),
                hosts=frozenset({f"localhost:{port}"}),
            )
            for port in (8080, 8081)
        )
        world = World((one, two))
        assert world.forward(b"/public/", host=b"localhost:8081").note.site == "site8081"
        assert world.respond(b"/public/", host=b"localhost:9999").response.status == 421

    @pytest.mark.parametrize("host", [b"127.0.0.1:8080", b"[::1]:8080", b"x.localhost:1"])
    def test_another_name_of_this_machine_leads_to_the_configured_url(self, host: bytes) -> None:
        local = site(
            public_url=Origin(scheme="http", host="localhost", port=8080), hosts=frozenset({"localhost:8080"})
        )
        answer = World((local,)).respond(b"/a//evil.example", *HTML, host=host).response
        assert answer.status == 302
        assert (b"Location", b"http://localhost:8080/") in answer.headers
        assert World((local,)).respond(b"/a", host=host).response.status == 421
        assert World((local,)).respond(b"/a", *HTML, host=b"evil.example").response.status == 421

    def test_a_public_site_leads_nobody_anywhere(self) -> None:
        assert World().respond(b"/", *HTML, host=b"127.0.0.1").response.status == 421

    def test_an_upstream_may_ask_for_a_host_of_its_own(self) -> None:
        inner = replace(UPSTREAM, host_header="inner.example")
        world = World((site(routes=(Route(prefix="/", upstream=inner),)),))
        cookie = world.cookie()
        for _ in range(2):
            assert world.forward(cookie=cookie).kept[0] == (b"Host", b"inner.example")


class TestTarget:
    def test_an_absolute_form_that_agrees_passes_as_a_path(self) -> None:
        """S55: RFC 9112 §3.2.2."""
        assert World().forward(b"http://APP.example.com/public/x").target == b"/public/x"

    @pytest.mark.parametrize(
        "target",
        [
            b"http://evil.example/public/",
            b"https://app.example.com:444/public/",
            b"http://u@app.example.com/public/",
            b"*",
            b"app.example.com:443",
            b"public/",
            b"ftp://app.example.com/public/",
        ],
    )
    def test_any_other_form_is_refused(self, target: bytes) -> None:
        """S49, S55."""
        assert World().respond(target).response.status == 400

    @pytest.mark.parametrize("method", [b"CONNECT", b"TRACE"])
    def test_methods_that_no_gateway_serves_are_refused(self, method: bytes) -> None:
        """S55: with a session too."""
        world = World()
        refusal = world.respond(b"/public/", method=method, cookie=world.cookie())
        assert (refusal.response.status, refusal.note.reason) == (405, "method_refused")
        assert any(name == b"Allow" for name, _ in refusal.response.headers)

    def test_a_connect_authority_is_refused(self) -> None:
        """S55."""
        assert World().respond(b"evil.example:443", method=b"CONNECT").response.status == 405

    @pytest.mark.parametrize(
        "target",
        [b"/public/..%2fadmin/x", b"/public/../admin/x", b"/public/%2e%2e/admin/x", b"/public/..;/admin/x"],
    )
    def test_readings_that_disagree_are_refused(self, target: bytes) -> None:
        """S57."""
        world = World()
        assert world.respond(target).response.status == 400
        refusal = world.respond(target, cookie=world.cookie())
        assert (refusal.response.status, refusal.note.reason) == (400, "ambiguous_path")

    def test_readings_that_are_all_allowed_pass_byte_for_byte(self) -> None:
        """S57, S58."""
        world = World()
        admin = world.cookie(session(identity=identity(groups=("admins",))))
        for target in (b"/app/a%2Fb", b"/public/..%2fadmin/x", b"/app//x", b"/app/%61"):
            assert world.forward(target, cookie=admin).target == target

    @pytest.mark.parametrize("target", [b"/app/\\x", b"/app/%00", b"/app/%5c", b"/app/%c0%af"])
    def test_what_no_reading_accepts_is_refused(self, target: bytes) -> None:
        """S58."""
        world = World()
        assert world.respond(target, cookie=world.cookie()).response.status == 400


class TestOwnPrefix:
    def test_an_endpoint_is_ours(self) -> None:
        answer = World().respond(b"/oauth2/sign_in", *HTML)
        assert answer.note.reason == "sign_in_page"

    def test_an_unknown_endpoint_is_not_forwarded(self) -> None:
        """S60: no upstream route shadows the prefix."""
        for target in (b"/oauth2/unknown", b"/oauth2", b"/oauth2/"):
            assert World().respond(target).response.status == 404

    def test_a_name_that_only_begins_alike_is_not_ours(self) -> None:
        """S60: `/oauth2x`."""
        world = World((site(rules=RuleTable.build([Rule(name="all", allow=Anyone())])),))
        assert world.forward(b"/oauth2x").target == b"/oauth2x"
        assert world.forward(b"/OAUTH2/start").note.rule is not None

    @pytest.mark.parametrize(
        "target",
        [
            b"/public/../oauth2/start",
            b"/public/..%2foauth2/start",
            b"/%6fauth2/start",
            b"//oauth2/start",
            b"/oauth2/../public/x",
            b"/oauth2/..%2fpublic/x",
            b"/oauth2;x/start",
            b"/oauth2%2fstart",
            b"/./oauth2/start",
            b"/oauth2/%73tart",
            b"/oauth2/./start",
            b"/oauth2//start",
        ],
    )
    def test_no_trick_reaches_or_leaves_the_prefix(self, target: bytes) -> None:
        """S60."""
        world = World((site(rules=RuleTable.build([Rule(name="all", allow=Anyone())])),))
        refusal = world.respond(target, cookie=world.cookie())
        assert (refusal.response.status, refusal.note.reason) == (400, "ambiguous_path")

    def test_a_callback_outside_the_prefix_is_ours(self) -> None:
        own = site(providers={"main": provider(redirect_path="/auth/callback")})
        world = World((own,))
        decision = world.ask(b"/auth/callback?state=x&code=y", *HTML)
        assert isinstance(decision, Flow) or decision.note.reason != "no_rule"
        assert not isinstance(decision, Forward)

    @given(st.lists(st.sampled_from(["oauth2", "public", "..", ".", "%2f", "%2e", ";", "/", "start", "%6f"])))
    def test_nothing_under_the_prefix_is_ever_forwarded(self, parts: list[str]) -> None:
        """S60: whatever is forwarded has no reading under the prefix."""
        from sidecar.core.paths import parse_target

        world = World((site(rules=RuleTable.build([Rule(name="all", allow=Anyone())])),))
        target = ("/" + "/".join(parts)).encode()
        decision = world.ask(target)
        if isinstance(decision, Forward):
            readings = parse_target(target).readings
            assert not any(r == "/oauth2" or r.startswith("/oauth2/") for r in readings)


class TestAuthEndpoint:
    TARGET = b"/oauth2/auth"

    def world(self, **changes: Any) -> World:
        return World((site(rules=RuleTable.build([Rule(name="all", allow=Authenticated())]), **changes),))

    def test_a_session_gets_its_identity_headers_each_time(self) -> None:
        world = self.world()
        cookie = world.cookie()
        answers = [world.respond(self.TARGET, cookie=cookie) for _ in range(3)]
        for answer in answers:
            assert answer.response.status == 200
            assert (b"X-Auth-Request-User", b"alice") in answer.response.headers
        assert answers[1] is answers[2]

    def test_nobody_gets_a_401(self) -> None:
        assert self.world().respond(self.TARGET, *HTML).response.status == 401

    def test_a_prepared_yes_ends_with_its_session(self) -> None:
        """S36."""
        world = self.world()
        cookie = world.cookie()
        assert world.respond(self.TARGET, cookie=cookie).response.status == 200
        world.state.revocations.add("session-1", NOW + 50_000)
        assert world.respond(self.TARGET, cookie=cookie).response.status == 401

    def test_a_prepared_yes_holds_for_its_address_only(self) -> None:
        rule = Rule(name="net", allow=Networks.of(["192.0.2.0/24"]))
        world = World((site(rules=RuleTable.build([rule])),))
        cookie = world.cookie()
        for _ in range(2):
            assert world.respond(self.TARGET, cookie=cookie).response.status == 200
            assert world.respond(self.TARGET, cookie=cookie, peer="198.51.100.1").response.status == 403

    def test_a_prepared_yes_answers_reads_only(self) -> None:
        world = self.world()
        cookie = world.cookie()
        world.respond(self.TARGET, cookie=cookie)
        assert world.respond(self.TARGET, method=b"POST", cookie=cookie).response.status == 405

    def test_an_old_cookie_is_renewed(self) -> None:
        """S36: an ingress that passes Set-Cookie on keeps its users signed in."""
        world = self.world()
        cookie = world.cookie()
        world.now += 400
        answer = world.respond(self.TARGET, cookie=cookie).response
        assert answer.status == 200
        assert any(name == b"Set-Cookie" for name, _ in answer.headers)

    def test_it_carries_the_assertion(self) -> None:
        from tests.core.test_assertion import POLICY

        policy = HeaderPolicy(upstream=(), auth_response=PRESET.auth_response, assertion=POLICY)
        world = self.world(headers=policy)
        cookie = world.cookie()
        for _ in range(2):
            names = [name for name, _ in world.respond(self.TARGET, cookie=cookie).response.headers]
            assert names.count(b"X-Doorward-Assertion") == 1
        world.now += 31
        assert world.respond(self.TARGET, cookie=cookie).response.status == 200

    def test_other_endpoints_set_their_own_cookies_only(self) -> None:
        """Whoever signs out must not be handed a new cookie with the answer."""
        world = self.world()
        cookie = world.cookie()
        world.now += 400
        answer = world.respond(b"/oauth2/sign_in", *HTML, cookie=cookie).response
        assert not any(name == b"Set-Cookie" for name, _ in answer.headers)


class TestHygieneOfEveryWay:
    SPOOFS: tuple[HeaderPair, ...] = (
        (b"X-Forwarded-User", b"root"),
        (b"X_Forwarded_Email", b"root@x"),
        (b"X-Forwarded-Groups", b"admins"),
        (b"X.Forwarded.Preferred.Username", b"root"),
        (b"X-Auth-Request-User", b"root"),
        (b"REMOTE_USER", b"root"),
        (b"Remote-User", b"root"),
        (b"X-Original-URL", b"/admin"),
        (b"Proxy", b"http://evil.example"),
        (b"Connection", b"x-forwarded-user, authorization, cookie"),
    )

    PREFLIGHT: tuple[HeaderPair, ...] = (
        (b"Origin", b"https://x"),
        (b"Access-Control-Request-Method", b"POST"),
    )

    @pytest.mark.parametrize(
        ("method", "target", "more", "is_signed_in"),
        [
            (b"GET", b"/public/x", (), False),
            (b"POST", b"/public/x", (), False),
            (b"OPTIONS", b"/hooks/x", PREFLIGHT, False),
            (b"GET", b"/app/x", (), True),
            (b"POST", b"/app/x", (), True),
            (b"GET", b"/app/x", WEBSOCKET, True),
            (b"GET", b"/public/x", WEBSOCKET, False),
        ],
    )
    def test_no_spoof_reaches_the_upstream(
        self, method: bytes, target: bytes, more: tuple[HeaderPair, ...], is_signed_in: bool
    ) -> None:
        """S43, S45: skipped paths, preflights, upgrades and sessions go one way."""
        world = World()
        cookie = world.cookie() if is_signed_in else None
        fields = (*self.SPOOFS, *more, (b"Authorization", b"Bearer client"))
        for _ in range(3):
            forward = world.forward(target, *fields, method=method, cookie=cookie)
            arriving = sent(forward)
            assert not any(b"root" in value or b"evil" in value for _, value in arriving)
            assert values(forward, b"Authorization") == [b"Bearer client"]
            assert has_identity(forward) == is_signed_in
            assert not any(name.lower() == b"connection" for name, _ in arriving)

    def test_an_identity_header_without_a_claim_is_absent(self) -> None:
        """S44: not the client's."""
        world = World()
        bare = world.cookie(session(identity=identity(email=None, groups=())))
        forward = world.forward(
            b"/app/", (b"X-Forwarded-Email", b"a@b"), (b"X-Forwarded-Groups", b"admins"), cookie=bare
        )
        assert values(forward, b"X-Forwarded-Email") == values(forward, b"X-Forwarded-Groups") == []

    def test_a_header_that_the_operator_sets_replaces_the_clients(self) -> None:
        from sidecar.core.runtime import HeaderRule

        policy = HeaderPolicy(
            upstream=(HeaderRule(name="Authorization", source="user", prefix="User "),), auth_response=()
        )
        world = World((site(headers=policy),))
        forward = world.forward(b"/app/", (b"Authorization", b"Bearer client"), cookie=world.cookie())
        assert values(forward, b"Authorization") == [b"User alice"]


class TestCookies:
    def test_ours_stay_here_and_others_pass_byte_for_byte(self) -> None:
        """S40."""
        world = World()
        own = world.cookie()
        cookie = b'a="x; b=1;c ; ' + own + b"; __Host-login.abcdefgh=t; d=\xe9"
        for _ in range(2):
            assert values(world.forward(cookie=cookie), b"Cookie") == [b'a="x; b=1;c ; d=\xe9']

    def test_no_cookie_field_when_nothing_is_left(self) -> None:
        """S40."""
        world = World()
        cookie = world.cookie()
        for _ in range(2):
            assert values(world.forward(cookie=cookie), b"Cookie") == []

    def test_another_cookie_that_changes_does_not_bring_ours_upstream(self) -> None:
        """S40: a field that differs from the remembered one."""
        world = World()
        own = world.cookie()
        for number in range(5):
            cookie = b"n=%d; " % number + own
            assert values(world.forward(cookie=cookie), b"Cookie") == [b"n=%d" % number]

    def test_a_name_that_a_sibling_planted_is_not_ours(self) -> None:
        """S30: exact bytes."""
        world = World()
        planted = b"\xe2\x80\x80" + world.cookie()
        assert world.respond(cookie=planted).response.status == 401

    def test_several_cookie_fields_are_one(self) -> None:
        world = World()
        forward = world.forward(b"/app/", (b"Cookie", b"b=2"), cookie=world.cookie())
        assert values(forward, b"Cookie") == [b"b=2"]

    def test_another_sites_cookie_stays_here_too(self) -> None:
        """S40: all ports of localhost share cookies."""
        one, two = (
            site(
                name=f"site{port}",
                public_url=Origin(scheme="http", host="localhost", port=port),
                hosts=frozenset({f"localhost:{port}"}),
                cookie=CookiePolicy(
                    session_name=b"doorward_%d" % port, transaction_name=b"login_%d" % port, secure=False
                ),
            )
            for port in (8080, 8081)
        )
        world = World((one, two))
        cookie = world.cookie(session(one), one) + b"; doorward_8081=other; a=1"
        for _ in range(2):
            forward = world.forward(cookie=cookie, host=b"localhost:8080")
            assert values(forward, b"Cookie") == [b"a=1"]
            assert b"doorward_8081" in forward.finish.own_cookie_names

    def test_the_upstream_may_not_set_our_names(self) -> None:
        """S40: told to `finish_answer`."""
        names = World().forward(b"/public/").finish.own_cookie_names
        assert names == {b"__Host-doorward", b"__Host-doorward.*", b"__Host-login", b"__Host-login.*"}


class TestCrossOrigin:
    @pytest.mark.parametrize(
        "fields",
        [
            CROSS,
            (CROSS[0],),
            (CROSS[1],),
            ((b"Sec-Fetch-Site", b"same-site"),),
            ((b"Origin", b"null"),),
            ((b"Origin", b"https://sibling.example.com"), (b"Sec-Fetch-Site", b"same-site")),
            ((b"Origin", b"http://app.example.com"),),
            ((b"Origin", b"https://app.example.com:444"),),
            ((b"Origin", b"https://app.example.com"), (b"Origin", b"https://evil.example")),
            ((b"Origin", b"https://app.example.com"), (b"Sec-Fetch-Site", b"cross-site")),
        ],
    )
    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"post", b"PROPFIND"])
    def test_an_unsafe_request_of_another_origin_is_refused(
        self, method: bytes, fields: tuple[HeaderPair, ...]
    ) -> None:
        """S39: a sibling subdomain is same-site, so SameSite is not enough."""
        world = World()
        cookie = world.cookie()
        for _ in range(2):
            refusal = world.respond(b"/app/", *fields, method=method, cookie=cookie)
            assert (refusal.response.status, refusal.note.reason) == (403, "cross_origin")

    @pytest.mark.parametrize(
        "fields",
        [
            (),
            ((b"Origin", b"https://app.example.com"), (b"Sec-Fetch-Site", b"same-origin")),
            ((b"Origin", b"https://app.example.com"),),
            ((b"Sec-Fetch-Site", b"same-origin"),),
            ((b"Sec-Fetch-Site", b"none"),),
            ((b"Origin", b"https://trusted.example"), (b"Sec-Fetch-Site", b"cross-site")),
        ],
    )
    def test_ones_own_and_trusted_origins_pass(self, fields: tuple[HeaderPair, ...]) -> None:
        """S39: programs, which send neither header, too."""
        world = World((site(trusted_origins=frozenset({"https://trusted.example"})),))
        cookie = world.cookie()
        for _ in range(2):
            assert has_identity(world.forward(b"/app/", *fields, method=b"POST", cookie=cookie))

    def test_the_origin_is_the_host_that_the_browser_shows(self) -> None:
        """S39: behind a published port, and at an alias."""
        world = World((site(hosts=frozenset({"app.example.com", "alias.example.com"})),))
        cookie = world.cookie()
        for host in (b"app.example.com:8443", b"alias.example.com"):
            fields = ((b"Origin", b"https://" + host),)
            assert isinstance(world.ask(b"/app/", *fields, method=b"POST", cookie=cookie, host=host), Forward)

    def test_reading_is_not_refused(self) -> None:
        """S39 speaks of unsafe methods: a link from elsewhere works."""
        world = World()
        cookie = world.cookie()
        for method in (b"GET", b"HEAD", b"OPTIONS"):
            assert isinstance(world.ask(b"/app/", *CROSS, method=method, cookie=cookie), Forward)

    def test_a_public_path_is_served_without_the_identity(self) -> None:
        """S39: the other page must not use the user's rights; a webhook has to work."""
        world = World()
        forward = world.forward(b"/public/form", *CROSS, method=b"POST", cookie=b"a=1; " + world.cookie())
        assert not has_identity(forward)
        assert values(forward, b"Cookie") == [b"a=1"]

    def test_nobody_needs_no_protection(self) -> None:
        assert World().respond(b"/app/", *CROSS, method=b"POST").response.status == 401

    @pytest.mark.parametrize("fields", [CROSS, (CROSS[0],), ((b"Origin", b"null"),)])
    def test_a_websocket_of_another_origin_is_refused(self, fields: tuple[HeaderPair, ...]) -> None:
        """S39, S54: browsers let any page open one, with our cookie."""
        world = World()
        refusal = world.respond(b"/app/", *WEBSOCKET, *fields, cookie=world.cookie())
        assert (refusal.response.status, refusal.note.reason) == (403, "cross_origin")

    def test_an_operator_may_leave_it_to_the_application(self) -> None:
        world = World((site(csrf_check=False),))
        assert isinstance(world.ask(b"/app/", *CROSS, method=b"POST", cookie=world.cookie()), Forward)


class TestUpgrade:
    def test_a_handshake_is_forwarded_with_a_lease(self) -> None:
        """S54."""
        world = World()
        forward = world.forward(
            b"/app/ws", *WEBSOCKET, (b"Sec-WebSocket-Protocol", b"v1"), cookie=world.cookie()
        )
        assert forward.finish.is_websocket
        assert forward.finish.websocket_key == b"dGhlIHNhbXBsZSBub25jZQ=="
        assert forward.lease is not None
        assert (forward.lease.session_id, forward.lease.user) == ("session-1", "alice")
        assert forward.lease.not_after == NOW + 36_000
        names = {name for name, _ in sent(forward)}
        assert {b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Sec-WebSocket-Protocol"} <= names
        assert not {b"Upgrade", b"Connection"} & names

    @pytest.mark.parametrize(
        "fields",
        [
            ((b"Upgrade", b"h2c"), (b"Connection", b"Upgrade, HTTP2-Settings"), (b"HTTP2-Settings", b"x")),
            ((b"Upgrade", b"TLS/1.0"), (b"Connection", b"Upgrade")),
            ((b"Upgrade", b"anything"), (b"Connection", b"Upgrade")),
            WEBSOCKET[:3],
            (*WEBSOCKET[:2], WEBSOCKET[3]),
            (WEBSOCKET[0], *WEBSOCKET[2:]),
            WEBSOCKET[1:],
            (*WEBSOCKET, WEBSOCKET[2]),
            (*WEBSOCKET[:2], (b"Sec-WebSocket-Key", b"c2hvcnQ="), WEBSOCKET[3]),
            (*WEBSOCKET[:2], (b"Sec-WebSocket-Key", b"!!!"), WEBSOCKET[3]),
            (*WEBSOCKET[:3], (b"Sec-WebSocket-Version", b"8")),
            (*WEBSOCKET, (b"Content-Length", b"5")),
            (*WEBSOCKET, (b"Transfer-Encoding", b"chunked")),
        ],
    )
    def test_any_other_upgrade_is_stripped(self, fields: tuple[HeaderPair, ...]) -> None:
        """S54: oauth2-proxy 7.15.6 tunnels h2c past its policy."""
        world = World()
        forward = world.forward(b"/app/", *fields, cookie=world.cookie())
        assert not forward.finish.is_websocket
        dropped = {b"upgrade", b"connection", b"http2-settings"}
        assert not dropped & {name.lower() for name, _ in sent(forward)}

    def test_a_post_is_no_handshake(self) -> None:
        """S54."""
        world = World()
        assert not world.forward(
            b"/app/", *WEBSOCKET, method=b"POST", cookie=world.cookie()
        ).finish.is_websocket

    def test_a_websocket_without_a_session_gets_a_401(self) -> None:
        """S37, S54: never a redirect."""
        refusal = World().respond(b"/app/", *WEBSOCKET, *HTML)
        assert refusal.response.status == 401

    def test_a_public_websocket_has_no_lease(self) -> None:
        forward = World().forward(b"/public/ws", *WEBSOCKET)
        assert forward.finish.is_websocket
        assert forward.lease is None


class TestPreflight:
    PREFLIGHT = ((b"Origin", b"https://other.example"), (b"Access-Control-Request-Method", b"DELETE"))

    def test_a_rule_lets_preflights_through_without_identity(self) -> None:
        world = World()
        for cookie in (None, world.cookie()):
            forward = world.forward(b"/hooks/x", *self.PREFLIGHT, method=b"OPTIONS", cookie=cookie)
            assert not has_identity(forward)
            assert (forward.note.reason, forward.lease) == ("allowed_preflight", None)

    def test_it_is_off_by_default(self) -> None:
        """S38: and answered 401, not sent elsewhere."""
        refusal = World().respond(b"/app/x", *self.PREFLIGHT, *HTML, method=b"OPTIONS")
        assert refusal.response.status == 401

    @pytest.mark.parametrize(
        ("fields", "method"),
        [(PREFLIGHT[:1], b"OPTIONS"), (PREFLIGHT[1:], b"OPTIONS"), ((), b"OPTIONS"), (PREFLIGHT, b"POST")],
    )
    def test_nothing_but_a_preflight_passes_so(self, fields: tuple[HeaderPair, ...], method: bytes) -> None:
        assert World().respond(b"/hooks/x", *fields, method=method).response.status == 401

    def test_the_rule_is_that_of_the_method_asked_for(self) -> None:
        rules = RuleTable.build(
            [
                Rule(name="write", methods=frozenset({b"DELETE"}), allow=Authenticated(), preflight=True),
                Rule(name="read", allow=Authenticated()),
            ]
        )
        world = World((site(rules=rules),))
        assert world.forward(b"/x", *self.PREFLIGHT, method=b"OPTIONS").note.rule == "write"
        get = (self.PREFLIGHT[0], (b"Access-Control-Request-Method", b"GET"))
        assert world.respond(b"/x", *get, method=b"OPTIONS").response.status == 401


class TestMemo:
    """Fields that a connection sends again: the engine hands over the same memo."""

    def test_the_same_list_goes_out_again(self) -> None:
        world = World()
        memo: dict[object, object] = {}
        cookie = b"a=1; " + world.cookie()
        kept = [world.forward(b"/app/%d" % n, cookie=cookie, memo=memo).kept for n in range(4)]
        assert kept[2] is kept[3]
        assert kept[0] == kept[3]
        assert sent(world.forward(cookie=cookie)) == sent(world.forward(cookie=cookie, memo=memo))

    def test_a_session_still_ends(self) -> None:
        """S36."""
        world = World()
        cookie = world.cookie()
        for revoke in (False, True):
            memo: dict[object, object] = {}
            for _ in range(3):
                assert isinstance(world.ask(cookie=cookie, memo=memo), Forward)
            if revoke:
                world.state.revocations.add("session-1", NOW + 50_000)
                assert world.respond(cookie=cookie, memo=memo).note.reason == "session_revoked"
        world = World()
        memo = {}
        for _ in range(3):
            world.forward(cookie=cookie, memo=memo)
        world.now += 3601
        assert world.respond(cookie=cookie, memo=memo).note.reason == "session_expired"

    def test_rules_are_those_of_each_path(self) -> None:
        world = World()
        cookie = world.cookie()
        memo: dict[object, object] = {}
        for _ in range(3):
            assert isinstance(world.ask(b"/app/", cookie=cookie, memo=memo), Forward)
            assert world.respond(b"/admin/", cookie=cookie, memo=memo).response.status == 403
            assert world.respond(b"/public/..%2fadmin/", cookie=cookie, memo=memo).response.status == 400
            assert not has_identity(world.forward(b"/public/", memo={}))

    def test_a_new_configuration_counts_from_the_next_request(self) -> None:
        """S73."""
        world = World()
        cookie = world.cookie()
        memo: dict[object, object] = {}
        for _ in range(3):
            world.forward(cookie=cookie, memo=memo)
        stricter = RuleTable.build([Rule(name="none", path="/other", allow=Authenticated())])
        world.runtime = replace(world.runtime, sites=(site(rules=stricter),))
        assert world.respond(cookie=cookie, memo=memo).note.reason == "no_rule"
        assert len(memo) == 1

    def test_cookies_of_one_connection_never_go_out_on_another(self) -> None:
        """Two windows share a session, not their other cookies: whichever was seen last."""
        other = Upstream(name="other", scheme="http", host="127.0.0.1", port=1)
        routes = (Route(prefix="/", upstream=UPSTREAM), Route(prefix="/app/other", upstream=other))
        world = World((site(routes=routes),))
        own = world.cookie()
        memos: list[dict[object, object]] = [{}, {}]
        for target in (b"/app/", b"/app/other", b"/app/", b"/app/other"):
            for number, memo in enumerate(memos):
                cookie = b"window=%d; " % number + own
                forward = world.forward(target, cookie=cookie, memo=memo)
                assert values(forward, b"Cookie") == [b"window=%d" % number]

    def test_nothing_is_kept_of_a_head_that_is_refused(self) -> None:
        memo: dict[object, object] = {}
        assert World().respond(host=b"evil.example", memo=memo).response.status == 421
        assert World().respond(b"/", (b"Host", b"app.example.com"), memo=memo).response.status == 400
        assert memo == {}


class TestForwarded:
    def test_a_trusted_proxys_malformed_header_is_refused(self) -> None:
        """S49."""
        world = World(proxies=(ip_network("10.0.0.0/8"),))
        refusal = world.respond(b"/public/", (b"X-Forwarded-For", b"x"), peer="10.0.0.1")
        assert (refusal.response.status, refusal.note.reason) == (400, "invalid_forwarded")

    def test_the_chain_reaches_the_upstream_and_the_rules(self) -> None:
        """S48."""
        rule = Rule(name="net", allow=Networks.of(["198.51.100.0/24"]))
        world = World((site(rules=RuleTable.build([rule])),), proxies=(ip_network("10.0.0.0/8"),))
        chain = (b"X-Forwarded-For", b"1.1.1.1, 198.51.100.7")
        forward = world.forward(b"/x", chain, peer="10.0.0.1")
        assert values(forward, b"X-Forwarded-For") == [b"198.51.100.7, 10.0.0.1"]
        assert world.respond(b"/x", chain, peer="198.51.99.1").response.status == 403

    def test_a_session_behind_a_proxy_has_grants_by_chain(self) -> None:
        world = World(proxies=(ip_network("10.0.0.0/8"),))
        cookie = world.cookie()
        for address in (b"198.51.100.7", b"198.51.100.8") * 2:
            forward = world.forward(b"/app/", (b"X-Forwarded-For", address), peer="10.0.0.1", cookie=cookie)
            assert values(forward, b"X-Real-IP") == [address]


class TestRoutes:
    def test_the_longest_prefix_at_a_segment_boundary_wins(self) -> None:
        api, app = (Upstream(name=name, scheme="http", host="127.0.0.1", port=1) for name in ("api", "app"))
        routes = (Route(prefix="/", upstream=app), Route(prefix="/app/api", upstream=api))
        world = World((site(routes=routes),))
        cookie = world.cookie()
        for _ in range(2):
            assert world.forward(b"/app/api", cookie=cookie).upstream is api
            assert world.forward(b"/app/api/x", cookie=cookie).upstream is api
            assert world.forward(b"/app/apix", cookie=cookie).upstream is app

    def test_a_path_without_an_upstream_is_not_found(self) -> None:
        world = World((site(routes=(Route(prefix="/other", upstream=UPSTREAM),)),))
        refusal = world.respond(b"/app/", cookie=world.cookie())
        assert (refusal.response.status, refusal.note.reason) == (404, "no_route")


class TestAssertion:
    def test_it_goes_with_each_request_and_is_renewed(self) -> None:
        from tests.core.test_assertion import POLICY

        headers = HeaderPolicy(upstream=PRESET.upstream, auth_response=(), assertion=POLICY)
        world = World((site(headers=headers),))
        cookie = world.cookie()
        spoof = (b"X-Doorward-Assertion", b"forged")
        first, second = (
            values(world.forward(b"/app/", spoof, cookie=cookie), b"X-Doorward-Assertion") for _ in "12"
        )
        assert first == second != [b"forged"]
        assert len(first) == 1
        world.now += 31
        third = values(world.forward(b"/app/", cookie=cookie), b"X-Doorward-Assertion")
        assert len(third) == 1
        assert third != first


class TestDevelopment:
    def test_every_answer_is_marked(self) -> None:
        """S72: forwarded, refused, malformed, and what a flow ends in."""
        world = World((site(dev_banner="embedded provider", sign_in="page"),))
        banner = (b"Doorward-Development", b"embedded provider")
        assert banner in world.forward(b"/public/").finish.set_headers
        for target in (b"/elsewhere", b"*", b"/oauth2/sign_in"):
            assert banner in world.respond(target).response.headers
        flow = world.flow(b"/app/", *HTML)
        with pytest.raises(StopIteration) as ended:
            next(flow.steps)
        assert banner in ended.value.value.response.headers

    def test_otherwise_none_is(self) -> None:
        assert World().forward(b"/public/").finish.set_headers == ()


class TestDefence:
    @given(
        st.binary(max_size=40),
        st.lists(
            st.tuples(
                st.sampled_from([b"Host", b"Cookie", b"Origin", b"X-A", b"Upgrade"]), st.binary(max_size=30)
            )
        ),
    )
    def test_whatever_arrives_is_decided(self, target: bytes, pairs: list[HeaderPair]) -> None:
        """Nothing that a peer sends raises, and nothing unknown is forwarded."""
        world = World((site(rules=RuleTable.build([Rule(name="x", path="/x", allow=Authenticated())])),))
        decision = world.ask(target, *pairs)
        assert not isinstance(decision, Forward)
