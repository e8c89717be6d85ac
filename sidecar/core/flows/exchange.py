"""What callback and refresh share: the token endpoint, tokens and their keys, claims that are missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.core import sessioncookie
from sidecar.core.claims import build_identity, merge_userinfo, needs_userinfo
from sidecar.core.clientauth import authenticate_client
from sidecar.core.effects import CallProvider, Emit, LoadKeys
from sidecar.core.errors import InvalidToken
from sidecar.core.tokens import KeySet, parse_token_answer, parse_unverified_kid, verify_userinfo
from sidecar.core.tokens.userinfo import is_signed_userinfo

if TYPE_CHECKING:
    from sidecar.core.decision import Steps
    from sidecar.core.effects import ProviderAnswer
    from sidecar.core.flows.call import Call
    from sidecar.core.identity import Identity, VerifiedClaims
    from sidecar.core.runtime import Provider
    from sidecar.core.secret import Secret
    from sidecar.core.session import Session
    from sidecar.core.tokens import ProviderMetadata, TokenAnswer

__all__ = ["ask_token_endpoint", "fit_session", "gather_identity", "text_claim", "verify_with_keys"]

# A provider that changes its key shows one of these: the new one's id is unknown, or (without ids, or with
# one used again) the old one does not fit.
_MAYBE_ROTATED: Final = frozenset({"unknown_key", "bad_signature"})


def ask_token_endpoint(
    call: Call, provider: Provider, metadata: ProviderMetadata, form: tuple[tuple[str, str], ...]
) -> Steps[TokenAnswer]:
    """Redeem a grant. Raises what `parse_token_answer` raises, and ProviderUnavailable."""
    surroundings = call.state.surroundings
    authentication = authenticate_client(provider, now=surroundings.clock(), entropy=surroundings.entropy)
    answer: ProviderAnswer = yield CallProvider(
        provider=provider,
        operation="token",
        method="POST",
        url=metadata.token_endpoint,
        headers=authentication.headers,
        form=(*form, *authentication.form),
    )
    return parse_token_answer(answer)


def verify_with_keys(
    provider: Provider, unverified_token: str, verify: Callable[[KeySet], VerifiedClaims]
) -> Steps[VerifiedClaims]:
    """Verify with the keys at hand, and once more with fetched ones if the provider may have changed its key.

    How often that fetches is the runner's matter (S21).
    """
    keys: KeySet = yield LoadKeys(provider=provider)
    try:
        return verify(keys)
    except InvalidToken as error:
        if error.code not in _MAYBE_ROTATED:
            raise
    fresh: KeySet = yield LoadKeys(
        provider=provider, unknown_kid=parse_unverified_kid(unverified_token) or ""
    )
    return verify(fresh)


def gather_identity(
    call: Call, provider: Provider, metadata: ProviderMetadata, access_token: Secret, claims: VerifiedClaims
) -> Steps[Identity]:
    """Return who the ID token's claims, and those of UserInfo where needed, speak of. Raises InvalidToken."""
    kept = call.site.session.kept_claims
    if needs_userinfo(claims, provider, kept):
        userinfo = yield from _userinfo(call, provider, metadata, access_token, str(claims["sub"]))
        claims = merge_userinfo(claims, userinfo, provider.claims)
    return build_identity(claims, provider, kept)


def fit_session(call: Call, session: Session) -> tuple[Session, tuple[bytes, ...]]:
    """Return the session and its Set-Cookie values; without its ID token when it is too large with it.

    The ID token only serves the provider's sign-out, which works without it, if with a question more.
    Raises InvalidToken("session_too_large").
    """
    entropy = call.state.surroundings.entropy
    try:
        return session, sessioncookie.set_session(call.site, session, call.cookies, entropy)
    except InvalidToken:
        if session.id_token is None:
            raise
    smaller = replace(session, id_token=None)
    return smaller, sessioncookie.set_session(call.site, smaller, call.cookies, entropy)


def text_claim(claims: VerifiedClaims, name: str) -> str | None:
    """Return a claim if it is text."""
    value = claims.get(name)
    return value if isinstance(value, str) else None


def _userinfo(
    call: Call, provider: Provider, metadata: ProviderMetadata, access_token: Secret, subject: str
) -> Steps[VerifiedClaims]:
    is_needed = provider.userinfo == "always"
    if metadata.userinfo_endpoint is None:
        if is_needed:
            raise InvalidToken("userinfo_missing", "the provider has no UserInfo endpoint")
        return {}
    answer: ProviderAnswer = yield CallProvider(
        provider=provider,
        operation="userinfo",
        method="GET",
        url=metadata.userinfo_endpoint,
        headers=(("Authorization", f"Bearer {access_token.reveal().decode('ascii')}"),),
    )
    try:
        return (yield from _verify_userinfo(call, provider, answer, subject))
    except InvalidToken as error:
        # Some providers have the endpoint and refuse the token that they gave. What UserInfo would have told
        # is then missing, which admits nobody. An answer about somebody else always ends the login.
        if is_needed or error.code != "userinfo_refused":
            raise
        fields = (("provider", provider.key), ("code", error.code), ("detail", error.detail))
        yield Emit(event="provider_call_failed", fields=fields)
        return {}


def _verify_userinfo(
    call: Call, provider: Provider, answer: ProviderAnswer, subject: str
) -> Steps[VerifiedClaims]:
    def verify(keys: KeySet | None) -> VerifiedClaims:
        now = call.state.surroundings.clock()
        return verify_userinfo(answer, provider, keys, subject=subject, now=now)

    if not is_signed_userinfo(answer):
        return verify(None)
    token = answer.body.decode("ascii", "replace").strip()
    return (yield from verify_with_keys(provider, token, verify))
