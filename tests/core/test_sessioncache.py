"""Opened sessions by cookie, bounded in bytes."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from sidecar.core.cookies import parse_cookies
from sidecar.core.secret import Secret
from sidecar.core.sessioncache import KEY_BYTES, CachedSession, SessionCache, key_of
from sidecar.core.sessioncookie import read_session, set_session
from tests.core.sessionsetup import NOW, Browser, Entropy, make_identity, make_session, make_site, make_state

SITE = make_site()
NAME = b"__Host-doorward"


def put(cache: SessionCache, index: int, *, key: bytes | None = None) -> CachedSession:
    entry = CachedSession(SITE, make_session(id=f"s{index}"), key or b"%032d" % index)
    cache.rebind(entry, b"h" * 1000, None, 0)
    cache.put(entry)
    return entry


SIZE = put(SessionCache(), 0).size


class TestKey:
    @pytest.mark.parametrize(
        "header", [b"%b=" + b"v" * 50, b"a=1; %b=" + b"v" * 50 + b"; b=2", b"%b=" + b"v" * 50 + b";"]
    )
    def test_key_is_the_tail_of_the_value(self, header: bytes) -> None:
        assert key_of(header % NAME, NAME) == b"v" * KEY_BYTES

    def test_first_occurrence_decides_so_that_reading_and_recalling_agree(self) -> None:
        header = b"x=%b=" % NAME + b"1" * 40 + b"; %b=" % NAME + b"2" * 40
        assert key_of(header, NAME) == b"1" * KEY_BYTES

    @pytest.mark.parametrize("header", [b"", b"a=1", NAME, NAME + b"=", NAME + b"=;", b";;;"])
    def test_every_field_has_a_key(self, header: bytes) -> None:
        assert len(key_of(header, NAME)) <= KEY_BYTES


class TestBound:
    def test_all_that_fits_stays(self) -> None:
        cache = SessionCache(max_bytes=100 * SIZE)
        for index in range(100):
            put(cache, index)
        assert (len(cache), cache.bytes_used) == (100, 100 * SIZE)

    def test_bytes_never_exceed_the_bound(self) -> None:
        cache = SessionCache(max_bytes=10 * SIZE)
        for index in range(1000):
            put(cache, index)
            assert cache.bytes_used <= 10 * SIZE
        assert len(cache) == 10

    def test_what_is_used_outlives_what_is_not(self) -> None:
        cache = SessionCache(max_bytes=10 * SIZE)
        used = put(cache, 0)
        for index in range(1, 100):
            used.is_used = True
            put(cache, index)
        assert cache.find(used.key, SITE) is used

    def test_entries_all_in_use_make_room_nevertheless(self) -> None:
        cache = SessionCache(max_bytes=200 * SIZE)
        for index in range(1000):
            put(cache, index).is_used = True
        assert cache.bytes_used <= 200 * SIZE

    def test_replaced_entries_count_until_they_are_gone(self) -> None:
        """Cookies that share a tail must not make a list that nobody bounds."""
        cache = SessionCache(max_bytes=10 * SIZE)
        for index in range(1000):
            put(cache, index, key=b"same")
            assert cache.bytes_used <= 10 * SIZE
        last = put(cache, 1000, key=b"same")
        assert cache.find(b"same", SITE) is last
        assert len(cache) == 1

    def test_entry_larger_than_the_bound_is_not_kept(self) -> None:
        cache = SessionCache(max_bytes=SIZE - 1)
        put(cache, 1)
        assert (len(cache), cache.bytes_used) == (0, 0)

    def test_bytes_follow_a_field_that_changes(self) -> None:
        cache = SessionCache(max_bytes=10 * SIZE)
        entry = put(cache, 1)
        cache.rebind(entry, b"h" * 2000, b"o" * 100, 0)
        assert cache.bytes_used == entry.size > SIZE

    @pytest.mark.parametrize(("token_bytes", "groups"), [(0, 2), (1024, 20)])
    def test_estimate_is_not_below_what_entries_take(self, token_bytes: int, groups: int) -> None:
        """The bound is one of memory: 2 KB of the estimate are for what the gate prepares."""
        headers = []
        for index in range(200):
            identity = make_identity(
                subject=f"u-{index}", groups=tuple(f"group-{n}-{index}" for n in range(groups))
            )
            token = Secret(Entropy(str(index))(token_bytes // 2).hex().encode())
            browser = Browser()
            session = make_session(id=f"s{index}", identity=identity, refresh_token=token)
            browser.take(*set_session(SITE, session, (), Entropy(f"seal{index}")))
            headers.append(browser.header)
        state = make_state(1 << 30)
        gc.collect()
        tracemalloc.start()
        for header in headers:
            own_copy = bytes(bytearray(header))
            assert read_session(SITE, state, parse_cookies(own_copy), NOW, own_copy).session
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert taken / 200 + 2000 <= 1.1 * state.sessions.bytes_used / 200

    def test_entry_of_another_configuration_is_not_found(self) -> None:
        cache = SessionCache()
        entry = put(cache, 1)
        assert cache.find(entry.key, SITE) is entry
        assert cache.find(entry.key, make_site()) is None


class TestGrants:
    def test_grants_are_kept_by_rule_and_bounded(self) -> None:
        entry = put(SessionCache(), 1)
        for index in range(10_000):
            entry.keep_grant(index, "grant")
        assert entry.grants[9_999] == "grant"
        assert len(entry.grants) <= 32


class TestNotes:
    def test_latest_activity_counts(self) -> None:
        cache = SessionCache()
        cache.touch("session-1", NOW + 50)
        cache.touch("session-1", NOW + 10)
        assert cache.seen_at(make_session()) == NOW + 50
        assert cache.seen_at(make_session(seen_at=NOW + 60)) == NOW + 60
        assert cache.seen_at(make_session(id="other")) == NOW

    def test_notes_are_bounded_and_the_latest_stay(self) -> None:
        cache = SessionCache()
        for index in range(25_000):
            cache.touch(f"s{index}", NOW + 1)
            cache.touch("busy", NOW + 1 + index)
        assert cache.seen_at(make_session(id="s0")) == NOW
        assert cache.seen_at(make_session(id="s24999")) == NOW + 1
        assert cache.seen_at(make_session(id="busy")) == NOW + 25_000

    def test_postponed_refresh(self) -> None:
        cache = SessionCache()
        assert cache.refresh_postponed_until("s") == 0
        cache.postpone_refresh("s", NOW + 30)
        assert cache.refresh_postponed_until("s") == NOW + 30
