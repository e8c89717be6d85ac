"""The clocks of a session: S36."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.core import lifetime
from sidecar.core.runtime import SessionPolicy
from sidecar.core.secret import Secret
from sidecar.core.session import Session
from tests.core.sessionsetup import NOW, RING, make_session

POLICY = SessionPolicy(keys=RING, idle_seconds=3600, absolute_seconds=43200, refresh_before_seconds=60)
REFRESHABLE = make_session(refresh_token=Secret(b"r"), access_expires_at=NOW + 300)


@pytest.mark.parametrize(
    ("after", "ending"),
    [(0, None), (3599.9, None), (3600, "idle"), (43199, "idle"), (43200, "absolute"), (1e9, "absolute")],
)
def test_both_limits_end_a_session(after: float, ending: str | None) -> None:
    """S36: idle and absolute, by our clock."""
    assert lifetime.check(make_session(), POLICY, NOW + after) == ending


def test_activity_moves_the_idle_limit_and_never_the_absolute_one() -> None:
    """S36: neither use nor a refresh keeps a session beyond its absolute end."""
    busy = make_session(seen_at=NOW + 43000, generation=99)
    assert lifetime.check(busy, POLICY, NOW + 43199) is None
    assert lifetime.check(busy, POLICY, NOW + 43200) == "absolute"


def test_activity_that_the_cookie_does_not_know_of_counts() -> None:
    assert lifetime.check(make_session(), POLICY, NOW + 5000, seen_at=NOW + 4000) is None
    assert lifetime.check(make_session(), POLICY, NOW + 5000, seen_at=NOW - 4000) == "idle"


def test_shorter_limit_in_the_configuration_holds_for_open_sessions() -> None:
    """S73: from the moment of the reload on."""
    shorter = replace(POLICY, absolute_seconds=600, idle_seconds=60)
    assert lifetime.check(make_session(seen_at=NOW + 590), shorter, NOW + 599) is None
    assert lifetime.check(make_session(seen_at=NOW + 599), shorter, NOW + 600) == "absolute"
    assert lifetime.check(make_session(), shorter, NOW + 60) == "idle"


def test_longer_limit_in_the_configuration_does_not_lengthen_an_open_session() -> None:
    longer = replace(POLICY, absolute_seconds=1e6, idle_seconds=1e6)
    assert lifetime.check(make_session(), longer, NOW + 43200) == "absolute"


def test_refresh_is_due_shortly_before_the_access_token_ends() -> None:
    assert not lifetime.refresh_due(REFRESHABLE, POLICY, NOW + 239)
    assert lifetime.refresh_due(REFRESHABLE, POLICY, NOW + 240)


def test_refresh_of_a_short_token_is_never_due_before_half_of_its_life() -> None:
    """Else it would be due again with the very request that follows a refresh."""
    short = replace(REFRESHABLE, access_issued_at=NOW, access_expires_at=NOW + 60)
    assert not lifetime.refresh_due(short, POLICY, NOW + 29)
    assert lifetime.refresh_due(short, POLICY, NOW + 30)


@pytest.mark.parametrize(
    "session", [replace(REFRESHABLE, refresh_token=None), replace(REFRESHABLE, access_expires_at=None)]
)
def test_what_can_not_be_refreshed_is_never_due(session: Session) -> None:
    assert not lifetime.refresh_due(session, POLICY, NOW + 1e6)


def test_cookie_is_issued_anew_after_a_tenth_of_the_idle_limit() -> None:
    assert not lifetime.renew_seen(make_session(), POLICY, NOW + 359)
    assert lifetime.renew_seen(make_session(), POLICY, NOW + 360)
