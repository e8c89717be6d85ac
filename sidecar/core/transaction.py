"""One login under way, between our redirect to the provider and its callback.

Ten tabs may begin a login at once, each with a URL of 2 KB to return to; so what is kept in the browser must
be small, and what is large travels. A login has two halves, and neither is worth anything without the other:

    cookie  `<transaction_name>.<id>`: 32 random bytes, sealed; about 130 bytes of Cookie field each
    state   the parameter that goes to the provider and comes back: provider, issuer, return URL (deflated
            where that helps), time, attempts and a proof of the cookie's secret, sealed

Id, proof, nonce and code verifier are all derived from the cookie's secret by HKDF, so every login has its
own, they never travel with the state, and none of them can be made without the cookie (S01, S02, S04). At the
callback the state's id names the cookie; its secret must yield the state's proof. Who has only somebody's
state (a log, a Referer) has nothing. Who gives a victim their own state and code fails at the missing cookie.

The return URL is inside the AEAD state (S66), so the state is as long as the URL asks for. A browser, our own
listener and most providers take URLs of 4 KB and more; some are stricter (X takes 500 characters of state).
A return URL that does not fit `Provider.max_state_chars` goes into the cookie, if there is room, and the
state then holds what is left of it without query and fragment, or "/".

All cookies of logins together stay under 4 KB (S37): when more are begun, the oldest are deleted, a bounded
number with each answer because an answer's head must stay small too. The tab that a dropped cookie belonged
to is not lost: its state still opens, tells where it wanted to go, and its login begins anew. `attempts`
counts how often that happened in a row, so that a browser that keeps no cookies ends at a page and not in a
circle. Likewise a browser that keeps this cookie but not the session's: a login leaves a mark for half a
minute (`completed`), and one that has to begin that soon after counts as another attempt.

Used once: the callback deletes the cookie, and claims `claim_key`, so a copied cookie does not help either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, Literal

from sidecar.core.cookies import build_clearing_cookie, build_set_cookie
from sidecar.core.errors import InvalidCookie
from sidecar.core.loginstate import SECRET_BYTES, LoginSecrets, LoginState, pack_url, unpack_url
from sidecar.core.returnurl import safe_return_url
from sidecar.core.seal import sealed_length

if TYPE_CHECKING:
    from sidecar.core.cookies import CookiePair, SameSite
    from sidecar.core.runtime import Provider, Site
    from sidecar.core.secret import Secret

__all__ = [
    "LIFETIME_SECONDS",
    "MAX_ATTEMPTS",
    "Found",
    "Transaction",
    "attempts_before",
    "begin",
    "clear",
    "completed",
    "find",
    "unmark",
]

MAX_ATTEMPTS: Final = 3

LIFETIME_SECONDS: Final = 3600.0
"""People leave a provider's page open over lunch; of an older login only the return URL is of use."""

_MAX_COOKIES: Final = 20
_MAX_FIELD_BYTES: Final = 4096
_MAX_VALUE_BYTES: Final = 3600
_NAME_ROOM: Final = 100
_MAX_DELETED: Final = 10
_MAX_LOOKED_AT: Final = 64
_MARK: Final = b".done"
_MARK_SECONDS: Final = 30

_PURPOSE: Final = "transaction"
_MARK_PURPOSE: Final = "transaction-completed"
_TIME_BYTES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One login under way. `state` is the parameter that goes to the provider and comes back.

    `provider` is the provider's key. `attempts` counts the logins in a row that came to nothing: at
    MAX_ATTEMPTS a flow shows the `login_loop` page instead of beginning another one. `claim_key` names it
    for ClaimOnce until `until`.
    """

    id: str
    state: str
    nonce: str
    code_verifier: Secret = field(repr=False)
    provider: str
    issuer: str
    return_to: str
    created_at: float
    until: float
    attempts: int = 0
    claim_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a callback's state says.

    "found": `transaction` may go on. "no_cookie": the state is ours, but this browser does not hold its
    cookie (dropped for newer tabs, blocked, another browser) or used it already; "expired": likewise, too
    old. In both cases nothing may be redeemed; a new login may begin with `return_to`, `provider` (a key)
    and `attempts` + 1. "invalid": not a state of ours. `issuer` is the provider's, as it was then.
    """

    reason: Literal["found", "no_cookie", "expired", "invalid"]
    transaction: Transaction | None = None
    return_to: str = "/"
    provider: str | None = None
    issuer: str = ""
    attempts: int = 0


def begin(
    site: Site,
    provider: Provider,
    return_to: str,
    now: float,
    entropy: Callable[[int], bytes],
    *,
    cookies: Sequence[CookiePair],
    attempts: int = 0,
) -> tuple[Transaction, tuple[bytes, ...]]:
    """Begin a login: the transaction, and the Set-Cookie values that go with the redirect.

    `return_to` is checked here too (S66). `cookies` are the request's: what is too much of them is deleted.
    """
    return_to = safe_return_url(site, return_to)
    secret = entropy(SECRET_BYTES)
    secrets = LoginSecrets.derive(secret)
    state = LoginState(
        id=secrets.id,
        proof=secrets.proof,
        created_at=int(now),
        attempts=attempts,
        provider=provider.key,
        issuer=provider.issuer,
        return_to=return_to,
    )
    half = secret + state.created_at.to_bytes(_TIME_BYTES)
    pending = _pending(site, cookies)
    if state.sealed_chars > provider.max_state_chars:
        state = state.shortened(provider.max_state_chars)
        longer = half + pack_url(return_to)
        has_room = sealed_length(len(longer)) <= min(_room(pending), _MAX_VALUE_BYTES)
        half, return_to = (longer, return_to) if has_room else (half, state.return_to)
    param = state.seal(site.session.keys, _binding(site), entropy)
    return _transaction(state, secrets, param, return_to), _set_cookies(site, state, half, pending, entropy)


def find(site: Site, cookies: Sequence[CookiePair], state_param: str, now: float) -> Found:
    """Return the login that `state_param` belongs to, if this browser began it."""
    try:
        state = LoginState.open(site.session.keys, _binding(site), state_param)
    except InvalidCookie:
        return Found(reason="invalid")
    reason: Literal["no_cookie", "expired"] = "no_cookie"
    transaction = None
    if now >= state.created_at + LIFETIME_SECONDS:
        reason = "expired"
    else:
        transaction = _matching(site, cookies, state, state_param)
    return Found(
        reason=reason if transaction is None else "found",
        transaction=transaction,
        # S66: checked again, because the configuration may have changed since.
        return_to=safe_return_url(site, state.return_to if transaction is None else transaction.return_to),
        provider=state.provider,
        issuer=state.issuer,
        attempts=state.attempts,
    )


def clear(site: Site, transaction: Transaction) -> tuple[bytes, ...]:
    """Return the Set-Cookie values that delete the transaction's cookie."""
    same_site = _same_site(site, transaction.provider)
    return (build_clearing_cookie(site.cookie, _cookie_name(site, transaction.id), same_site=same_site),)


def completed(site: Site, transaction: Transaction, now: float, entropy: Callable[[int], bytes]) -> bytes:
    """Return the Set-Cookie value that marks a login as completed just now, for `attempts_before`."""
    name = site.cookie.transaction_name + _MARK
    mark = bytes((min(transaction.attempts, MAX_ATTEMPTS),)) + int(now).to_bytes(_TIME_BYTES)
    sealed = site.session.keys.seal(
        mark, purpose=_MARK_PURPOSE, name=name, site=_binding(site), entropy=entropy
    )
    return build_set_cookie(
        site.cookie,
        name,
        sealed,
        max_age_seconds=_MARK_SECONDS,
        same_site=_same_site(site, transaction.provider),
    )


def unmark(site: Site, cookies: Sequence[CookiePair]) -> tuple[bytes, ...]:
    """Return the Set-Cookie values that delete the mark of `completed`.

    Whoever signs out means to: signing in again at once, as somebody else say, is no circle.
    """
    name = site.cookie.transaction_name + _MARK
    is_there = any(pair[0] == name for pair in cookies)
    return (build_clearing_cookie(site.cookie, name),) if is_there else ()


def attempts_before(site: Site, cookies: Sequence[CookiePair], now: float) -> int:
    """Return which attempt in a row a login would be that somebody without a session needs now.

    0 unless a login was completed within the last half minute: then its session did not last.
    """
    name = site.cookie.transaction_name + _MARK
    attempts = 0
    for pair in cookies:
        if pair[0] == name:
            with suppress(InvalidCookie):
                mark = site.session.keys.open(pair[1], purpose=_MARK_PURPOSE, name=name, site=_binding(site))
                if now < int.from_bytes(mark[1:]) + _MARK_SECONDS:
                    attempts = max(attempts, mark[0] + 1)
    return attempts


def _matching(
    site: Site, cookies: Sequence[CookiePair], state: LoginState, state_param: str
) -> Transaction | None:
    """Return the transaction whose cookie yields the state's proof: each cookie of its name is tried."""
    name = _cookie_name(site, state.id)
    for pair in cookies:
        if pair[0] != name:
            continue
        with suppress(InvalidCookie):
            half = _half(site, pair)
            secrets = LoginSecrets.derive(half[:SECRET_BYTES])
            if compare_digest(secrets.proof, state.proof):
                url = half[SECRET_BYTES + _TIME_BYTES :]
                return _transaction(state, secrets, state_param, unpack_url(url) if url else state.return_to)
    return None


def _transaction(state: LoginState, secrets: LoginSecrets, param: str, return_to: str) -> Transaction:
    return Transaction(
        id=state.id,
        state=param,
        nonce=secrets.nonce,
        code_verifier=secrets.code_verifier,
        provider=state.provider,
        issuer=state.issuer,
        return_to=return_to,
        created_at=float(state.created_at),
        until=state.created_at + LIFETIME_SECONDS,
        attempts=state.attempts,
        claim_key=secrets.claim,
    )


def _set_cookies(
    site: Site, state: LoginState, half: bytes, pending: Sequence[CookiePair], entropy: Callable[[int], bytes]
) -> tuple[bytes, ...]:
    """Return the Set-Cookie values that add the login's half and make room for it."""
    name = _cookie_name(site, state.id)
    sealed = site.session.keys.seal(half, purpose=_PURPOSE, name=name, site=_binding(site), entropy=entropy)
    same_site = _same_site(site, state.provider)
    max_age = int(LIFETIME_SECONDS)
    added = build_set_cookie(site.cookie, name, sealed, max_age_seconds=max_age, same_site=same_site)
    dropped = _too_many(site, pending, _field_bytes((name, sealed)))
    return (added, *(build_clearing_cookie(site.cookie, each, same_site=same_site) for each in dropped))


def _room(pending: Sequence[CookiePair]) -> int:
    """Return how long one more cookie's value may be beside those of other logins."""
    return _MAX_FIELD_BYTES - _NAME_ROOM - sum(map(_field_bytes, pending))


def _half(site: Site, pair: CookiePair) -> bytes:
    name, value = pair
    return site.session.keys.open(value, purpose=_PURPOSE, name=name, site=_binding(site))


def _pending(site: Site, cookies: Sequence[CookiePair]) -> list[CookiePair]:
    """Return the cookies of logins under way."""
    prefix = site.cookie.transaction_name + b"."
    mark = site.cookie.transaction_name + _MARK
    return [pair for pair in cookies if pair[0].startswith(prefix) and pair[0] != mark]


def _too_many(site: Site, pending: Sequence[CookiePair], added_bytes: int) -> list[bytes]:
    """Return the names of the cookies that make room for one more, oldest first, at most _MAX_DELETED."""
    total = added_bytes + sum(map(_field_bytes, pending))
    if len(pending) < _MAX_COOKIES and total <= _MAX_FIELD_BYTES:
        return []
    dropped: list[bytes] = []
    by_age = sorted(pending[:_MAX_LOOKED_AT], key=partial(_begun_at, site))
    for count, pair in enumerate(by_age):
        if len(pending) - count < _MAX_COOKIES and total <= _MAX_FIELD_BYTES:
            break
        total -= _field_bytes(pair)
        dropped.append(pair[0])
    return dropped[:_MAX_DELETED]


def _begun_at(site: Site, pair: CookiePair) -> float:
    """Return when the login of a cookie was begun; what does not open is the oldest of all."""
    try:
        begun_at = int.from_bytes(_half(site, pair)[SECRET_BYTES : SECRET_BYTES + _TIME_BYTES])
    except InvalidCookie:
        return 0.0
    return float(begun_at)


def _field_bytes(pair: CookiePair) -> int:
    return len(pair[0]) + len(pair[1]) + len(b"=; ")


def _cookie_name(site: Site, transaction_id: str) -> bytes:
    return site.cookie.transaction_name + b"." + transaction_id.encode("ascii")


def _same_site(site: Site, provider_key: str) -> SameSite:
    """Return SameSite of the cookie: the callback by form_post is a cross-site POST and needs None (S28).

    So does a site whose session cookie is None, for it runs in somebody else's frame. Strict would keep the
    cookie from every callback.
    """
    provider = site.providers.get(provider_key)
    takes_form = provider is not None and provider.response_mode == "form_post"
    return "None" if takes_form or site.cookie.same_site == "None" else "Lax"


def _binding(site: Site) -> str:
    return str(site.public_url)
