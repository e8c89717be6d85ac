"""The provider's key and what is signed with it. It lives and dies with the process (S72)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.core.development import MARKER
from sidecar.devidp.values import OAuthError

if TYPE_CHECKING:
    from sidecar.core.identity import Json

__all__ = ["ALGORITHM", "SigningKey", "half_hash"]

ALGORITHM: Final = "ES256"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (FIPS 186-5)


class SigningKey:
    """One ES256 key, made of `entropy` and never written anywhere."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        # 64 surplus bits make the remainder uniform (FIPS 186-5 §A.2.1).
        number = int.from_bytes(entropy(40), "big") % (_ORDER - 1) + 1
        self._private = ec.derive_private_key(number, ec.SECP256R1())
        self.kid = base64.urlsafe_b64encode(entropy(9)).decode()

    def sign(self, claims: Mapping[str, Json], token_type: str) -> str:
        """Sign `claims`, marked as development's."""
        marked = {**claims, MARKER: True}
        return jwt.encode(
            marked, self._private, algorithm=ALGORITHM, headers={"kid": self.kid, "typ": token_type}
        )

    def key_set(self) -> dict[str, Json]:
        """Return the public key as a JWK Set (RFC 7517 §5)."""
        key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._private.public_key()))
        return {"keys": [{**key, "kid": self.kid, "use": "sig", "alg": ALGORITHM}]}

    def verify_hint(self, unverified_hint: str, issuer: str) -> dict[str, Any]:
        """Return the claims of an ID token that we signed, expired or not (OIDC RP-Initiated Logout §2).

        Raises OAuthError for anything else.
        """
        try:
            claims: dict[str, Any] = jwt.decode(
                unverified_hint,
                self._private.public_key(),
                algorithms=[ALGORITHM],
                options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
                issuer=issuer,
            )
        except jwt.PyJWTError as error:
            raise OAuthError("invalid_request", "id_token_hint is no ID token of this provider") from error
        return claims


def half_hash(text: str) -> str:
    """Return `at_hash` of an access token (OIDC Core §3.1.3.6)."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).rstrip(b"=").decode()
