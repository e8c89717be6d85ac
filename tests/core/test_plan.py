"""What follows from the configuration: our own paths, our cookies, the routes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Flow, Forward, Respond
from sidecar.core.policy import Anyone
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import CookiePolicy, Origin, Route, Upstream
from tests.core.gatesetup import (
    HTML,
    UPSTREAM,
    World,
    provider,
    sent,
    session,
    site,
    values,
)


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
        """S60: no trick reaches or leaves the prefix."""
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


class TestCookies:
    def test_ours_stay_here_and_others_pass_byte_for_byte(self) -> None:
        """S40: ours stay here and others pass byte for byte."""
        world = World()
        own = world.cookie()
        cookie = b'a="x; b=1;c ; ' + own + b"; __Host-login.abcdefgh=t; d=\xe9"
        for _ in range(2):
            assert values(world.forward(cookie=cookie), b"Cookie") == [b'a="x; b=1;c ; d=\xe9']

    def test_no_cookie_field_when_nothing_is_left(self) -> None:
        """S40: no cookie field when nothing is left."""
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


class TestBounds:
    def test_notes_of_public_rules_are_bounded(self) -> None:
        """Rules that are made for single paths (letters' case) come and go."""
        plan = World().state.plans.of(World().runtime).sites[0]
        for number in range(5000):
            rule = Rule(name=str(number), allow=Anyone())
            assert plan.public_note(rule).rule == str(number)
        assert len(plan._public_notes) <= 4096

    def test_ways_are_bounded_in_methods_and_targets(self) -> None:
        """S56: a peer chooses both."""
        plan = World().state.plans.of(World().runtime).sites[0]
        for number in range(3000):
            for _ in range(3):
                assert plan.ways("app.example.com", b"GET")[b"/app/%d" % number].rule is not None
        assert len(plan.ways("app.example.com", b"GET")) <= 512
        for number in range(100):
            plan.ways("app.example.com", b"METHOD-%d" % number)
        assert len(plan._ways) <= 16


class TestWays:
    """What a target means is remembered for each method, and for each host where rules tell hosts apart."""

    TARGETS = st.sampled_from(
        [
            b"/app/x",
            b"/app/..%2fadmin",
            b"/APP/x",
            b"/admin/",
            b"/oauth2/auth",
            b"/oauth2/x",
            b"/%2e",
            b"*",
            b"/#",
        ]
    )

    @given(st.lists(st.tuples(TARGETS, st.sampled_from([b"GET", b"POST", b"TRACE"])), min_size=2, max_size=8))
    def test_a_request_is_decided_the_same_whatever_came_before(
        self, requests: list[tuple[bytes, bytes]]
    ) -> None:
        """S57: the memory of one connection and of one site, against none."""
        used, memo = World(), dict[object, object]()
        cookie = used.cookie()
        for target, method in requests * 3:
            fresh = World()
            known = used.ask(target, cookie=cookie, method=method, memo=memo)
            new = fresh.ask(target, cookie=cookie, method=method)
            assert type(known) is type(new)
            if isinstance(known, Forward) and isinstance(new, Forward):
                assert (known.note, known.target, known.method) == (new.note, new.target, new.method)
                assert sent(known) == sent(new)
            elif isinstance(known, Respond) and isinstance(new, Respond):
                assert (known.note, known.response.status) == (new.note, new.response.status)

    def test_hosts_that_rules_tell_apart_are_told_apart(self) -> None:
        rules = (
            Rule(name="one", allow=Anyone(), hosts=("one.example.com",)),
            Rule(name="other", allow=Anyone()),
        )
        hosts = ("one.example.com", "two.example.com")
        world = World((site(hosts=hosts, rules=RuleTable.build(rules)),))
        for _ in range(3):
            assert [world.forward(host=host.encode()).note.rule for host in hosts] == ["one", "other"]

    def test_a_method_that_is_refused_stays_refused_on_a_known_connection(self) -> None:
        """S55: TRACE, after and before what passes."""
        world, memo = World(), dict[object, object]()
        for method, passes in ((b"TRACE", False), (b"GET", True), (b"TRACE", False), (b"GET", True)):
            decision = world.ask(b"/public/x", method=method, memo=memo)
            assert isinstance(decision, Forward) == passes
