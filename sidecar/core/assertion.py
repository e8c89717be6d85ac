"""The signed assertion: who the user is, in a form that an application can check by itself.

A JWT (RFC 7519) signed with ES256 (RFC 7518 §3.4) in a header of its own. An application that verifies it
need not trust the network between us and it: a request that came around us has no valid one. Keys are
published at the `jwks` endpoint under their RFC 7638 thumbprints; the first key signs, all are published, so
that a key can be rotated in.

Signing costs more than all the rest of a request, so an assertion is minted once per session and half minute
(`RENEW_SECONDS`) and used for all requests between. It is made with `cryptography` alone: PyJWT would take
14 MiB more in every worker.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Final

from sidecar.core.decision import Edits
from sidecar.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from sidecar.core.http import HeaderPair
    from sidecar.core.identity import Json
    from sidecar.core.runtime import AssertionPolicy
    from sidecar.core.secret import Secret
    from sidecar.core.session import Session

__all__ = ["RENEW_SECONDS", "Signer", "jwks", "session_hash"]

RENEW_SECONDS: Final = 30.0
_MAX_MINTED: Final = 2048  # some 1.3 KB each; more sessions than that in half a minute are minted for anew
_COORDINATE_BYTES: Final = 32  # P-256 (RFC 7518 §6.2.1.2, §3.4)


def _encode(data: bytes) -> bytes:
    """Return base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(data).rstrip(b"=")


def _json(value: Mapping[str, Json]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii")


def _load_key(pem: Secret, position: int) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    mend = "make one with 'doorward keys assertion' or 'openssl ecparam -name prime256v1 -genkey -noout'"
    try:
        key = load_pem_private_key(pem.reveal(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"assertion key {position} is not a plain PEM private key: {mend}"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError(f"assertion key {position} is not an EC key on P-256: {mend}")
    return key


def _public_members(key: EllipticCurvePrivateKey) -> dict[str, Json]:
    """Return the required members of the public key as a JWK (RFC 7518 §6.2.1)."""
    numbers = key.public_key().public_numbers()
    return {
        "crv": "P-256",
        "kty": "EC",
        "x": _encode(numbers.x.to_bytes(_COORDINATE_BYTES, "big")).decode("ascii"),
        "y": _encode(numbers.y.to_bytes(_COORDINATE_BYTES, "big")).decode("ascii"),
    }


def _thumbprint(key: EllipticCurvePrivateKey) -> str:
    """Return the key's id: SHA-256 over its required members, sorted, without white space (RFC 7638 §3)."""
    return _encode(hashlib.sha256(_json(_public_members(key))).digest()).decode("ascii")


def jwks(policy: AssertionPolicy) -> bytes:
    """Return the JWK Set (RFC 7517 §5) of the public keys.

    Raises ConfigurationError, the operator's fault, for a key that is none.
    """
    keys: list[Json] = []
    for position, pem in enumerate(policy.keys):
        key = _load_key(pem, position)
        keys.append(_public_members(key) | {"alg": "ES256", "kid": _thumbprint(key), "use": "sig"})
    return _json({"keys": keys})


def session_hash(session_id: str) -> str:
    """Return a name of the session that tells applications two sessions apart and opens none."""
    digest = hashlib.sha256(b"doorward assertion sid\0" + session_id.encode()).digest()
    return _encode(digest[:16]).decode("ascii")


def _claims(policy: AssertionPolicy, session: Session, now: float) -> dict[str, Json]:
    """Return the claims. `sub` is the provider's, unique together with `idp`, the provider's issuer."""
    identity = session.identity
    optional: dict[str, Json] = {
        "email": identity.email,
        "name": identity.name,
        "preferred_username": identity.preferred_username,
        "groups": list(identity.groups) or None,
        "roles": list(identity.roles) or None,
        "auth_time": None if session.auth_time is None else int(session.auth_time),
        "acr": session.acr,
    }
    # It never outlives the session it speaks of.
    expires = min(now + policy.lifetime_seconds, session.absolute_end)
    claims: dict[str, Json] = {
        "iss": policy.issuer,
        "aud": policy.audience,
        "sub": identity.subject,
        "idp": identity.issuer,
        "user": identity.user,
        "sid": session_hash(session.id),
        "iat": int(now),
        "exp": int(expires),
    }
    return claims | {name: value for name, value in optional.items() if value is not None}


class Signer:
    """Mints assertions with the first key of a policy, and remembers them for half a minute each."""

    __slots__ = ("_header", "_key", "_minted", "_name", "_policy")

    def __init__(self, policy: AssertionPolicy) -> None:
        """Load the key. Raises ConfigurationError, the operator's fault, when there is none that fits."""
        if not policy.keys:
            raise ConfigurationError("the assertion has no key: name one EC P-256 private key")
        self._policy = policy
        self._key = _load_key(policy.keys[0], 0)
        self._header = _encode(_json({"alg": "ES256", "kid": _thumbprint(self._key), "typ": "JWT"}))
        self._name = policy.header.encode("ascii")
        self._minted: dict[tuple[str, int], tuple[Edits, float]] = {}

    def edits(self, session: Session, now: float) -> tuple[Edits, float]:
        """Return the assertion's field and until when it may be used for this session."""
        key = (session.id, session.generation)
        known = self._minted.get(key)
        if known is None or now >= known[1]:
            if len(self._minted) >= _MAX_MINTED:
                self._minted = {k: v for k, v in self._minted.items() if now < v[1]}
            if len(self._minted) >= _MAX_MINTED:
                self._minted.clear()
            until = now + min(RENEW_SECONDS, self._policy.lifetime_seconds / 2)
            known = self._minted[key] = Edits.of((self.mint(session, now),)), until
        return known

    def mint(self, session: Session, now: float) -> HeaderPair:
        """Return the header field with a fresh assertion of `session`."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256

        signed = self._header + b"." + _encode(_json(_claims(self._policy, session, now)))
        # RFC 7518 §3.4: the two integers at full length, not DER.
        r, s = decode_dss_signature(self._key.sign(signed, ec.ECDSA(SHA256())))
        signature = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
        return self._name, signed + b"." + _encode(signature)
