"""Refreshing a session's tokens: once per session however many requests ask, and nobody loses one by it.

Theory of operation. A request finds that its session's access token ends soon, and asks for the refresh of
*this generation* of the session. `Once` makes one call to the provider of all such requests, on every worker,
and keeps its result: the next generation, sealed. Each request, the late ones too that still carry the old
cookie, is answered with the new cookie. Who started the work may hang up.

What can go wrong, and what then happens:

    the provider does not answer      the session goes on while it is valid by our own clocks; no request
                                      tries again for a while, for no session of that provider
    it refuses the refresh token      it has ended the login: a new one is needed. Only the request's own
                                      cookie is of no use any more: nothing is revoked or cleared, because a
                                      refused old cookie must not take a newer one with it
    it sends tokens of somebody else  refused together (S22), as above
    it can't use us (a wrong secret)  as if it did not answer: the operator's fault is no end of a login
    it refuses otherwise              likewise, but only this session waits before it tries again
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.core import refusals, sessioncookie
from sidecar.core.decision import Flow
from sidecar.core.effects import Emit, LoadMetadata, Once
from sidecar.core.entrance import handoff_hosts
from sidecar.core.errors import InvalidToken, ProviderRefused, ProviderUnavailable
from sidecar.core.flows.exchange import ask_token_endpoint, fit_session, gather_identity, verify_with_keys
from sidecar.core.lifetime import refresh_due
from sidecar.core.secret import Secret
from sidecar.core.sessioncodec import decode_session, encode_session
from sidecar.core.tokens import verify_refreshed_id_token

if TYPE_CHECKING:
    from sidecar.core.decision import Decision, Forward, Respond, Steps
    from sidecar.core.flows.call import Call
    from sidecar.core.identity import Identity, VerifiedClaims
    from sidecar.core.runtime import Provider
    from sidecar.core.session import Session
    from sidecar.core.tokens import KeySet, ProviderMetadata, TokenAnswer

__all__ = ["is_due", "refresh_then", "refreshed"]

type Renewed = tuple[Session, tuple[bytes, ...]]
type Then = Callable[[Session, tuple[bytes, ...]], Respond | Forward]
type AskForLogin = Callable[[Call, str], Decision]

_KEEP_SECONDS: Final = 600.0
_POSTPONE_SECONDS: Final = 30.0
_PURPOSE: Final = "refresh-result"
_REFUSED: Final = b"refused"
"""The kept result of a refused refresh, so that a browser full of old cookies asks the provider once."""

# RFC 6749 §5.2 and what providers answer when a login needs its user again. Other refusals blame the client.
_LOGIN_IS_OVER: Final = frozenset(
    {"access_denied", "consent_required", "interaction_required", "invalid_grant", "login_required"}
)
# Of those, the ones that every session would meet now. Another may be about this one alone, whose user must
# not keep everybody else from being refreshed, and so from losing rights.
_ABOUT_ALL_SESSIONS: Final = frozenset(
    {"invalid_client", "server_error", "temporarily_unavailable", "unauthorized_client"}
)
_UNCLEAR: Final = "refresh_unclear"


def refresh_then(call: Call, then: Then, ask_for_login: AskForLogin = refusals.unauthenticated) -> Flow:
    """Refresh `call.session`, then go on with `then(session, set_cookies)`.

    `set_cookies` are complete Set-Cookie values for the answer, none when the session is as it was.
    `ask_for_login` answers where a login is needed first.
    """
    return Flow("refresh", _steps(call, then, ask_for_login), head=call.head, site=call.site)


def refreshed(call: Call) -> Steps[Renewed | Respond | Forward]:
    """Refresh `call.session` if that is due now: the session and the Set-Cookie values that tell the browser.

    An answer instead when a login is needed first.
    """
    session = call.session
    if session is not None and not is_due(call, session):
        return session, ()
    return (yield from _renewed(call, refusals.unauthenticated))


def is_due(call: Call, session: Session) -> bool:
    """Tell whether the session should be refreshed now, and nothing has put that off."""
    due = refresh_due(session, call.site.session, call.now)
    return due and call.state.sessions.refresh_postponed_until(session.id) <= call.now


def _steps(call: Call, then: Then, ask_for_login: AskForLogin) -> Steps[Respond | Forward]:
    result = yield from _renewed(call, ask_for_login)
    return then(*result) if isinstance(result, tuple) else result


def _renewed(call: Call, ask_for_login: AskForLogin) -> Steps[Renewed | Respond | Forward]:
    session = call.session
    if session is None:
        return (yield from _without_session(call, "login_required", ask_for_login))
    sessions = call.state.sessions
    if sessions.refresh_postponed_until(_everybody(session)) > call.now:
        sessions.postpone_refresh(session.id, call.now + _POSTPONE_SECONDS)
        return session, ()
    keep_seconds = _keep_seconds(call, session)
    try:
        result: bytes = yield Once(
            key=_key(session), steps=lambda: _refresh(call, session), keep_seconds=keep_seconds
        )
    except ProviderUnavailable as error:
        until = call.state.surroundings.clock() + _POSTPONE_SECONDS
        if error.code != _UNCLEAR:
            sessions.postpone_refresh(_everybody(session), until)
        sessions.postpone_refresh(session.id, until)
        return session, ()
    # Signed out while the provider was asked: the result must not bring the session back (S36).
    if call.state.revocations.refuses(session):
        return (yield from _without_session(call, "session_revoked", ask_for_login))
    if result == _REFUSED:
        return (yield from _without_session(call, "session_expired", ask_for_login))
    renewed = sessioncookie.renewed(_unseal(call, result), call.now)
    return fit_session(call, renewed)


def _keep_seconds(call: Call, session: Session) -> float:
    """Return how long a result is of use: while some browser may still have the cookie before it.

    Where the site hands sessions over, a browser has the session in the cookies of several hosts, and learns
    of the refresh at each only when it goes there.
    """
    left = max(session.absolute_end - call.now, 0.0)
    return left if handoff_hosts(call.site) else min(_KEEP_SECONDS, left)


def _without_session(call: Call, reason: str, ask_for_login: AskForLogin) -> Steps[Respond | Forward]:
    decision = ask_for_login(replace(call, session=None), reason)
    if isinstance(decision, Flow):
        return (yield from decision.steps)
    return decision


def _refresh(call: Call, session: Session) -> Steps[bytes]:
    """Do the work once, for all requests of this generation. Raises ProviderUnavailable to them all."""
    try:
        renewed = yield from _renew(call, session)
    except ProviderUnavailable as error:
        yield _event("refresh_postponed", session, error.code, error.detail)
        raise
    except ProviderRefused as error:
        if error.code in _LOGIN_IS_OVER:
            yield _event("refresh_refused", session, error.code, error.detail)
            return _REFUSED
        yield _event("refresh_postponed", session, error.code, error.detail)
        is_about_all = error.code in _ABOUT_ALL_SESSIONS
        raise ProviderUnavailable("refresh_impossible" if is_about_all else _UNCLEAR, error.code) from error
    except InvalidToken as error:
        yield _event("refresh_refused", session, error.code, error.detail)
        return _REFUSED
    yield _event("session_refreshed", session, None, None)
    return _seal(call, renewed)


def _renew(call: Call, session: Session) -> Steps[Session]:
    provider = call.site.providers.get(session.provider)
    if provider is None or session.refresh_token is None or provider.issuer != session.identity.issuer:
        # Another configuration than at login: its provider can't vouch for this session any more.
        raise InvalidToken("provider_changed")
    metadata: ProviderMetadata = yield LoadMetadata(provider=provider)
    form = (
        ("grant_type", "refresh_token"),
        ("refresh_token", session.refresh_token.reveal().decode("ascii")),
    )
    tokens = yield from ask_token_endpoint(call, provider, metadata, form)
    identity = yield from _identity(call, provider, metadata, session, tokens)
    return _next_generation(call, session, tokens, identity)


def _identity(
    call: Call, provider: Provider, metadata: ProviderMetadata, session: Session, tokens: TokenAnswer
) -> Steps[Identity]:
    """Return who it is now: groups and the like may have changed. Without a new ID token, as it was."""
    id_token = tokens.unverified_id_token
    if id_token is None:
        return session.identity

    def verify(keys: KeySet) -> VerifiedClaims:
        return verify_refreshed_id_token(
            id_token,
            provider,
            metadata,
            keys,
            session=session,
            now=call.state.surroundings.clock(),
            access_token=tokens.access_token.reveal().decode("ascii"),
        )

    claims = yield from verify_with_keys(provider, id_token, verify)
    try:
        return (yield from gather_identity(call, provider, metadata, tokens.access_token, claims))
    except ProviderUnavailable:
        # The refresh token may have been used up by now, so the new ones must be kept; UserInfo can wait.
        return session.identity


def _next_generation(call: Call, session: Session, tokens: TokenAnswer, identity: Identity) -> Session:
    now = call.state.surroundings.clock()
    id_token = session.id_token
    if id_token is not None and tokens.unverified_id_token is not None:
        id_token = Secret(tokens.unverified_id_token.encode("ascii"))
    return replace(
        session,
        generation=session.generation + 1,
        identity=identity,
        seen_at=now,
        access_token=tokens.access_token if call.site.session.keep_access_token else None,
        access_issued_at=now,
        access_expires_at=None if tokens.expires_in is None else now + tokens.expires_in,
        # A provider that rotates sends a new one; one that does not, sends none (RFC 6749 §6).
        refresh_token=tokens.refresh_token or session.refresh_token,
        id_token=id_token,
    )


def _key(session: Session) -> bytes:
    return f"refresh:{session.site}:{session.id}:{session.generation}".encode()


def _everybody(session: Session) -> str:
    """Return the name under which all sessions of a provider wait; no session id holds a colon."""
    return f"provider:{session.site}:{session.provider}"


def _seal(call: Call, session: Session) -> bytes:
    """Seal the result: it may go over the supervisor's socket, and holds tokens (RFC 9700 §4.14)."""
    return call.site.session.keys.seal(
        encode_session(session),
        purpose=_PURPOSE,
        name=call.site.cookie.session_name,
        site=call.site.name,
        entropy=call.state.surroundings.entropy,
    )


def _unseal(call: Call, sealed: bytes) -> Session:
    name = call.site.cookie.session_name
    return decode_session(
        call.site.session.keys.open(sealed, purpose=_PURPOSE, name=name, site=call.site.name)
    )


def _event(name: str, session: Session, code: str | None, detail: str | None) -> Emit:
    fields = (
        ("site", session.site),
        ("provider", session.provider),
        ("user", session.identity.user),
        ("session_id", session.id),
        ("code", code),
        ("detail", detail),
    )
    return Emit(event=name, fields=fields)
