"""The claims of an ID token, checked in the order of OpenID Connect Core §3.1.3.7.

The codes with which a token is refused (`InvalidToken.code`), stable for logs and metrics:

    token_too_large, token_encrypted, token_malformed, header_unreadable, crit_refused, typ_refused,
    alg_refused, unknown_key, bad_signature, claims_unreadable       the envelope (`core.tokens.jws`)
    iss_mismatch, development_token, aud_mismatch, aud_untrusted, azp_mismatch   who made it, and for whom
    date_invalid, token_expired, token_from_future, token_not_yet_valid, iat_missing, exp_missing
    sub_invalid, nonce_mismatch, at_hash_mismatch                    what it is about and belongs to
    auth_time_missing, auth_too_old                                  when `max_age` was asked for
    sub_changed, auth_time_changed                                   a refreshed token (§12.2)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.core.development import is_marked
from sidecar.core.errors import InvalidToken
from sidecar.core.tokens.jws import OpenedToken, open_token

if TYPE_CHECKING:
    from sidecar.core.identity import Json, VerifiedClaims
    from sidecar.core.runtime import Provider
    from sidecar.core.session import Session
    from sidecar.core.tokens.keys import KeySet
    from sidecar.core.tokens.metadata import ProviderMetadata

__all__ = [
    "MAX_SUBJECT_CHARACTERS",
    "numeric_date",
    "require_subject",
    "verify_id_token",
    "verify_refreshed_id_token",
]

MAX_SUBJECT_CHARACTERS: Final = 255  # OIDC Core §2
# The end of the year 9999. A date beyond it is a mistake, most often one of milliseconds for seconds, and a
# token that carried it would never expire.
_LAST_DATE: Final = 253_402_300_799


def verify_id_token(
    unverified_token: str,
    provider: Provider,
    metadata: ProviderMetadata,
    keys: KeySet,
    *,
    nonce: str,
    now: float,
    access_token: str | None = None,
    max_age: float | None = None,
) -> VerifiedClaims:
    """Return the claims of the ID token that a code was redeemed for. Raises InvalidToken.

    `nonce` is the login's own and must be in the token exactly (S04). `at_hash`, which the code flow makes
    optional, is checked when it is there and `access_token` given. `max_age` (seconds) asks for a recent
    `auth_time`. What the claims mean for this site is `core.claims`' matter.
    """
    token = open_token(unverified_token, provider.algorithms, keys)
    claims = token.signed_claims
    _check_parties(claims, provider, metadata)
    _check_dates(claims, now, provider.leeway_seconds)
    require_subject(claims)
    _check_nonce(claims, nonce)
    _check_access_token_hash(token, access_token)
    _check_auth_time(claims, now, provider.leeway_seconds, max_age)
    return MappingProxyType(claims)


def verify_refreshed_id_token(
    unverified_token: str,
    provider: Provider,
    metadata: ProviderMetadata,
    keys: KeySet,
    *,
    session: Session,
    now: float,
    access_token: str | None = None,
) -> VerifiedClaims:
    """Return the claims of an ID token that came with a refresh (OIDC Core §12.2). Raises InvalidToken.

    Issuer and subject must be the session's, since a refresh continues a login and never makes another (S22);
    a nonce, which need not be there, and `auth_time` must be those of the login.
    """
    token = open_token(unverified_token, provider.algorithms, keys)
    claims = token.signed_claims
    _check_parties(claims, provider, metadata)
    if claims["iss"] != session.identity.issuer:
        raise InvalidToken("iss_mismatch", "not the issuer of the session")
    _check_dates(claims, now, provider.leeway_seconds)
    if require_subject(claims) != session.identity.subject:
        raise InvalidToken("sub_changed")
    if "nonce" in claims and session.nonce is not None:
        _check_nonce(claims, session.nonce)
    _check_access_token_hash(token, access_token)
    if "auth_time" in claims and session.auth_time is not None:
        _check_same_auth_time(claims, session.auth_time)
    return MappingProxyType(claims)


def require_subject(claims: Mapping[str, Json]) -> str:
    """Return `sub`: text of 1 to 255 printable characters (OIDC Core §2). Raises InvalidToken."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject or len(subject) > MAX_SUBJECT_CHARACTERS:
        raise InvalidToken("sub_invalid", "missing, empty, too long, or no text")
    if not subject.isprintable():
        raise InvalidToken("sub_invalid", "holds a character that is not printable")
    return subject


def numeric_date(claims: Mapping[str, Json], name: str) -> float | None:
    """Return a NumericDate (RFC 7519 §2) in seconds, None when absent. Raises InvalidToken.

    True is no date although Python would count with it; fractions are dates.
    """
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken("date_invalid", f"{name} is no number")
    if not 0 <= value <= _LAST_DATE or not math.isfinite(value):
        raise InvalidToken("date_invalid", f"{name} is out of range")
    return float(value)


def _check_parties(claims: Mapping[str, Json], provider: Provider, metadata: ProviderMetadata) -> None:
    # §3.1.3.7 rule 2: the issuer, compared as a string.
    if claims.get("iss") != metadata.issuer:
        raise InvalidToken("iss_mismatch", f"iss {str(claims.get('iss'))[:100]!r}")
    # S72: a provider of which anybody may be anyone.
    if is_marked(claims) and not provider.is_development:
        raise InvalidToken("development_token")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    # Rule 3: for us, and for nobody whom we don't trust. We trust nobody else with our users' tokens.
    if provider.client_id not in audiences:
        raise InvalidToken("aud_mismatch")
    if any(other != provider.client_id for other in audiences):
        raise InvalidToken("aud_untrusted")
    # Rules 4 and 5: the party to which it was issued.
    if claims.get("azp", provider.client_id) != provider.client_id:
        raise InvalidToken("azp_mismatch")


def _check_dates(claims: Mapping[str, Json], now: float, leeway: float) -> None:
    # Rules 9 and 10, RFC 7519 §4.1.4-4.1.6.
    expires_at, issued_at = numeric_date(claims, "exp"), numeric_date(claims, "iat")
    not_before = numeric_date(claims, "nbf")
    if expires_at is None:
        raise InvalidToken("exp_missing")
    if issued_at is None:
        raise InvalidToken("iat_missing")
    if now >= expires_at + leeway:
        raise InvalidToken("token_expired", f"{now - expires_at:.0f} s ago")
    if issued_at > now + leeway:
        raise InvalidToken("token_from_future", f"issued {issued_at - now:.0f} s from now")
    if not_before is not None and not_before > now + leeway:
        raise InvalidToken("token_not_yet_valid", f"valid in {not_before - now:.0f} s")


def _check_nonce(claims: Mapping[str, Json], nonce: str) -> None:
    # Rule 11.
    found = claims.get("nonce")
    if not isinstance(found, str) or not hmac.compare_digest(found.encode(), nonce.encode()):
        raise InvalidToken("nonce_mismatch")


def _check_access_token_hash(token: OpenedToken, access_token: str | None) -> None:
    # §3.1.3.8: the left half of the hash that the signature's algorithm uses.
    if access_token is None or "at_hash" not in token.signed_claims:
        return
    found = token.signed_claims["at_hash"]
    digest = _digest(token.alg, access_token.encode())
    expected = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not isinstance(found, str) or not hmac.compare_digest(found.encode(), expected):
        raise InvalidToken("at_hash_mismatch")


def _digest(alg: str, text: bytes) -> bytes:
    # Ed25519 hashes with SHA-512, and so do all who write at_hash for EdDSA, Ed448 or not.
    size = "512" if alg == "EdDSA" else alg[-3:]
    return hashlib.new(f"sha{size}", text).digest()


def _check_auth_time(claims: Mapping[str, Json], now: float, leeway: float, max_age: float | None) -> None:
    # Rule 13.
    auth_time = numeric_date(claims, "auth_time")
    if max_age is None:
        return
    if auth_time is None:
        raise InvalidToken("auth_time_missing")
    if now > auth_time + max_age + leeway:
        raise InvalidToken("auth_too_old", f"{now - auth_time:.0f} s ago")


def _check_same_auth_time(claims: Mapping[str, Json], auth_time: float) -> None:
    if numeric_date(claims, "auth_time") != auth_time:
        raise InvalidToken("auth_time_changed")
