"""Requests out of the ordinary: sessions that end, other origins, upgrades, preflights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.core.decision import Forward
from sidecar.core.entrance import site_at
from sidecar.core.http import HeaderPair
from sidecar.core.policy import Authenticated
from sidecar.core.rules import Rule, RuleTable
from tests.core.gatesetup import (
    CROSS,
    HTML,
    NOW,
    WEBSOCKET,
    World,
    has_identity,
    sent,
    session,
    site,
    values,
)


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
        """S73: a new configuration takes effect for open sessions."""
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
        for host in (b"app.example.com:8443", b"alias.example.com"):
            cookie = world.cookie(at=site_at(world.sites[0], host.decode()))
            fields = ((b"Origin", b"https://" + host),)
            assert isinstance(world.ask(b"/app/", *fields, method=b"POST", cookie=cookie, host=host), Forward)

    def test_reading_is_not_refused(self) -> None:
        """S39: it speaks of unsafe methods; a link from elsewhere works."""
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
        """S54: a handshake is forwarded with a lease."""
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
        """S54: a post is no handshake."""
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

    def test_none_passes_as_another_method(self) -> None:
        """S59: it passes because of its method, so nothing may tell the upstream of another one."""
        override = (b"X-HTTP-Method-Override", b"DELETE")
        forward = World().forward(b"/hooks/x", *self.PREFLIGHT, override, method=b"OPTIONS")
        assert override not in forward.kept

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
