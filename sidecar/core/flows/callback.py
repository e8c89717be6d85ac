"""The callback: from the provider's authorization response to a session (OpenID Connect Core §3.1.2.5 ff.).

The order of the checks, each before anything that depends on it:

    1 each parameter at most once; by the method that was asked for            (S17)
    2 `state` is ours, and this browser holds the login it names               (S01, S18)
    3 the login belongs to the provider whose callback this is                 (S05, S06)
    4 `iss` is the provider's, if it is there, and it must be if promised      (RFC 9207)
    5 the login has not been used before                                       (ClaimOnce)
    6 an error ends it; a code is redeemed with the verifier                   (RFC 6749 §4.1.3, RFC 7636)
    7 the ID token and its nonce, before a token is used or kept               (S04)
    8 UserInfo, and who that is; then, and not before, a session with a new id (S35)
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.core import transaction
from sidecar.core.decision import Flow
from sidecar.core.effects import ClaimOnce, Emit, LoadMetadata, ReadBody
from sidecar.core.errors import (
    BadRequest,
    DoorwardError,
    InvalidToken,
    PeerError,
    ProviderRefused,
    ProviderUnavailable,
    SurroundingsError,
)
from sidecar.core.flows.answers import login_error, method_refused, redirect
from sidecar.core.flows.exchange import (
    ask_token_endpoint,
    fit_session,
    gather_identity,
    text_claim,
    verify_with_keys,
)
from sidecar.core.flows.login import begin_with, redirect_uri, start_url
from sidecar.core.flows.parameters import Parameters, parse_parameters
from sidecar.core.http import single_header
from sidecar.core.returnurl import safe_return_url
from sidecar.core.secret import Secret
from sidecar.core.session import Session
from sidecar.core.tokens import verify_id_token
from sidecar.core.tokens.answer import safe_error_code
from sidecar.core.tokens.idtoken import numeric_date

if TYPE_CHECKING:
    from sidecar.core.decision import Forward, Respond, Steps
    from sidecar.core.flows.call import Call
    from sidecar.core.identity import Identity, VerifiedClaims
    from sidecar.core.runtime import Provider
    from sidecar.core.tokens import KeySet, ProviderMetadata, TokenAnswer
    from sidecar.core.transaction import Found, Transaction

__all__ = ["finish_login"]

_MAX_FORM_BYTES: Final = 64 * 1024
_FORM: Final = b"application/x-www-form-urlencoded"
_SESSION_ID_BYTES: Final = 24
_MAX_CODE_CHARACTERS: Final = 8192

# RFC 6749 §4.1.2.1 and OIDC Core §3.1.2.6: what a provider's error means to the person at the browser.
_ERRORS: Final = {
    "access_denied": ("login_cancelled", 403),
    "account_selection_required": ("login_failed", 403),
    "consent_required": ("login_failed", 403),
    "interaction_required": ("login_failed", 403),
    "login_required": ("login_failed", 403),
    "server_error": ("provider_unavailable", 502),
    "temporarily_unavailable": ("provider_unavailable", 503),
}
# The codes of our own checks that deserve a sentence of their own.
_SENTENCES: Final = {
    "email_not_verified": ("email_unverified", 403),
    "login_used": ("login_expired", 400),
    "provider_changed": ("login_expired", 400),
}


def finish_login(call: Call) -> Flow:
    """Answer a request to a callback path."""
    return Flow("callback", _steps(call), head=call.head, site=call.site)


def _steps(call: Call) -> Steps[Respond | Forward]:
    here = [provider for provider in call.site.providers.values() if provider.redirect_path == call.path]
    takes_forms = any(provider.response_mode == "form_post" for provider in here)
    if call.head.method != b"GET" and not (takes_forms and call.head.method == b"POST"):
        return method_refused(call, b"GET, POST" if takes_forms else b"GET")
    try:
        parameters = yield from _parameters(call)
        parameters.require_unique()
    except BadRequest as error:
        yield from _tell(call, error, None)
        return login_error(call, "login_failed", 400, detail=error.code)
    found = transaction.find(call.site, call.cookies, parameters.single("state") or "", call.now)
    if found.reason != "found" or found.transaction is None:
        return (yield from _without_transaction(call, found, parameters))
    return (yield from _with_transaction(call, found.transaction, parameters))


def _parameters(call: Call) -> Steps[Parameters]:
    if call.head.method == b"GET":
        return parse_parameters(call.query)
    # OAuth 2.0 Form Post Response Mode §2. A query beside the form would be a second set of parameters.
    kind = single_header(call.head.headers, b"content-type") or b""
    if kind.partition(b";")[0].strip().lower() != _FORM or call.query:
        raise BadRequest("not_a_form")
    body: bytes = yield ReadBody(max_bytes=_MAX_FORM_BYTES)
    return parse_parameters(body)


def _without_transaction(call: Call, found: Found, parameters: Parameters) -> Steps[Respond | Forward]:
    """Answer a callback that no login of this browser belongs to: nothing is redeemed.

    A state that we made leads back to where its login wanted to go: at once for somebody who is signed in by
    now (another tab was first), else by a new login, of which there are three in a row at most.
    """
    return_to = safe_return_url(call.site, found.return_to)
    provider = call.site.providers.get(found.provider or "")
    is_ours = found.reason != "invalid" and provider is not None
    if is_ours and call.session is not None:
        return redirect(call, return_to, "login_completed")
    if is_ours and provider is not None and parameters.single("code") and not parameters.single("error"):
        again = begin_with(call, provider, return_to, attempts=found.attempts + 1)
        return (yield from again.steps)
    yield from _tell(call, BadRequest("state_" + found.reason), found.provider)
    return login_error(
        call, "login_expired", 400, detail="state_" + found.reason, retry_url=call.site.prefix + "/start"
    )


def _with_transaction(call: Call, under_way: Transaction, parameters: Parameters) -> Steps[Respond | Forward]:
    cleared = transaction.clear(call.site, under_way)
    try:
        provider = _provider_of(call, under_way)
        metadata: ProviderMetadata = yield LoadMetadata(provider=provider)
        _check_issuer(metadata, parameters.single("iss"))
        if not (yield ClaimOnce(key=under_way.claim_key, until=under_way.until)):
            raise InvalidToken("login_used")
        code = _code(parameters)
        session = yield from _redeem(call, provider, metadata, under_way, code)
        session, set_cookies = fit_session(call, session)
    except (PeerError, SurroundingsError) as error:
        yield from _tell(call, error, under_way.provider)
        return _refused(call, error, under_way, cleared)
    yield Emit(event="login_succeeded", fields=_success_fields(call, session))
    return_to = safe_return_url(call.site, under_way.return_to)
    entropy = call.state.surroundings.entropy
    completed = transaction.completed(call.site, under_way, session.created_at, entropy)
    known = replace(call, session=session)
    return redirect(known, return_to, "login_completed", (*set_cookies, *cleared, completed))


def _provider_of(call: Call, under_way: Transaction) -> Provider:
    provider = call.site.providers.get(under_way.provider)
    # The configuration may have changed since; and a login of one provider never ends at another's callback.
    if provider is None or provider.issuer != under_way.issuer or provider.redirect_path != call.path:
        raise InvalidToken("provider_changed")
    return provider


def _check_issuer(metadata: ProviderMetadata, issuer: str | None) -> None:
    # RFC 9207 §2.4: compared as a string, on errors too; missing is wrong where the provider promises it.
    if issuer is None and metadata.sends_iss:
        raise InvalidToken("response_iss_missing")
    if issuer is not None and issuer != metadata.issuer:
        raise InvalidToken("response_iss_mismatch")


def _code(parameters: Parameters) -> str:
    error = parameters.single("error")
    if error is not None:
        raise ProviderRefused(safe_error_code(error), "authorization response")
    code = parameters.single("code")
    if not code or len(code) > _MAX_CODE_CHARACTERS:
        raise InvalidToken("code_missing")
    return code


def _redeem(
    call: Call, provider: Provider, metadata: ProviderMetadata, under_way: Transaction, code: str
) -> Steps[Session]:
    form = (
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri(call.site, provider)),
        ("code_verifier", under_way.code_verifier.reveal().decode("ascii")),
    )
    tokens = yield from ask_token_endpoint(call, provider, metadata, form)
    id_token = tokens.unverified_id_token
    if id_token is None:
        raise InvalidToken("id_token_missing")

    def verify(keys: KeySet) -> VerifiedClaims:
        return verify_id_token(
            id_token,
            provider,
            metadata,
            keys,
            nonce=under_way.nonce,
            now=call.state.surroundings.clock(),
            access_token=tokens.access_token.reveal().decode("ascii"),
        )

    claims = yield from verify_with_keys(provider, id_token, verify)
    identity = yield from gather_identity(call, provider, metadata, tokens.access_token, claims)
    return _new_session(
        call, provider, metadata, tokens, claims=claims, identity=identity, nonce=under_way.nonce
    )


def _new_session(
    call: Call,
    provider: Provider,
    metadata: ProviderMetadata,
    tokens: TokenAnswer,
    *,
    claims: VerifiedClaims,
    identity: Identity,
    nonce: str,
) -> Session:
    policy, surroundings = call.site.session, call.state.surroundings
    now = surroundings.clock()
    expires_at = None if tokens.expires_in is None else now + tokens.expires_in
    keeps_id_token = policy.keep_id_token and metadata.end_session_endpoint is not None
    return Session(
        # Always a new one: an id that somebody planted before the login is worth nothing after it (S35).
        id=base64.urlsafe_b64encode(surroundings.entropy(_SESSION_ID_BYTES)).decode("ascii"),
        site=call.site.name,
        provider=provider.key,
        identity=identity,
        created_at=now,
        seen_at=now,
        absolute_end=now + policy.absolute_seconds,
        sid=text_claim(claims, "sid"),
        access_token=tokens.access_token if policy.keep_access_token else None,
        access_issued_at=now,
        access_expires_at=expires_at,
        # Without an end of the access token there is never a refresh.
        refresh_token=None if expires_at is None else tokens.refresh_token,
        id_token=Secret((tokens.unverified_id_token or "").encode("ascii")) if keeps_id_token else None,
        auth_time=numeric_date(claims, "auth_time"),
        acr=text_claim(claims, "acr"),
        nonce=nonce,
    )


def _refused(call: Call, error: DoorwardError, under_way: Transaction, cleared: tuple[bytes, ...]) -> Respond:
    """Return the page for a login that ended in `error`; its link begins anew, it never goes on by itself."""
    match error:
        case ProviderRefused(code=code):
            sentence, status = _ERRORS.get(code, ("login_failed", 400))
        case PeerError(code=code):
            sentence, status = _SENTENCES.get(code, ("login_failed", 403))
        case ProviderUnavailable(code="provider_timeout"):
            sentence, status = "provider_unavailable", 504
        case _:
            sentence, status = "provider_unavailable", 502
    code = error.code if isinstance(error, PeerError | SurroundingsError) else ""
    retry_url = start_url(call.site, under_way.return_to, under_way.provider)
    return login_error(call, sentence, status, detail=code, retry_url=retry_url, cookies=cleared)


def _tell(call: Call, error: PeerError | SurroundingsError, provider: str | None) -> Steps[None]:
    fields = (
        ("site", call.site.name),
        ("provider", provider),
        ("code", error.code),
        ("detail", error.detail),
        ("request_id", call.head.request_id),
    )
    yield Emit(event="login_refused", fields=fields)


def _success_fields(call: Call, session: Session) -> tuple[tuple[str, str | None], ...]:
    return (
        ("site", session.site),
        ("provider", session.provider),
        ("user", session.identity.user),
        ("session_id", session.id),
        ("request_id", call.head.request_id),
    )
