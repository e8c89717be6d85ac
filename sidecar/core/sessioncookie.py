"""The session cookie: what a request's cookies say about a session, and the fields that set and clear it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sidecar.core.cookies import CookiePair
    from sidecar.core.runtime import Site
    from sidecar.core.session import Session
    from sidecar.core.sessioncache import CachedSession
    from sidecar.core.state import State

__all__ = ["SessionRead", "clear_session", "read_session", "recall", "set_session"]

type ReadReason = Literal["valid", "absent", "invalid", "expired", "revoked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRead:
    """What the cookies of a request say.

    `session` is set only when `reason` is "valid". `ended` is the session that a cookie held although it is
    over (expired or revoked): for logs, and for telling the provider at sign-out; never for access.
    `stale` are names of session cookies that should be cleared with the answer (`clear_names`).
    `due`: "refresh" when the access token should be refreshed, "renewal" when the cookie should be issued
    anew with `seen_at` = now (the gate then calls `set_session` with `renewed(session, now)`).
    """

    reason: ReadReason
    session: Session | None = None
    ended: Session | None = None
    entry: CachedSession | None = None
    stale: tuple[bytes, ...] = ()
    due: Literal["nothing", "renewal", "refresh"] = "nothing"


def recall(site: Site, state: State, header: bytes, now: float) -> CachedSession | None:
    """Return the session of a Cookie field that was read before, when nothing at all is to be done about it.

    The hot path: known bytes, same site and configuration, no limit passed, not revoked, nothing due. None
    means "use `read_session`", never "no session". Counts as activity.
    """
    raise NotImplementedError


def read_session(  # noqa: PLR0917  the agreed order
    site: Site,
    state: State,
    cookies: Sequence[CookiePair],
    now: float,
    header: bytes | None = None,
) -> SessionRead:
    """Return the session of these cookies or why there is none.

    `header` is the one Cookie field that `cookies` were parsed from; with it, `recall` finds it next time.
    """
    raise NotImplementedError


def renewed(session: Session, now: float) -> Session:
    """Return the session as seen now."""
    raise NotImplementedError


def set_session(
    site: Site, session: Session, cookies: Sequence[CookiePair], entropy: Callable[[int], bytes]
) -> tuple[bytes, ...]:
    """Return the Set-Cookie values for `session`; `cookies` are the request's, so that stale ones are deleted.

    Raises InvalidToken("session_too_large") when it does not fit the permitted number of chunks.
    """
    raise NotImplementedError


def clear_session(site: Site, cookies: Sequence[CookiePair]) -> tuple[bytes, ...]:
    """Return the Set-Cookie values that delete each session cookie among `cookies`."""
    raise NotImplementedError


def clear_names(site: Site, names: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the Set-Cookie values that delete these names (`SessionRead.stale`)."""
    raise NotImplementedError
