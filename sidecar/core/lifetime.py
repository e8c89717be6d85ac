"""The clocks of a session, all on our clock: idle limit, absolute limit, when to refresh, when to re-issue.

A session ends at the earlier of what it was given at login and what the policy says now, so that a shorter
limit in the configuration takes effect for open sessions too (S73).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from sidecar.core.runtime import SessionPolicy
    from sidecar.core.session import Session

__all__ = [
    "Ending",
    "absolute_end",
    "check",
    "refresh_at",
    "refresh_due",
    "renew_at",
    "renew_seen",
    "renewal_seconds",
]

type Ending = Literal["idle", "absolute"]

_RENEWALS_PER_IDLE: Final = 10.0


def absolute_end(session: Session, policy: SessionPolicy) -> float:
    """Return when the session ends whatever happens."""
    return min(session.absolute_end, session.created_at + policy.absolute_seconds)


def check(session: Session, policy: SessionPolicy, now: float, seen_at: float | None = None) -> Ending | None:
    """Return which limit has passed, or None. `seen_at` is later activity than the cookie knows of."""
    if now >= absolute_end(session, policy):
        return "absolute"
    seen = session.seen_at if seen_at is None else max(session.seen_at, seen_at)
    return "idle" if now >= seen + policy.idle_seconds else None


def refresh_at(session: Session, policy: SessionPolicy) -> float | None:
    """Return when the access token should be refreshed; None when it can't or need not be.

    Never before half of its life: some providers' tokens last no longer than we refresh ahead, and would be
    due with every request.
    """
    if session.refresh_token is None or session.access_expires_at is None:
        return None
    ahead = policy.refresh_before_seconds
    if session.access_issued_at is not None:
        ahead = min(ahead, (session.access_expires_at - session.access_issued_at) / 2)
    return session.access_expires_at - ahead


def refresh_due(session: Session, policy: SessionPolicy, now: float) -> bool:
    """Tell whether the access token should be refreshed now."""
    due = refresh_at(session, policy)
    return due is not None and now >= due


def renew_at(session: Session, policy: SessionPolicy) -> float:
    """Return when the cookie is to be issued anew because its `seen_at` is old.

    A tenth of the idle limit: a cookie with each answer would cost each answer's cacheability, and one that
    is never renewed would end a busy session.
    """
    return session.seen_at + renewal_seconds(policy)


def renewal_seconds(policy: SessionPolicy) -> float:
    """Return how old a cookie's `seen_at` may become."""
    return policy.idle_seconds / _RENEWALS_PER_IDLE


def renew_seen(session: Session, policy: SessionPolicy, now: float) -> bool:
    """Tell whether the cookie should be issued anew with `seen_at` = `now`."""
    return now >= renew_at(session, policy)
