"""The signing keys of a provider (RFC 7517): which of a JWK Set may verify, and which fit one token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import ProviderUnavailable
from sidecar.core.tokens.strictjson import parse_json_object

if TYPE_CHECKING:
    from jwt.algorithms import AllowedPublicKeys

    from sidecar.core.identity import Json

__all__ = ["ALGORITHMS", "KeySet", "SigningKey", "parse_jwks"]

ALGORITHMS: Final[dict[str, tuple[str, frozenset[str] | None]]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", frozenset({"P-256"})),
    "ES384": ("EC", frozenset({"P-384"})),
    "ES512": ("EC", frozenset({"P-521"})),
    "EdDSA": ("OKP", frozenset({"Ed25519", "Ed448"})),
}
"""Each algorithm that a token may have, with the key type and curves that fit it (RFC 7518 §3.1, RFC 8037).

`none` and the HS family are not in here and no setting brings them in: with a public key as the secret
anybody can make an HS256 "signature" (S20, RFC 8725 §2.1).
"""

_MAX_KEYS: Final = 100
_MIN_RSA_BITS: Final = 2048  # RFC 7518 §3.3
_MAX_RSA_BITS: Final = 16384  # OpenSSL's own limit; a modulus of a megabyte would cost minutes of CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One public key. `alg` None = the key does not say for which algorithm it is."""

    kid: str | None
    kty: str
    crv: str | None
    alg: str | None
    public_key: AllowedPublicKeys


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a provider, in its order."""

    keys: tuple[SigningKey, ...]

    def fitting(self, alg: str, kid: str | None) -> tuple[SigningKey, ...]:
        """Return the keys that may have signed a token with this header.

        With a kid: those that have it, or have none. Without: each of the right type (OIDC Core §10.1 wants a
        kid when there are several; trying the few that fit is as safe, since the signature must verify).
        """
        kty, curves = ALGORITHMS[alg]
        return tuple(
            key
            for key in self.keys
            if key.kty == kty
            and (curves is None or key.crv in curves)
            and key.alg in {None, alg}
            and (kid is None or key.kid in {None, kid})
        )


def parse_jwks(document: bytes) -> KeySet:
    """Read a JWK Set. Raises ProviderUnavailable when it is unreadable, too large, or has no usable key.

    A key that we can't use (encryption, symmetric, too short, unknown type, malformed) is passed over: one
    strange key must not break the others (RFC 7517 §5).
    """
    try:
        unverified = parse_json_object(document)
    except ValueError as error:
        raise ProviderUnavailable("keys_unreadable", str(error)) from error
    members = unverified.get("keys")
    if not isinstance(members, list):
        raise ProviderUnavailable("keys_unreadable", "no list of keys")
    if len(members) > _MAX_KEYS:
        raise ProviderUnavailable("keys_too_many", f"{len(members)} keys, at most {_MAX_KEYS}")
    keys = tuple(key for member in members if (key := _signing_key(member)) is not None)
    if not keys:
        raise ProviderUnavailable("keys_unusable", "no key that could verify a signature")
    return KeySet(keys)


def _signing_key(jwk: Json) -> SigningKey | None:
    if not isinstance(jwk, dict) or not _may_verify(jwk):
        return None
    kty, crv, alg, kid = (_text(jwk, name) for name in ("kty", "crv", "alg", "kid"))
    public_key = _public_key(kty, jwk)
    if kty is None or public_key is None:
        return None
    return SigningKey(kid=kid, kty=kty, crv=crv, alg=alg, public_key=public_key)


def _may_verify(jwk: dict[str, Json]) -> bool:
    """Tell whether `use` and `key_ops` let the key verify signatures (RFC 7517 §4.2, §4.3).

    A key that shows its private part ("d") is known to everybody: nothing it signs means anything.
    """
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in jwk
    )


def _public_key(kty: str | None, jwk: dict[str, Json]) -> AllowedPublicKeys | None:
    from jwt.exceptions import InvalidKeyError

    read = {"RSA": _rsa_key, "EC": _ec_key, "OKP": _okp_key}.get(kty or "")
    try:
        return read(jwk) if read is not None else None
    except (InvalidKeyError, ValueError, TypeError, AttributeError):
        # What PyJWT and cryptography raise for members that are missing, no text, or no point on the curve.
        return None


def _rsa_key(jwk: dict[str, Json]) -> AllowedPublicKeys | None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt.algorithms import RSAAlgorithm

    key = RSAAlgorithm.from_jwk(jwk)
    if not isinstance(key, RSAPublicKey) or not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        return None
    return key


def _ec_key(jwk: dict[str, Json]) -> AllowedPublicKeys | None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from jwt.algorithms import ECAlgorithm

    key = ECAlgorithm.from_jwk(jwk)
    return key if isinstance(key, EllipticCurvePublicKey) else None


def _okp_key(jwk: dict[str, Json]) -> AllowedPublicKeys | None:
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from jwt.algorithms import OKPAlgorithm

    key = OKPAlgorithm.from_jwk(jwk)
    return key if isinstance(key, Ed25519PublicKey | Ed448PublicKey) else None


def _text(jwk: dict[str, Json], name: str) -> str | None:
    value = jwk.get(name)
    return value if isinstance(value, str) else None
