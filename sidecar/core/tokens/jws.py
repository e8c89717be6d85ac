"""One compact JWS: its header, its signature, its claims as an object (RFC 7515 §7.1, RFC 8725)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import InvalidToken
from sidecar.core.tokens.keys import ALGORITHMS
from sidecar.core.tokens.strictjson import parse_json_object

if TYPE_CHECKING:
    from collections.abc import Collection

    from sidecar.core.identity import Json
    from sidecar.core.tokens.keys import KeySet, SigningKey

__all__ = ["MAX_TOKEN_CHARACTERS", "OpenedToken", "open_token", "parse_unverified_kid"]

MAX_TOKEN_CHARACTERS: Final = 256 * 1024
"""The longest token that is looked at (S25). The largest that real providers make has some 30 KB."""

# RFC 7515 §2: base64url without padding. Strict, so that one token has one spelling.
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_ENCRYPTED_PARTS: Final = 5  # RFC 7516 §7.1
# RFC 8725 §3.11: a token that says it is of another kind (at+jwt, logout+jwt, secevent+jwt) is none of ours.
_OTHER_KIND: Final = "+jwt"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedToken:
    """A token whose signature has been verified; its claims have not been judged yet."""

    alg: str
    signed_claims: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnverifiedHeader:
    alg: str
    kid: str | None


def parse_unverified_kid(unverified_token: str) -> str | None:
    """Return the key id that a token names, to fetch keys by. Raises InvalidToken."""
    return _header(unverified_token).kid


def open_token(unverified_token: str, algorithms: Collection[str], keys: KeySet) -> OpenedToken:
    """Verify the signature and return the claims. Raises InvalidToken: the signer, or whoever sent it.

    The algorithm must be one of `algorithms` and the key of its type; `jku`, `x5u`, `x5c` and `jwk` are
    ignored, since a token can't name its own judge (S20, RFC 8725 §3.1, §3.10).
    """
    header = _header(unverified_token)
    if header.alg not in algorithms or header.alg not in ALGORITHMS:
        raise InvalidToken("alg_refused", f"alg {header.alg[:20]!r}")
    candidates = keys.fitting(header.alg, header.kid)
    if not candidates:
        raise InvalidToken("unknown_key", f"no {header.alg} key of the provider fits the token's kid")
    payload = _verify_signature(unverified_token, header.alg, candidates)
    try:
        return OpenedToken(alg=header.alg, signed_claims=parse_json_object(payload))
    except ValueError as error:
        raise InvalidToken("claims_unreadable", str(error)) from error


def _verify_signature(unverified_token: str, alg: str, keys: tuple[SigningKey, ...]) -> bytes:
    from jwt.api_jws import PyJWS
    from jwt.exceptions import InvalidTokenError

    verifier = PyJWS(algorithms=[alg])
    for key in keys:
        try:
            payload: bytes = verifier.decode(unverified_token, key=key.public_key, algorithms=[alg])
        except InvalidTokenError:
            continue
        return payload
    raise InvalidToken("bad_signature", f"{alg} with {len(keys)} keys tried")


def _header(unverified_token: str) -> _UnverifiedHeader:
    if len(unverified_token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken("token_too_large", f"{len(unverified_token)} characters")
    match = _COMPACT.fullmatch(unverified_token)
    if match is None:
        is_encrypted = unverified_token.count(".") == _ENCRYPTED_PARTS - 1
        raise InvalidToken("token_encrypted" if is_encrypted else "token_malformed")
    try:
        header = parse_json_object(_decode(match[1]))
    except ValueError as error:
        raise InvalidToken("header_unreadable", str(error)) from error
    # RFC 7515 §4.1.11: we understand no extension, so nothing may be critical.
    if "crit" in header:
        raise InvalidToken("crit_refused")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().endswith(_OTHER_KIND):
        raise InvalidToken("typ_refused", f"typ {str(kind)[:40]!r}")
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str) or not (kid is None or isinstance(kid, str)):
        raise InvalidToken("header_unreadable", "alg or kid is no text")
    return _UnverifiedHeader(alg=alg, kid=kid)


def _decode(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
