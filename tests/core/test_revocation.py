"""The list of revoked sessions: S36."""

from __future__ import annotations

import pytest

from sidecar.core.revocation import RevocationList
from tests.core.sessionsetup import NOW, make_session


def test_revoked_session_is_refused_until_its_end() -> None:
    """S36: a copied cookie dies with the session."""
    revoked = RevocationList()
    revoked.add("session-1", NOW + 100)
    assert revoked.is_revoked("session-1", NOW)
    assert revoked.is_revoked("session-1", NOW + 99)
    assert not revoked.is_revoked("session-1", NOW + 100)
    assert revoked.refuses(make_session())


def test_others_are_not_refused() -> None:
    revoked = RevocationList()
    revoked.add("session-2", NOW + 100)
    assert not revoked.is_revoked("session-1", NOW)
    assert not revoked.refuses(make_session())


def test_sweep_forgets_what_is_over_and_nothing_else() -> None:
    revoked = RevocationList()
    revoked.add("over", NOW + 10)
    revoked.add("alive", NOW + 1000)
    assert revoked.sweep(NOW + 5) == 0
    assert revoked.sweep(NOW + 200) == 1
    assert len(revoked) == 1
    assert revoked.is_revoked("alive", NOW + 200)


def test_later_end_of_the_same_session_counts_and_an_earlier_one_does_not() -> None:
    revoked = RevocationList()
    revoked.add("s", NOW + 100)
    revoked.add("s", NOW + 1000)
    revoked.add("s", NOW + 10)
    assert len(revoked) == 1
    revoked.sweep(NOW + 500)
    assert revoked.is_revoked("s", NOW + 999)
    revoked.sweep(NOW + 2000)
    assert len(revoked) == 0


class TestFull:
    def test_list_is_bounded(self) -> None:
        revoked = RevocationList(max_entries=10)
        for index in range(1000):
            revoked.add(f"s{index}", NOW + 60 * index)
        assert len(revoked) <= 10

    def test_no_live_revocation_is_forgotten(self) -> None:
        """S36: what had to make room stays refused, with every session that ends as early."""
        revoked = RevocationList(max_entries=10)
        sessions = [make_session(id=f"s{index}", absolute_end=NOW + 60 * index) for index in range(100)]
        for session in sessions:
            revoked.add(session.id, session.absolute_end)
        assert all(revoked.refuses(session) for session in sessions)
        assert revoked.floor > NOW

    def test_sessions_that_end_later_are_not_refused_for_it(self) -> None:
        revoked = RevocationList(max_entries=2)
        for index in range(4):
            revoked.add(f"s{index}", NOW + 3600 * index)
        assert revoked.refuses(make_session(id="other", absolute_end=NOW + 3600))
        assert not revoked.refuses(make_session(id="other", absolute_end=NOW + 3 * 3600))

    @pytest.mark.parametrize("max_entries", [1, 2, 3])
    def test_many_with_the_same_end_are_no_exception(self, max_entries: int) -> None:
        revoked = RevocationList(max_entries=max_entries)
        for index in range(20):
            revoked.add(f"s{index}", NOW + 500)
        assert len(revoked) <= max_entries
        assert all(
            revoked.refuses(make_session(id=f"s{index}", absolute_end=NOW + 500)) for index in range(20)
        )
