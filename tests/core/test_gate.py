"""May this request pass? Each rule of the gate, with real rules, keys and cookies."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Forward, Respond
from sidecar.core.http import HeaderPair
from sidecar.core.policy import Authenticated, Networks
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import HeaderPolicy, Origin, Route
from tests.core.gatesetup import (
    HTML,
    NAVIGATE,
    PRESET,
    UPSTREAM,
    WEBSOCKET,
    World,
    has_identity,
    head,
    identity,
    sent,
    session,
    site,
    values,
)


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
        """S61: no rule means denied."""
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


class TestHost:
    def test_a_request_without_host_is_refused(self) -> None:
        """S49: RFC 9112 §3.2."""
        assert World().respond(host=None).response.status == 400

    @pytest.mark.parametrize("second", [b"app.example.com", b"evil.example"])
    def test_a_second_host_is_refused(self, second: bytes) -> None:
        """S49: a second host is refused."""
        world = World()
        for name in (b"Host", b"host"):
            refusal = world.respond(b"/public/", (name, second))
            assert (refusal.response.status, refusal.note.reason) == (400, "invalid_request")
        assert world.respond(b"/public/", (b"Host", b"app.example.com"), host=second).response.status == 400

    @pytest.mark.parametrize(
        "host", [b"evil.example", b"app.example.com.evil.example", b"evil-app.example.com"]
    )
    def test_an_unknown_host_is_not_served(self, host: bytes) -> None:
        """S49: an unknown host is not served."""
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
        """S49, S55: any other form is refused."""
        assert World().respond(target).response.status == 400

    @pytest.mark.parametrize("method", [b"CONNECT", b"TRACE"])
    def test_methods_that_no_gateway_serves_are_refused(self, method: bytes) -> None:
        """S55: with a session too."""
        world = World()
        refusal = world.respond(b"/public/", method=method, cookie=world.cookie())
        assert (refusal.response.status, refusal.note.reason) == (405, "method_refused")
        assert any(name == b"Allow" for name, _ in refusal.response.headers)

    def test_a_connect_authority_is_refused(self) -> None:
        """S55: a connect authority is refused."""
        assert World().respond(b"evil.example:443", method=b"CONNECT").response.status == 405

    @pytest.mark.parametrize(
        "target",
        [b"/public/..%2fadmin/x", b"/public/../admin/x", b"/public/%2e%2e/admin/x", b"/public/..;/admin/x"],
    )
    def test_readings_that_disagree_are_refused(self, target: bytes) -> None:
        """S57: readings that disagree are refused."""
        world = World()
        assert world.respond(target).response.status == 400
        refusal = world.respond(target, cookie=world.cookie())
        assert (refusal.response.status, refusal.note.reason) == (400, "ambiguous_path")

    def test_readings_that_are_all_allowed_pass_byte_for_byte(self) -> None:
        """S57, S58: readings that are all allowed pass byte for byte."""
        world = World()
        admin = world.cookie(session(identity=identity(groups=("admins",))))
        for target in (b"/app/a%2Fb", b"/public/..%2fadmin/x", b"/app//x", b"/app/%61"):
            assert world.forward(target, cookie=admin).target == target

    @pytest.mark.parametrize("target", [b"/app/\\x", b"/app/%00", b"/app/%5c", b"/app/%c0%af"])
    def test_what_no_reading_accepts_is_refused(self, target: bytes) -> None:
        """S58: what no reading accepts is refused."""
        world = World()
        assert world.respond(target, cookie=world.cookie()).response.status == 400


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


class TestForwarded:
    def test_a_trusted_proxys_malformed_header_is_refused(self) -> None:
        """S49: a trusted proxys malformed header is refused."""
        world = World(proxies=(ip_network("10.0.0.0/8"),))
        refusal = world.respond(b"/public/", (b"X-Forwarded-For", b"x"), peer="10.0.0.1")
        assert (refusal.response.status, refusal.note.reason) == (400, "invalid_forwarded")

    def test_the_chain_reaches_the_upstream_and_the_rules(self) -> None:
        """S48: the chain reaches the upstream and the rules."""
        rule = Rule(name="net", allow=Networks.of(["198.51.100.0/24"]))
        world = World((site(rules=RuleTable.build([rule])),), proxies=(ip_network("10.0.0.0/8"),))
        chain = (b"X-Forwarded-For", b"1.1.1.1, 198.51.100.7")
        forward = world.forward(b"/x", chain, peer="10.0.0.1")
        assert values(forward, b"X-Forwarded-For") == [b"198.51.100.7, 10.0.0.1"]
        assert world.respond(b"/x", chain, peer="198.51.99.1").response.status == 403

    @pytest.mark.parametrize("has_memo", [False, True])
    def test_the_head_is_told_whose_it_is_for_the_log(self, has_memo: bool) -> None:
        """S48: by the chain of trusted proxies, never by what a stranger writes."""
        world = World(proxies=(ip_network("10.0.0.0/8"),))
        chain = (b"X-Forwarded-For", b"1.1.1.1, 198.51.100.7")
        for peer, told in (("10.0.0.1", "198.51.100.7"), ("192.0.2.7", "192.0.2.7")):
            for target in (b"/public/", b"/oauth2/auth", b"/app/"):
                asked = head(target, chain, peer=peer, memo={} if has_memo else None)
                world.decide(asked)
                world.decide(asked)
                assert (asked.peer, asked.client_ip) == (peer, told)

    def test_a_session_behind_a_proxy_has_grants_by_chain(self) -> None:
        world = World(proxies=(ip_network("10.0.0.0/8"),))
        cookie = world.cookie()
        for address in (b"198.51.100.7", b"198.51.100.8") * 2:
            forward = world.forward(b"/app/", (b"X-Forwarded-For", address), peer="10.0.0.1", cookie=cookie)
            assert values(forward, b"X-Real-IP") == [address]


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
