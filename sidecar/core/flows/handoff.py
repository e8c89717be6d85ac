"""Handing a session over: one login for hosts that share no cookie, `a.example` (public_url) and `b.other`.

    b.other    begins a login of its own kind (`core.transaction`): a cookie of this host, and a sealed
               request that says which host, what the cookie's secret proves, and where to go back to
    a.example  handoff?request=...        signs the person in if need be; puts the session aside, sealed, for
                                          a minute, under a code that only this answer names
    b.other    handoff/return?code=...    gives the session to the browser that holds the request's cookie

It is the code flow with its proof key (RFC 7636), between us and ourselves. A code that somebody else got (a
log, a shared screen) opens nothing without the cookie, nor to anybody once it was shown here; a code that
somebody planted in another's browser neither, so that nobody is signed in as somebody else unawares (login
CSRF). The session keeps its id: signing out at one host ends it at all of them.

The request lasts as long as a login may (`transaction.LIFETIME_SECONDS`), for there may be one in between.
Whatever fails ends at a page with a link: nothing here goes round by itself, and a browser that keeps one
cookie but not the other meets `attempts_before` as in any login.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from sidecar.core import lifetime, sessioncookie, transaction
from sidecar.core.decision import Flow
from sidecar.core.effects import ClaimOnce, Emit, Once
from sidecar.core.entrance import entrance, origin_at
from sidecar.core.errors import InvalidCookie, InvalidToken, PeerError
from sidecar.core.flows.answers import host_of, login_error, method_refused, redirect
from sidecar.core.flows.exchange import fit_session
from sidecar.core.flows.parameters import Parameters, parse_parameters
from sidecar.core.flows.refresh import refreshed
from sidecar.core.returnurl import safe_return_url
from sidecar.core.runtime import Provider
from sidecar.core.seal import encode_base64url
from sidecar.core.sessioncodec import decode_session, encode_session

if TYPE_CHECKING:
    from sidecar.core.decision import Forward, Respond, Steps
    from sidecar.core.flows.call import Call
    from sidecar.core.runtime import Site
    from sidecar.core.session import Session
    from sidecar.core.transaction import Found, Transaction

__all__ = ["CODE_SECONDS", "ask", "give", "take"]

CODE_SECONDS: Final = 60.0
"""A browser follows a redirect at once."""

_HANDED_OVER: Final = ""  # the provider's key in a request's state; no provider has it
_CODE_BYTES: Final = 32
_CODE_CHARACTERS: Final = 43
_PURPOSE: Final = "handoff"
# The codes of our own checks that say "too late" or "not here" to a person; others say that it failed.
_LATE: Final = frozenset(
    {"handoff_unknown", "handoff_old", "state_expired", "state_no_cookie", "handoff_used"}
)


def ask(
    call: Call,
    return_to: str,
    *,
    attempts: int,
    parameters: Iterable[tuple[str, str]],
    cookies: tuple[bytes, ...],
) -> Respond:
    """Send the browser to public_url's host for its session; it comes back here, and to `return_to`.

    `return_to` has been checked. `parameters` go along: what a login there needs to know.
    """
    site = call.site
    under_way, set_cookies = transaction.begin(
        site,
        _as_provider(site, host_of(call)),
        return_to,
        call.now,
        call.state.surroundings.entropy,
        cookies=call.cookies,
        attempts=attempts,
    )
    query = urlencode([("request", under_way.state), *parameters])
    url = f"{site.public_url}{site.prefix}/handoff?{query}"
    return redirect(call, url, "handoff_started", (*set_cookies, *cookies))


def give(call: Call) -> Respond | Flow:
    """Answer the handoff endpoint at public_url's host: to a signed-in browser with a code for the asker."""
    if call.head.method != b"GET":
        return method_refused(call, b"GET")
    return Flow("handoff", _give(call), head=call.head, site=call.site)


def take(call: Call) -> Respond | Flow:
    """Answer the return to the host that asked: its session, if this is the browser that asked."""
    if call.head.method != b"GET":
        return method_refused(call, b"GET")
    return Flow("handoff_return", _take(call), head=call.head, site=call.site)


# --- at public_url's host ---


def _give(call: Call) -> Steps[Respond | Forward]:
    parameters = parse_parameters(call.query)
    request = parameters.single("request") or ""
    asked = transaction.find(call.site, (), request, call.now)
    try:
        host = _asking_host(call, asked)
    except PeerError as error:
        return (yield from _refused(call, error, retry_url=_retry_url(call, asked)))
    if call.session is None:
        return (yield from _log_in(call, request, parameters))
    result = yield from refreshed(call)
    if not isinstance(result, tuple):
        return result
    session, cookies = result
    code = encode_base64url(call.state.surroundings.entropy(_CODE_BYTES))
    # Its owner is here now, whatever the cookie still says of when that was last.
    sealed = _seal(call, code, request, sessioncookie.renewed(session, call.now))
    yield Once(key=_key(code), steps=lambda: _aside(sealed), keep_seconds=CODE_SECONDS)
    url = f"{origin_at(call.site, host)}{call.site.prefix}/handoff/return?code={code.decode('ascii')}"
    return redirect(call, url, "handoff_given", cookies)


def _asking_host(call: Call, asked: Found) -> str:
    """Return the host that asked. Raises PeerError when nobody did, too long ago, or it may not ask now."""
    site = call.site
    if entrance(site, host_of(call)) != "here":
        raise InvalidToken("handoff_elsewhere", "asked at a host that is not public_url's")
    if asked.reason == "expired":
        raise InvalidToken("state_expired")
    host = _host_of_request(site, asked)
    if asked.reason == "invalid" or host is None:
        raise InvalidToken("state_invalid")
    return host


def _host_of_request(site: Site, asked: Found) -> str | None:
    """Return the host of a request, if the site still hands sessions over to it."""
    if asked.provider != _HANDED_OVER:
        return None
    host = asked.issuer.partition("://")[2]
    known = host in site.hosts and entrance(site, host) == "handoff" and origin_at(site, host) == asked.issuer
    return host if known else None


def _log_in(call: Call, request: str, parameters: Parameters) -> Steps[Respond | Forward]:
    """Sign the person in, in the way that was chosen where they came from, and come back to this very URL."""
    from sidecar.core.flows import login  # a login begins with this module where it has to

    # Whoever comes back here without a session was not after a login, but is in the middle of one.
    own_url = f"{call.site.prefix}/handoff?{urlencode({'request': request, 'cause': login.DENIED})}"
    return (yield from login.begin_chosen(call, own_url, parameters).steps)


def _retry_url(call: Call, asked: Found) -> str:
    """Return where to begin anew: at the host that asked, where that is known."""
    host = _host_of_request(call.site, asked)
    start = f"{call.site.prefix}/start"
    if host is None:
        return start
    return f"{origin_at(call.site, host)}{start}?{urlencode({'rd': asked.return_to})}"


def _aside(sealed: bytes) -> Steps[bytes]:
    """Yield nothing: what is kept of this work is the value itself."""
    yield from ()
    return sealed


# --- at the host that asked ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What was put aside under a code: when, for which request, and the session.

    A code is good for one showing, whoever shows it: a browser may have been led here with the request of
    somebody who holds its cookie, and then waits for the code to be seen somewhere.
    """

    at: float
    claim_key: bytes
    request: str
    session: Session


def _take(call: Call) -> Steps[Respond | Forward]:
    found: Found | None = None
    try:
        given = yield from _given(call, parse_parameters(call.query))
        found = transaction.find(call.site, call.cookies, given.request, call.now)
        if not (yield ClaimOnce(key=given.claim_key, until=given.at + CODE_SECONDS)):
            raise InvalidToken("handoff_used")
        under_way = _under_way(call, found)
        session = _living(call, given)
        if not (yield ClaimOnce(key=under_way.claim_key, until=under_way.until)):
            raise InvalidToken("handoff_used")
        session, set_cookies = fit_session(call, sessioncookie.renewed(session, call.now))
    except PeerError as error:
        return (yield from _not_taken(call, error, found))
    yield Emit(event="session_handed_over", fields=_facts(call, session=session))
    return_to = safe_return_url(call.site, under_way.return_to)
    cleared = transaction.clear(call.site, under_way)
    completed = transaction.completed(call.site, under_way, call.now, call.state.surroundings.entropy)
    known = replace(call, session=session)
    return redirect(known, return_to, "handoff_completed", (*set_cookies, *cleared, completed))


def _given(call: Call, parameters: Parameters) -> Steps[_Given]:
    """Return what was put aside under the code. Raises PeerError when there is none, or it is too old."""
    code = (parameters.single("code") or "").encode()
    if len(code) != _CODE_CHARACTERS:
        raise InvalidToken("handoff_unknown")
    # Where nothing was put aside the work of this one is an error, which is not kept.
    sealed: bytes = yield Once(key=_key(code), steps=_nothing, keep_seconds=0.0)
    given = _unseal(call, code, sealed)
    if not given.at <= call.now < given.at + CODE_SECONDS:
        raise InvalidToken("handoff_old")
    return given


def _nothing() -> Steps[bytes]:
    yield from ()
    raise InvalidToken("handoff_unknown")


def _under_way(call: Call, found: Found) -> Transaction:
    """Return what this browser began at this host. Raises InvalidToken when it did not."""
    under_way = found.transaction
    if found.provider != _HANDED_OVER or found.issuer != origin_at(call.site, host_of(call)):
        raise InvalidToken("handoff_elsewhere", "the code is for another host")
    if under_way is None:
        raise InvalidToken("state_" + found.reason)
    return under_way


def _living(call: Call, given: _Given) -> Session:
    """Return the session that was put aside. Raises InvalidToken when it has ended meanwhile (S36)."""
    session = given.session
    if call.state.revocations.refuses(session):
        raise InvalidToken("session_revoked")
    if session.site != call.site.name or lifetime.check(session, call.site.session, call.now) is not None:
        raise InvalidToken("session_expired")
    return session


def _not_taken(call: Call, error: PeerError, found: Found | None) -> Steps[Respond | Forward]:
    """Answer a return that gives nothing: the way on for who has a session by now, else a page."""
    return_to = "/" if found is None else safe_return_url(call.site, found.return_to)
    is_ours = found is not None and error.code in {"state_no_cookie", "handoff_used"}
    if is_ours and call.session is not None:
        # Another tab was first, or the person has reloaded the address.
        return redirect(call, return_to, "handoff_completed")
    retry_url = f"{call.site.prefix}/start?{urlencode({'rd': return_to})}"
    return (yield from _refused(call, error, retry_url=retry_url))


# --- for both ---


def _refused(call: Call, error: PeerError, *, retry_url: str) -> Steps[Respond]:
    yield Emit(event="handoff_refused", fields=_facts(call, error=error))
    sentence, status = ("login_expired", 400) if error.code in _LATE else ("login_failed", 403)
    return login_error(
        call, sentence, status, detail=error.code, retry_url=retry_url, reason="handoff_refused"
    )


def _facts(
    call: Call, *, session: Session | None = None, error: PeerError | None = None
) -> tuple[tuple[str, str | None], ...]:
    told = [("site", call.site.name), ("host", origin_at(call.site, host_of(call)).partition("://")[2])]
    if session is not None:
        told += [("user", session.identity.user), ("session_id", session.id)]
    if error is not None:
        told += [("code", error.code), ("detail", error.detail)]
    return (*told, ("request_id", call.head.request_id))


def _as_provider(site: Site, host: str) -> Provider:
    """Return us at public_url as what a login at `host` takes for its provider; its issuer names `host`.

    A request comes back as the return URL of the login in between, whose own state has it inside: two thirds
    of what that may take. A longer return URL waits in the cookie.
    """
    room = min((provider.max_state_chars for provider in site.providers.values()), default=0)
    return Provider(
        key=_HANDED_OVER,
        type="handoff",
        display_name="",
        issuer=origin_at(site, host),
        client_id="",
        redirect_path="",
        max_state_chars=room * 2 // 3,
    )


def _key(code: bytes) -> bytes:
    """Return the name under which a session is put aside: whoever sees it can't use it."""
    return b"handoff:" + hashlib.sha256(code).digest()


def _seal(call: Call, code: bytes, request: str, session: Session) -> bytes:
    """Seal what is put aside, to this code: it may go over the supervisor's socket, and holds tokens."""
    head = json.dumps([1, call.now, request], separators=(",", ":")).encode("ascii")
    return call.site.session.keys.seal(
        head + b"\n" + encode_session(session),
        purpose=_PURPOSE,
        name=_key(code),
        site=str(call.site.public_url),
        entropy=call.state.surroundings.entropy,
    )


def _unseal(call: Call, code: bytes, sealed: bytes) -> _Given:
    """Return what was put aside. Raises InvalidCookie when it is not ours, or of another version of ours."""
    data = call.site.session.keys.open(
        sealed, purpose=_PURPOSE, name=_key(code), site=str(call.site.public_url)
    )
    head, _, session = data.partition(b"\n")
    match json.loads(head):
        case [1, int(at) | float(at), str(request)]:
            claim_key = _key(code) + b":shown"
            return _Given(at=float(at), claim_key=claim_key, request=request, session=decode_session(session))
        case _:
            raise InvalidCookie("handoff_unknown", "of another version")
