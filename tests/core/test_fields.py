"""Fields that a connection sends again."""

from __future__ import annotations

from dataclasses import replace

from sidecar.core.decision import Forward
from sidecar.core.policy import Authenticated
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import Route, Upstream
from tests.core.gatesetup import (
    NOW,
    UPSTREAM,
    World,
    has_identity,
    sent,
    site,
    values,
)


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

    def test_the_same_list_goes_out_again_for_nobody(self) -> None:
        world = World()
        memo: dict[object, object] = {}
        kept = [world.forward(b"/public/", cookie=b"a=1; __Host-login.x=y", memo=memo).kept for _ in range(2)]
        assert kept[0] is kept[1]
        assert kept[0][-1] == (b"Cookie", b"a=1")

    def test_a_session_still_ends(self) -> None:
        """S36: a session still ends."""
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
        """S73: a new configuration counts from the next request."""
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
