"""The session cookie: what a request's cookies say about a session, and the fields that set and clear it.

A session that fits one cookie is sealed under the cookie's name. A larger one is cut into chunks, and each
chunk is sealed by itself, under its own name (`<session_name>.0`, `.1`, ...), together with the random id of
its set, its place and the number of chunks. So a chunk that somebody plants or alters is refused before it
is joined to anything, chunks of different sets never meet (S32), and only a complete set is a session.

A browser may send one name several times (a cookie for a path, one from a parent domain). Each is tried;
what does not authenticate counts as not there. Two that authenticate are fine if they are the same session
at different times, and the latest counts. Two different sessions are refused: nobody can tell which of them
the person at the browser meant, and one of them may have been planted.

Whoever sets a session deletes what the request showed of older ones, and in any case the other form's first
name, because a login in another tab may have set that one meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final, Literal

from sidecar.core import lifetime
from sidecar.core.cookies import build_clearing_cookie, build_set_cookie, is_own_name, parse_cookies, without
from sidecar.core.errors import InvalidCookie, InvalidToken
from sidecar.core.seal import SEALING_OVERHEAD, sealed_length
from sidecar.core.sessioncache import KEY_BYTES, CachedSession, key_of
from sidecar.core.sessioncodec import decode_session, encode_session

if TYPE_CHECKING:
    from sidecar.core.cookies import CookiePair
    from sidecar.core.runtime import CookiePolicy, Site
    from sidecar.core.session import Session
    from sidecar.core.state import State

__all__ = [
    "MAX_CHUNKS",
    "MAX_COOKIE_BYTES",
    "SessionRead",
    "clear_names",
    "clear_session",
    "read_session",
    "recall",
    "renewed",
    "set_session",
]

MAX_COOKIE_BYTES: Final = 4096
"""Of one Set-Cookie value, attributes included: what every browser keeps (RFC 6265bis §5.6 asks for it)."""

MAX_CHUNKS: Final = 10
"""Ten chunks make a Cookie field of 40 KB, more than most servers in front of us let through."""

_MAX_CANDIDATES: Final = 2 * MAX_CHUNKS + 4
_WHOLE: Final = "session"
_CHUNK: Final = "session-chunk"
_SET_ID_BYTES: Final = 8
_CHUNK_HEADER_BYTES: Final = _SET_ID_BYTES + 2
_CHUNK_SUFFIX: Final = re.compile(rb"\.[0-9]")

type Reason = Literal["valid", "absent", "invalid", "expired", "revoked"]
type Due = Literal["nothing", "renewal", "refresh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRead:
    """What the cookies of a request say.

    `session` is set only when `reason` is "valid". `ended` is the session that a cookie held although it is
    over (expired or revoked): for logs, and for telling the provider at sign-out; never for access.
    `stale` are the names that should be cleared with the answer (`clear_names`). `due`: "refresh" when the
    access token should be refreshed, "renewal" when the cookie should be issued anew with `seen_at` = now
    (`set_session` with `renewed(session, now)`): told once per session and tenth of the idle limit.
    """

    reason: Reason
    session: Session | None = None
    ended: Session | None = None
    entry: CachedSession | None = None
    stale: tuple[bytes, ...] = ()
    due: Due = "nothing"


def recall(site: Site, state: State, header: bytes, now: float) -> CachedSession | None:
    """Return the session of a Cookie field that was read before, when nothing at all is to be done about it.

    The hot path: known bytes, same site and configuration, no limit passed, not revoked, nothing due. None
    means "use `read_session`", never "no session". Counts as activity.
    """
    # `key_of`, written out: a call costs as much as the two searches.
    start = header.find(site.cookie.session_name)
    if start < 0:
        return None
    end = header.find(b";", start)
    entry = state.sessions.entries.get(header[-KEY_BYTES:] if end < 0 else header[end - KEY_BYTES : end])
    if entry is None or now >= entry.check_at or entry.site is not site:
        return None
    if entry.header != header and not _rebind(state, entry, header):
        return None
    if state.revocations.refuses(entry.session):
        return None
    entry.is_used = True
    entry.seen_at = now
    return entry


def read_session(
    site: Site,
    state: State,
    cookies: Sequence[CookiePair],
    now: float,
    header: bytes | None = None,
) -> SessionRead:
    """Return the session of these cookies, or why there is none.

    `header` is the one Cookie field that `cookies` were parsed from; `recall` finds its session next time.
    """
    own = _session_pairs(site.cookie, cookies)
    if not own:
        return SessionRead(reason="absent")
    if header is None:
        header = b"; ".join(b"%b=%b" % pair for pair in own)
    key = key_of(header, site.cookie.session_name)
    entry = state.sessions.find(key, site)
    used = own
    if entry is None or not _holds(entry, own):
        try:
            session, used = _open(site, own)
        except InvalidCookie:
            return SessionRead(reason="invalid", stale=_names(own))
        entry = _cached(site, state, session, key, header)
    elif entry.header != header:
        others = without(header, partial(is_own_name, site.cookie))
        state.sessions.rebind(entry, header, others, _plain_start(header, site.cookie))
    return _judge(site, state, entry, now, own=own, used=used)


def renewed(session: Session, now: float) -> Session:
    """Return the session as seen now."""
    return replace(session, seen_at=max(now, session.seen_at))


def set_session(
    site: Site, session: Session, cookies: Sequence[CookiePair], entropy: Callable[[int], bytes]
) -> tuple[bytes, ...]:
    """Return the Set-Cookie values for `session`; `cookies` are the request's: stale ones are deleted.

    The cookies last until the session's absolute end, counted from its `seen_at`. Raises
    InvalidToken("session_too_large") when the session does not fit the permitted number of chunks.
    """
    policy = site.cookie
    max_age = max(1, ceil(session.absolute_end - session.seen_at))
    build = partial(build_set_cookie, policy, max_age_seconds=max_age)
    fields = {name: build(name, value) for name, value in _sealed(site, session, build, entropy)}
    first_of_other_form = _chunk_name(policy, 0) if policy.session_name in fields else policy.session_name
    shown = _names(_session_pairs(policy, cookies))
    stale = dict.fromkeys(name for name in (*shown, first_of_other_form) if name not in fields)
    return (*fields.values(), *clear_names(site, tuple(stale)))


def clear_session(site: Site, cookies: Sequence[CookiePair]) -> tuple[bytes, ...]:
    """Return the Set-Cookie values that delete each session cookie among `cookies`."""
    return clear_names(site, _names(_session_pairs(site.cookie, cookies)))


def clear_names(site: Site, names: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the Set-Cookie values that delete these names (`SessionRead.stale`)."""
    return tuple(build_clearing_cookie(site.cookie, name) for name in names)


def _judge(
    site: Site,
    state: State,
    entry: CachedSession,
    now: float,
    *,
    own: Sequence[CookiePair],
    used: Sequence[CookiePair],
) -> SessionRead:
    """Hold an authentic session against revocations and clocks, and set when to look again."""
    session, policy = entry.session, site.session
    if state.revocations.refuses(session):
        return SessionRead(reason="revoked", ended=session, stale=_names(own))
    seen_at = max(entry.seen_at, state.sessions.seen_at(session))
    if lifetime.check(session, policy, now, seen_at) is not None:
        return SessionRead(reason="expired", ended=session, stale=_names(own))
    entry.seen_at = now
    due = _due(state, entry, site, now)
    used_names = set(_names(used))
    stale = tuple(name for name in _names(own) if name not in used_names)
    # Stale chunks are told once, by whoever reads the field first: then the field is known as it is.
    return SessionRead(reason="valid", session=session, entry=entry, stale=stale, due=due)


def _due(state: State, entry: CachedSession, site: Site, now: float) -> Due:
    session, policy = entry.session, site.session
    refresh_at = lifetime.refresh_at(session, policy)
    if refresh_at is not None:
        refresh_at = max(refresh_at, state.sessions.refresh_postponed_until(session.id))
    ends_at = min(lifetime.absolute_end(session, policy), now + policy.idle_seconds)
    due: Due = "nothing"
    if refresh_at is not None and now >= refresh_at:
        due = "refresh"
    elif now >= entry.renew_at:
        due = "renewal"
        entry.renew_at = now + lifetime.renewal_seconds(policy)
    entry.check_at = min(ends_at, entry.renew_at, refresh_at if refresh_at is not None else ends_at)
    return due


def _cached(site: Site, state: State, session: Session, key: bytes, header: bytes) -> CachedSession:
    entry = CachedSession(site, session, key)
    entry.renew_at = lifetime.renew_at(session, site.session)
    others = without(header, partial(is_own_name, site.cookie))
    state.sessions.rebind(entry, header, others, _plain_start(header, site.cookie))
    state.sessions.put(entry)
    return entry


def _rebind(state: State, entry: CachedSession, header: bytes) -> bool:
    """Take over a Cookie field in which other cookies have changed; False when it must be read in full.

    Only for the plain case, the session in one cookie and its name nowhere else, *in both fields*: else a
    name inside another cookie's value could pass its neighbour's text off as the session.
    """
    start, known = _plain_start(header, entry.site.cookie), entry.plain_start
    if start < 0 or known < 0:
        return False
    end, known_end = header.find(b";", start), entry.header.find(b";", known)
    pair = header[start:] if end < 0 else header[start:end]
    if pair != (entry.header[known:] if known_end < 0 else entry.header[known:known_end]):
        return False
    if entry.site.cookie.transaction_name in header:
        others = without(header, partial(is_own_name, entry.site.cookie))
    else:
        # The same cut, four times as fast: there is nothing but this one pair to take out.
        after = b"" if end < 0 else header[end + 1 :].lstrip(b" \t")
        others = (header[:start] + after if after else header[: max(0, start - 2)]) or None
    state.sessions.rebind(entry, header, others, start)
    return True


def _plain_start(header: bytes, policy: CookiePolicy) -> int:
    """Return where the session's one cookie begins, or -1 when its name stands anywhere else too.

    Chunks and duplicates are not plain, nor is a name that is not preceded by the field's start or "; ". The
    name of a login's cookie may hold the session's: those do not count.
    """
    name, login = policy.session_name, policy.transaction_name
    start = header.find(name + b"=")
    if start < 0 or header.count(name) - header.count(login) * login.count(name) != 1:
        return -1
    return start if start == 0 or header.endswith(b"; ", 0, start) else -1


def _sealed(
    site: Site, session: Session, build: Callable[[bytes, bytes], bytes], entropy: Callable[[int], bytes]
) -> list[CookiePair]:
    """Seal the session into one cookie, or into as many chunks as it takes."""
    policy = site.cookie
    data = encode_session(session)
    seal = partial(site.session.keys.seal, site=_binding(site), entropy=entropy)
    room = MAX_COOKIE_BYTES - len(build(policy.session_name, b""))
    if sealed_length(len(data)) <= room:
        return [(policy.session_name, seal(data, purpose=_WHOLE, name=policy.session_name))]
    room = MAX_COOKIE_BYTES - len(build(_chunk_name(policy, 0), b""))
    size = room * 3 // 4 - SEALING_OVERHEAD - _CHUNK_HEADER_BYTES
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    if len(pieces) > MAX_CHUNKS:
        detail = f"{len(data)} bytes do not fit {MAX_CHUNKS} cookies"
        raise InvalidToken("session_too_large", detail)
    set_id = entropy(_SET_ID_BYTES)
    return [
        (name, seal(set_id + bytes((index, len(pieces))) + piece, purpose=_CHUNK, name=name))
        for index, piece in enumerate(pieces)
        for name in (_chunk_name(policy, index),)
    ]


def _open(site: Site, own: Sequence[CookiePair]) -> tuple[Session, list[CookiePair]]:
    """Return the one session that these cookies hold, and the cookies that hold it. Raises InvalidCookie."""
    if len(own) > _MAX_CANDIDATES:
        raise InvalidCookie("session_invalid", f"{len(own)} session cookies")
    found = [*_open_whole(site, own), *_open_chunked(site, own)]
    if not found:
        raise InvalidCookie("session_invalid")
    if len({session.id for session, _ in found}) > 1:
        raise InvalidCookie("session_ambiguous")
    return max(found, key=lambda item: (item[0].generation, item[0].seen_at))


def _open_whole(site: Site, own: Sequence[CookiePair]) -> Iterator[tuple[Session, list[CookiePair]]]:
    for pair in own:
        if pair[0] == site.cookie.session_name:
            with suppress(InvalidCookie):
                yield _decode(site, _opened(site, pair, _WHOLE)), [pair]


def _open_chunked(site: Site, own: Sequence[CookiePair]) -> Iterator[tuple[Session, list[CookiePair]]]:
    sets: dict[bytes, dict[int, tuple[bytes, CookiePair]]] = {}
    for pair in own:
        if pair[0] != site.cookie.session_name:
            with suppress(InvalidCookie):
                chunk = _opened(site, pair, _CHUNK)
                # Set id and count together name the set; a chunk's place is bound to its cookie's name too.
                key = chunk[:_SET_ID_BYTES] + chunk[_CHUNK_HEADER_BYTES - 1 : _CHUNK_HEADER_BYTES]
                sets.setdefault(key, {})[chunk[_SET_ID_BYTES]] = (chunk[_CHUNK_HEADER_BYTES:], pair)
    for key, chunks in sets.items():
        count = key[_SET_ID_BYTES]
        if sorted(chunks) == list(range(count)):
            ordered = [chunks[index] for index in range(count)]
            with suppress(InvalidCookie):
                session = _decode(site, b"".join(piece for piece, _ in ordered))
                yield session, [pair for _, pair in ordered]


def _opened(site: Site, pair: CookiePair, purpose: str) -> bytes:
    name, value = pair
    return site.session.keys.open(value, purpose=purpose, name=name, site=_binding(site))


def _binding(site: Site) -> str:
    """Return where a cookie opens: at this site, and of its hosts at those that share the cookie alone."""
    host = site.cookie.outside
    return str(site.public_url) if host is None else f"{site.public_url} {host}"


def _decode(site: Site, data: bytes) -> Session:
    session = decode_session(data)
    if session.site != site.name:
        raise InvalidCookie("session_invalid")
    return session


def _holds(entry: CachedSession, own: Sequence[CookiePair]) -> bool:
    """Tell whether an entry was opened from exactly these session cookies, whatever else came with them."""
    return _session_pairs(entry.site.cookie, parse_cookies(entry.header)) == list(own)


def _session_pairs(policy: CookiePolicy, cookies: Iterable[CookiePair]) -> list[CookiePair]:
    name, length = policy.session_name, len(policy.session_name)
    return [
        pair
        for pair in cookies
        if pair[0] == name or (pair[0].startswith(name) and _CHUNK_SUFFIX.fullmatch(pair[0], length))
    ]


def _names(pairs: Sequence[CookiePair]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(name for name, _ in pairs))


def _chunk_name(policy: CookiePolicy, index: int) -> bytes:
    return policy.session_name + b".%d" % index
