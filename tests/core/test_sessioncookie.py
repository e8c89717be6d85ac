"""The session cookie: set, read, chunked, renewed, cleared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.cookies import is_own_name, parse_cookies
from sidecar.core.errors import InvalidToken
from sidecar.core.runtime import Origin, SessionPolicy, Site
from sidecar.core.seal import KeyRing
from sidecar.core.secret import Secret
from sidecar.core.session import Session
from sidecar.core.sessioncookie import (
    MAX_CHUNKS,
    MAX_COOKIE_BYTES,
    SessionRead,
    clear_names,
    clear_session,
    read_session,
    recall,
    renewed,
    set_session,
)
from sidecar.core.state import State
from tests.core.sessionsetup import (
    COOKIE,
    KEY_A,
    KEY_B,
    NOW,
    RING,
    Browser,
    Entropy,
    large_session,
    make_session,
    make_site,
    make_state,
)

SITE = make_site()
NAME = COOKIE.session_name
SMALL, LARGE = make_session(), large_session()

type Pairs = Sequence[tuple[bytes, bytes]]


def browser_with(session: Session, site: Site = SITE, seed: str = "") -> Browser:
    browser = Browser()
    browser.take(*set_session(site, session, (), Entropy(seed)))
    return browser


def read(cookies: Pairs, *, site: Site = SITE, state: State | None = None, now: float = NOW) -> SessionRead:
    return read_session(site, state or make_state(), cookies, now)


class TestOneCookie:
    def test_session_comes_back(self) -> None:
        result = read(browser_with(SMALL).cookies)
        assert (result.reason, result.session, result.stale, result.due) == ("valid", SMALL, (), "nothing")

    def test_cookie_has_the_policy_s_attributes_and_lasts_until_the_absolute_end(self) -> None:
        """S28, A12: HttpOnly, Secure, SameSite as set."""
        cookie = set_session(SITE, SMALL, (), Entropy())[0]
        assert cookie.startswith(NAME + b"=")
        assert cookie.endswith(b"; Path=/; Max-Age=43200; Secure; HttpOnly; SameSite=Lax")

    def test_cookie_shows_nothing_of_the_session(self) -> None:
        """S33, A11: no e-mail, subject or token in it."""
        header = browser_with(replace(SMALL, refresh_token=Secret(b"refresh-token"))).header
        for text in (b"ada", b"u-1", b"refresh-token", b"session-1"):
            assert text not in header

    def test_no_cookie_of_ours_is_absent(self) -> None:
        result = read([(b"theme", b"dark"), (b"", NAME), (NAME + b".x", b"1"), (NAME + b".10", b"1")])
        assert (result.reason, result.session, result.stale) == ("absent", None, ())

    @pytest.mark.parametrize("value", [b"", b"x", b"A" * 200, b"A" * 200_000, b"\xff\x00", b'"'])
    def test_anything_else_under_our_name_is_invalid_and_stale(self, value: bytes) -> None:
        """S25: a cookie of 100 KB and more included."""
        result = read([(NAME, value)])
        assert (result.reason, result.session, result.stale) == ("invalid", None, (NAME,))

    def test_one_changed_byte_is_no_session(self) -> None:
        """S33, A11: wherever it is; also when the true cookie is in the cache."""
        value = browser_with(SMALL).jar[NAME]
        state = make_state()
        assert read([(NAME, value)], state=state).reason == "valid"
        for position in range(len(value)):
            changed = bytearray(value)
            changed[position] = ord("A") if value[position] != ord("A") else ord("B")
            assert read([(NAME, bytes(changed))], state=state).reason == "invalid"

    def test_cookie_of_another_site_purpose_or_mode_is_no_session(self) -> None:
        """S33, S72."""
        cookies = browser_with(SMALL).cookies
        elsewhere = make_site(public_url=Origin(scheme="https", host="b.example.com", port=443))
        dev = make_site(session=SessionPolicy(keys=KeyRing.from_secrets([KEY_A], mode="dev")))
        renamed = make_site(name="other")
        for site in (elsewhere, dev, renamed):
            assert read(cookies, site=site).reason == "invalid"
        value = RING.seal(
            b"x", purpose="transaction", name=NAME, site=str(SITE.public_url), entropy=Entropy()
        )
        assert read([(NAME, value)]).reason == "invalid"

    def test_key_rotation_keeps_sessions_until_the_key_is_removed(self) -> None:
        """S34, A11: in one process whose configuration is reloaded, so its cache must not know better."""
        state = make_state()
        header = browser_with(SMALL).header
        for keys, reason in (([KEY_A], "valid"), ([KEY_B, KEY_A], "valid"), ([KEY_B], "invalid")):
            site = make_site(session=SessionPolicy(keys=KeyRing.from_secrets(keys)))
            assert recall(site, state, header, NOW) is None
            assert read_session(site, state, parse_cookies(header), NOW, header).reason == reason


class TestDuplicates:
    """S32: each is tried; only what authenticates counts; two different sessions are refused."""

    @pytest.mark.parametrize("planted", [b"", b"garbage", b"A" * 400])
    def test_planted_duplicate_changes_nothing(self, planted: bytes) -> None:
        pair = (NAME, browser_with(SMALL).jar[NAME])
        for cookies in ([pair, (NAME, planted)], [(NAME, planted), pair]):
            assert read(cookies).session == SMALL

    def test_two_different_sessions_are_refused(self) -> None:
        first, second = browser_with(SMALL), browser_with(replace(SMALL, id="session-2"))
        result = read([*first.cookies, *second.cookies])
        assert (result.reason, result.session, result.stale) == ("invalid", None, (NAME,))

    def test_same_session_at_two_times_is_read_as_the_later(self) -> None:
        older, newer = replace(SMALL, generation=1), replace(SMALL, generation=2)
        pairs = [*browser_with(older).cookies, *browser_with(newer).cookies]
        for cookies in permutations(pairs):
            assert read(cookies).session == newer

    def test_a_flood_of_cookies_under_our_names_is_not_worked_through(self) -> None:
        """S56: bounded work for one request, whatever it carries."""
        assert read([(NAME, b"A" * 100)] * 1000 + browser_with(SMALL).cookies).reason == "invalid"


class TestChunks:
    def test_large_session_comes_back_in_any_order(self) -> None:
        """A12: a session larger than 4 KB."""
        cookies = browser_with(LARGE).cookies
        assert [name for name, _ in cookies] == [NAME + b".0", NAME + b".1", NAME + b".2"]
        for order in permutations(cookies):
            result = read(order)
            assert (result.session, result.stale) == (LARGE, ())

    def test_each_set_cookie_fits_every_browser(self) -> None:
        for cookie in set_session(SITE, LARGE, (), Entropy()):
            assert len(cookie) <= MAX_COOKIE_BYTES

    @given(st.integers(0, 20_000))
    def test_sessions_of_every_length_fit_and_come_back(self, length: int) -> None:
        session = replace(SMALL, id_token=Secret(b"x" * length))
        cookies = set_session(SITE, session, (), Entropy())
        assert all(len(cookie) <= MAX_COOKIE_BYTES for cookie in cookies)
        browser = Browser()
        browser.take(*cookies)
        assert read(browser.cookies).session == session

    def test_session_that_no_permitted_number_of_cookies_holds_is_refused(self) -> None:
        """S25: a clear error at login."""
        with pytest.raises(InvalidToken, match=f"session_too_large: .* do not fit {MAX_CHUNKS} cookies"):
            set_session(SITE, replace(SMALL, id_token=Secret(b"x" * 40_000)), (), Entropy())

    @pytest.mark.parametrize("missing", [0, 1, 2])
    def test_missing_chunk_is_no_session_and_the_others_are_stale(self, missing: int) -> None:
        """S32."""
        cookies = browser_with(LARGE).cookies
        left = cookies[:missing] + cookies[missing + 1 :]
        result = read(left)
        assert (result.reason, result.stale) == ("invalid", tuple(name for name, _ in left))

    def test_chunks_of_different_sets_are_never_joined(self) -> None:
        """S32: even when both are the same session's, sealed twice."""
        first, second = browser_with(LARGE, seed="1").cookies, browser_with(LARGE, seed="2").cookies
        for mixed in ([first[0], second[1], first[2]], [first[0], first[1], second[2]]):
            assert read(mixed).reason == "invalid"

    def test_complete_set_is_found_among_chunks_of_another(self) -> None:
        """S32: a duplicate of each name, one set complete."""
        first, second = browser_with(LARGE, seed="1").cookies, browser_with(LARGE, seed="2").cookies
        mixed = [second[0], first[0], first[1], second[1], first[2]]
        assert read(mixed).session == LARGE

    def test_chunk_under_another_chunk_s_name_is_refused(self) -> None:
        (zero, a), (one, b), third = browser_with(LARGE).cookies
        assert read([(zero, b), (one, a), third]).reason == "invalid"

    def test_chunk_is_not_a_whole_session_nor_the_other_way(self) -> None:
        chunks, whole = browser_with(LARGE).cookies, browser_with(SMALL).cookies
        assert read([(NAME, chunks[0][1])]).reason == "invalid"
        assert read([(NAME + b".0", whole[0][1])]).reason == "invalid"

    def test_changed_byte_in_any_chunk_is_no_session(self) -> None:
        """S33."""
        cookies = browser_with(LARGE).cookies
        for index, (name, value) in enumerate(cookies):
            changed = list(cookies)
            changed[index] = (name, value[:100] + (b"A" if value[100:101] != b"A" else b"B") + value[101:])
            assert read(changed).reason == "invalid"


class TestChangeOfForm:
    """S32: what is stale is deleted, also when two tabs logged in at once."""

    def test_larger_session_replaces_a_smaller_one(self) -> None:
        browser = browser_with(SMALL)
        browser.take(*set_session(SITE, LARGE, browser.cookies, Entropy()))
        assert list(browser.jar) == [NAME + b".0", NAME + b".1", NAME + b".2"]

    def test_smaller_session_replaces_a_larger_one(self) -> None:
        browser = browser_with(LARGE)
        browser.take(*set_session(SITE, SMALL, browser.cookies, Entropy()))
        assert list(browser.jar) == [NAME]

    def test_fewer_chunks_leave_none_behind(self) -> None:
        browser = browser_with(replace(LARGE, access_token=Secret(b"y" * 6000)))
        assert len(browser.jar) == 5
        browser.take(*set_session(SITE, LARGE, browser.cookies, Entropy()))
        assert len(browser.jar) == 3

    @pytest.mark.parametrize("order", list(permutations((0, 1))))
    def test_two_logins_at_once_leave_one_session(self, order: tuple[int, int]) -> None:
        """Neither saw the other's cookie: the later answer wins, whatever their sizes."""
        logins = (make_session(id="small"), large_session(id="large"))
        browser = Browser()
        for index in order:
            browser.take(*set_session(SITE, logins[index], (), Entropy(str(index))))
        result = read(browser.cookies)
        assert result.session == logins[order[-1]]
        browser.take(*clear_names(SITE, result.stale))
        assert read(browser.cookies).stale == ()

    def test_stale_names_are_told_with_a_valid_session(self) -> None:
        cookies = [*browser_with(SMALL).cookies, (NAME + b".3", b"old")]
        result = read(cookies)
        assert (result.session, result.stale) == (SMALL, (NAME + b".3",))


class TestClearing:
    def test_each_session_cookie_of_the_request_is_deleted(self) -> None:
        browser = browser_with(LARGE)
        browser.jar[b"theme"] = b"dark"
        browser.jar[NAME] = b"old"
        browser.take(*clear_session(SITE, browser.cookies))
        assert browser.jar == {b"theme": b"dark"}

    def test_cookies_of_other_forms_are_left_alone(self) -> None:
        assert clear_session(SITE, [(NAME + b".10", b""), (NAME + b"x", b""), (b"", NAME)]) == ()

    def test_number_of_deletions_is_bounded_by_our_names(self) -> None:
        flood = [(NAME + b".%d" % (index % 50), b"") for index in range(1000)]
        assert len(clear_session(SITE, flood)) == MAX_CHUNKS


class TestEnds:
    def test_expired_session_is_told_apart_and_kept_for_the_log(self) -> None:
        """S36."""
        for now in (NOW + 3600, NOW + 43200):
            result = read(browser_with(SMALL).cookies, now=now)
            assert (result.reason, result.session, result.ended) == ("expired", None, SMALL)
            assert result.stale == (NAME,)

    def test_revoked_session_is_dead_for_every_copy_of_its_cookie(self) -> None:
        """S36: also for one that is in the cache, and for an older or renewed form of it."""
        state = make_state()
        older = browser_with(SMALL)
        newer = browser_with(renewed(SMALL, NOW + 400), seed="n")
        assert read(older.cookies, state=state).reason == "valid"
        state.revocations.add(SMALL.id, SMALL.absolute_end)
        for browser in (older, newer):
            result = read(browser.cookies, state=state, now=NOW + 401)
            assert (result.reason, result.session, result.ended is None) == ("revoked", None, False)
            assert recall(SITE, state, browser.header, NOW + 401) is None


class TestDue:
    def test_cookie_is_renewed_once_per_tenth_of_the_idle_limit(self) -> None:
        state, cookies = make_state(), browser_with(SMALL).cookies
        assert read(cookies, state=state, now=NOW + 359).due == "nothing"
        assert read(cookies, state=state, now=NOW + 360).due == "renewal"
        assert read(cookies, state=state, now=NOW + 361).due == "nothing"
        assert read(cookies, state=state, now=NOW + 720).due == "renewal"

    def test_renewed_cookie_is_seen_now(self) -> None:
        later = renewed(SMALL, NOW + 400)
        assert (later.seen_at, later.absolute_end) == (NOW + 400, SMALL.absolute_end)
        assert b"; Max-Age=42800;" in set_session(SITE, later, (), Entropy())[0]

    def test_session_that_is_used_does_not_end_by_the_idle_limit_though_its_cookie_is_never_renewed(
        self,
    ) -> None:
        """A forward-auth ingress may drop our Set-Cookie."""
        state, cookies = make_state(), browser_with(SMALL).cookies
        for minute in range(0, 12 * 60, 30):
            assert read(cookies, state=state, now=NOW + 60 * minute).reason == "valid"
        assert read(cookies, state=state, now=NOW + 43200).reason == "expired"

    def test_traffic_in_a_tunnel_counts_as_activity(self) -> None:
        state, cookies = make_state(), browser_with(SMALL).cookies
        state.sessions.touch(SMALL.id, NOW + 3500)
        assert read(cookies, state=state, now=NOW + 7000).reason == "valid"
        assert (
            read(browser_with(SMALL, seed="other").cookies, state=make_state(), now=NOW + 7000).reason
            == "expired"
        )

    def test_refresh_is_due_before_the_access_token_ends(self) -> None:
        session = make_session(refresh_token=Secret(b"r"), access_expires_at=NOW + 300)
        state, cookies = make_state(), browser_with(session).cookies
        assert read(cookies, state=state, now=NOW + 239).due == "nothing"
        assert read(cookies, state=state, now=NOW + 240).due == "refresh"
        assert read(cookies, state=state, now=NOW + 241).due == "refresh"

    def test_refresh_that_failed_is_not_due_again_at_once(self) -> None:
        session = make_session(refresh_token=Secret(b"r"), access_expires_at=NOW + 300)
        state, browser = make_state(), browser_with(session)
        state.sessions.postpone_refresh(session.id, NOW + 280)
        assert read(browser.cookies, state=state, now=NOW + 250).due == "nothing"
        assert read(browser.cookies, state=state, now=NOW + 280).due == "refresh"


class TestRecall:
    """The hot path: bytes that were read before."""

    def known(self, header: bytes, state: State, site: Site = SITE) -> None:
        result = read_session(site, state, parse_cookies(header), NOW, header)
        assert result.reason == "valid"

    @pytest.mark.parametrize("session", [SMALL, LARGE])
    def test_field_that_was_read_is_recalled_with_what_goes_upstream(self, session: Session) -> None:
        state = make_state()
        header = b"a=1; " + browser_with(session).header + b"; b=2"
        assert recall(SITE, state, header, NOW) is None
        self.known(header, state)
        entry = recall(SITE, state, header, NOW + 1)
        assert entry is not None
        assert (entry.session, entry.others, entry.seen_at) == (session, b"a=1; b=2", NOW + 1)

    def test_field_of_nothing_but_ours_leaves_nothing(self) -> None:
        state, header = make_state(), browser_with(SMALL).header
        self.known(header, state)
        entry = recall(SITE, state, header, NOW)
        assert entry is not None
        assert entry.others is None

    def test_other_cookies_may_change(self) -> None:
        state, ours = make_state(), browser_with(SMALL).header
        self.known(b"a=1; " + ours, state)
        entry = recall(SITE, state, ours + b"; _ga=2; a=3", NOW)
        assert entry is not None
        assert entry.others == b"_ga=2; a=3"
        login = b"; __Host-login.abcdefgh=x; c=3"
        entry = recall(SITE, state, b"b=1; " + ours + login, NOW)
        assert entry is not None
        assert entry.others == b"b=1; c=3"

    def test_login_s_cookie_whose_name_holds_the_session_s_is_another_cookie(self) -> None:
        """As the names are by default: __Host-doorward and __Host-doorward-login."""
        site = make_site(cookie=replace(COOKIE, transaction_name=NAME + b"-login"))
        state, ours = make_state(), browser_with(SMALL, site=site).header
        login = NAME + b"-login.abcdefgh=" + b"l" * 90
        self.known(ours + b"; " + login, state, site)
        for header, others in ((ours + b"; a=1; " + login, b"a=1"), (ours + b"; b=1", b"b=1"), (ours, None)):
            entry = recall(site, state, header, NOW)
            assert entry is not None
            assert (entry.session, entry.others) == (SMALL, others)
        for twice in (ours + b"; " + NAME + b" =x", ours + b"; " + NAME + b".0=x", ours + b"; " + NAME):
            assert recall(site, state, twice, NOW) is None

    @pytest.mark.parametrize("after", [360, 3600, 43200, 1e9])
    def test_nothing_is_recalled_once_something_is_due(self, after: float) -> None:
        """S36: the slow path judges; a known cookie never outlives a limit."""
        state, header = make_state(), browser_with(SMALL).header
        self.known(header, state)
        assert recall(SITE, state, header, NOW + after) is None

    def test_refresh_that_is_due_is_not_missed(self) -> None:
        session = make_session(refresh_token=Secret(b"r"), access_expires_at=NOW + 300)
        state, header = make_state(), browser_with(session).header
        self.known(header, state)
        assert recall(SITE, state, header, NOW + 239) is not None
        assert recall(SITE, state, header, NOW + 240) is None

    def test_revoked_session_is_not_recalled(self) -> None:
        """S36: from that moment."""
        state, header = make_state(), browser_with(SMALL).header
        self.known(header, state)
        state.revocations.add(SMALL.id, SMALL.absolute_end)
        assert recall(SITE, state, header, NOW) is None

    def test_other_configuration_recalls_nothing(self) -> None:
        """S34, S73: a reload makes new sites, and each session is judged under them once more."""
        state, header = make_state(), browser_with(SMALL).header
        self.known(header, state)
        assert recall(make_site(), state, header, NOW) is None

    @pytest.mark.parametrize(
        "change",
        [
            lambda value: value[:5] + (b"A" if value[5:6] != b"A" else b"B") + value[6:],
            lambda value: value[-40:],
            lambda value: value[-32:],
            lambda value: b"x" + value,
        ],
    )
    def test_same_end_of_the_value_is_not_the_same_cookie(self, change: object) -> None:
        """The cache finds by the value's tail: whoever knows only that has nothing."""
        assert callable(change)
        state, value = make_state(), browser_with(SMALL).jar[NAME]
        self.known(NAME + b"=" + value, state)
        forged = NAME + b"=" + change(value)
        assert recall(SITE, state, forged, NOW) is None
        assert read_session(SITE, state, parse_cookies(forged), NOW, forged).reason == "invalid"

    def test_name_inside_another_value_never_becomes_the_session(self) -> None:
        """A planted `x=__Host-doorward=GARBAGE` beside the true cookie must not make GARBAGE valid alone."""
        state, ours = make_state(), browser_with(SMALL).header
        decoy = NAME + b"=" + b"G" * 400
        self.known(b"x=" + decoy + b"; " + ours, state)
        for forged in (decoy, b"a=1; " + decoy, decoy + b"; " + NAME + b"=short"):
            assert recall(SITE, state, forged, NOW) is None
            assert read_session(SITE, state, parse_cookies(forged), NOW, forged).reason == "invalid"

    def test_true_value_inside_another_cookie_is_not_the_session(self) -> None:
        state, ours = make_state(), browser_with(SMALL).header
        self.known(ours, state)
        for forged in (b"x=" + ours, b"x" + ours, b"x\x85" + ours):
            assert recall(SITE, state, forged, NOW) is None
            assert read_session(SITE, state, parse_cookies(forged), NOW, forged).reason == "absent"

    def test_duplicate_beside_a_known_cookie_is_read_in_full(self) -> None:
        """S32: a second session must not hide behind the cache."""
        state, ours = make_state(), browser_with(SMALL).header
        self.known(ours, state)
        both = ours + b"; " + browser_with(replace(SMALL, id="other")).header
        assert recall(SITE, state, both, NOW) is None
        assert read_session(SITE, state, parse_cookies(both), NOW, both).reason == "invalid"

    def test_quoted_value_is_another_value(self) -> None:
        state, value = make_state(), browser_with(SMALL).jar[NAME]
        self.known(NAME + b"=" + value, state)
        quoted = NAME + b'="' + value + b'"'
        assert recall(SITE, state, quoted, NOW) is None
        assert read_session(SITE, state, parse_cookies(quoted), NOW, quoted).reason == "invalid"

    def test_slow_path_takes_over_changed_other_cookies_too(self) -> None:
        state, browser = make_state(), browser_with(LARGE)
        self.known(browser.header, state)
        header = browser.header + b"; new=1"
        assert recall(SITE, state, header, NOW) is None
        first = read_session(SITE, state, parse_cookies(header), NOW, header).entry
        assert first is not None
        first.keep_grant("rule", "grant")
        entry = recall(SITE, state, header, NOW)
        assert entry is first
        assert entry.others == b"new=1"
        assert len(state.sessions) == 1

    @given(st.lists(st.sampled_from(["ours", "other", "x", "decoy", "login"]), max_size=5), st.booleans())
    def test_recall_never_says_otherwise_than_reading_in_full(self, parts: list[str], swap: bool) -> None:
        values = {
            "ours": browser_with(SMALL).header,
            "other": browser_with(replace(SMALL, id="other"), seed="o").header,
            "x": b"x=1",
            "decoy": b"x=" + browser_with(SMALL).header,
            "login": b"__Host-login.abcdefgh=1",
        }
        state = make_state()
        for header in (values["ours"], b"; ".join(values[part] for part in (parts[::-1] if swap else parts))):
            fresh = read(parse_cookies(header))
            entry = recall(SITE, state, header, NOW)
            if entry is not None:
                assert fresh.session == entry.session
                others = [pair for pair in parse_cookies(header) if not is_own_name(COOKIE, pair[0])]
                assert parse_cookies(entry.others or b"") == others
            kept = read_session(SITE, state, parse_cookies(header), NOW, header)
            assert (kept.reason, kept.session) == (fresh.reason, fresh.session)
