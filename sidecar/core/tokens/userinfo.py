"""The UserInfo answer (OpenID Connect Core §5.3): JSON, or a signed JWT of it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import InvalidToken, ProviderUnavailable
from sidecar.core.tokens.idtoken import numeric_date
from sidecar.core.tokens.jws import open_token
from sidecar.core.tokens.strictjson import parse_json_object

if TYPE_CHECKING:
    from sidecar.core.effects import ProviderAnswer
    from sidecar.core.identity import Json, VerifiedClaims
    from sidecar.core.runtime import Provider
    from sidecar.core.tokens.keys import KeySet

__all__ = ["is_signed_userinfo", "verify_userinfo"]

_OK: Final = 200
_RATE_LIMITED: Final = 429


def is_signed_userinfo(answer: ProviderAnswer) -> bool:
    """Tell whether the answer is a JWT, so that keys are needed to read it (§5.3.2)."""
    return answer.content_type == "application/jwt"


def verify_userinfo(
    answer: ProviderAnswer, provider: Provider, keys: KeySet | None, *, subject: str, now: float
) -> VerifiedClaims:
    """Return the claims of a UserInfo answer about `subject`.

    Raises InvalidToken when it is about somebody else (§5.3.2: MUST NOT be used), no JSON object, refused or
    not validly signed; ProviderUnavailable when the provider asks for patience. `keys` may be None for an
    answer that is not signed.
    """
    if answer.status == _RATE_LIMITED:
        raise ProviderUnavailable("rate_limited", "UserInfo answered 429")
    if answer.status != _OK:
        raise InvalidToken("userinfo_refused", f"UserInfo answered {answer.status}")
    claims = _open_signed(answer, provider, keys, now) if is_signed_userinfo(answer) else _open_plain(answer)
    # A token substitution attack makes UserInfo speak of another person (§16.11).
    if claims.get("sub") != subject:
        raise InvalidToken("userinfo_sub_mismatch")
    return MappingProxyType(claims)


def _open_plain(answer: ProviderAnswer) -> dict[str, Json]:
    try:
        return parse_json_object(answer.body)
    except ValueError as error:
        raise InvalidToken("userinfo_unreadable", str(error)) from error


def _open_signed(
    answer: ProviderAnswer, provider: Provider, keys: KeySet | None, now: float
) -> dict[str, Json]:
    if keys is None:
        raise InvalidToken("unknown_key", "no keys to verify UserInfo with")
    token = answer.body.decode("ascii", "replace").strip()
    claims = open_token(token, provider.algorithms, keys).signed_claims
    # §5.3.2: a signed answer SHOULD name issuer and audience; where it does, they are ours.
    audience = claims.get("aud", provider.client_id)
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss", provider.issuer) != provider.issuer:
        raise InvalidToken("iss_mismatch", "in the signed UserInfo")
    if provider.client_id not in audiences:
        raise InvalidToken("aud_mismatch", "in the signed UserInfo")
    expires_at = numeric_date(claims, "exp")
    if expires_at is not None and now >= expires_at + provider.leeway_seconds:
        raise InvalidToken("token_expired", "the signed UserInfo")
    return claims
