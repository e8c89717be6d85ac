"""What a login's `state` parameter holds, and what its cookie's secret yields. See `core.transaction`.

    JSON array  version, id, proof, time in whole seconds, attempts, provider, issuer
    line feed
    return URL  "=" and the URL as it is, or "~" and its raw DEFLATE when that is shorter

The return URL is compressed by itself, so nothing of ours shares its window. JSON and not bytes by position,
because a state lives for an hour, is made once a login, and 20 bytes do not matter here.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from sidecar.core.errors import InvalidCookie
from sidecar.core.returnurl import MAX_RETURN_URL_BYTES
from sidecar.core.seal import encode_base64url, sealed_length
from sidecar.core.secret import Secret

if TYPE_CHECKING:
    from sidecar.core.seal import KeyRing

__all__ = ["SECRET_BYTES", "LoginSecrets", "LoginState", "pack_url", "unpack_url"]

SECRET_BYTES: Final = 32

_VERSION: Final = 1
_PURPOSE: Final = "state"
_NAME: Final = b"state"
_PLAIN, _DEFLATED = b"=", b"~"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSecrets:
    """What one login's cookie yields.

    `id` (8 characters) is public, `proof` travels inside the sealed state. `nonce` and `code_verifier` are 43
    characters of base64url, 256 bits each (RFC 7636 §4.1 and §7.1). `claim` names the login for ClaimOnce.
    """

    id: str
    proof: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: Secret = field(repr=False)
    claim: bytes = field(repr=False)

    @classmethod
    def derive(cls, secret: bytes) -> Self:
        """Derive them from the cookie's random bytes (RFC 5869 §3.3: such a key needs no extraction)."""

        def expand(label: bytes, length: int) -> bytes:
            return encode_base64url(HKDFExpand(SHA256(), length, b"doorward/1/login/" + label).derive(secret))

        return cls(
            id=expand(b"id", 6).decode(),
            proof=expand(b"proof", 18).decode(),
            nonce=expand(b"nonce", 32).decode(),
            code_verifier=Secret(expand(b"code-verifier", 32)),
            claim=b"login:" + expand(b"claim", 18),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginState:
    """The half of a login that travels. `created_at` is in whole seconds, `provider` the provider's key."""

    id: str
    proof: str = field(repr=False)
    created_at: int
    attempts: int
    provider: str
    issuer: str
    return_to: str

    def seal(self, ring: KeyRing, site: str, entropy: Callable[[int], bytes]) -> str:
        """Return the `state` parameter."""
        return ring.seal(self._encode(), purpose=_PURPOSE, name=_NAME, site=site, entropy=entropy).decode()

    @property
    def sealed_chars(self) -> int:
        """Return how long the parameter is."""
        return sealed_length(len(self._encode()))

    def shortened(self, max_chars: int) -> Self:
        """Return the state with what fits of its return URL: the part before query and fragment, else "/"."""
        path = self.return_to.partition("#")[0].partition("?")[0]
        candidate = replace(self, return_to=path)
        return candidate if candidate.sealed_chars <= max_chars else replace(self, return_to="/")

    @classmethod
    def open(cls, ring: KeyRing, site: str, unverified_state: str) -> Self:
        """Return the state that we made. Raises InvalidCookie for anything else."""
        try:
            token = unverified_state.encode("ascii")
        except UnicodeEncodeError as error:
            raise InvalidCookie("sealed_invalid") from error
        return cls._decode(ring.open(token, purpose=_PURPOSE, name=_NAME, site=site))

    def _encode(self) -> bytes:
        head = [
            _VERSION,
            self.id,
            self.proof,
            self.created_at,
            self.attempts,
            self.provider,
            self.issuer,
        ]
        return json.dumps(head, separators=(",", ":")).encode("ascii") + b"\n" + pack_url(self.return_to)

    @classmethod
    def _decode(cls, data: bytes) -> Self:
        head, _, packed = data.partition(b"\n")
        try:
            fields = json.loads(head)
        except ValueError as error:
            raise InvalidCookie("state_version") from error
        match fields:
            case [1, str(id_), str(proof), int(created_at), int(attempts), str(provider), str(issuer)]:
                return cls(
                    id=id_,
                    proof=proof,
                    created_at=created_at,
                    attempts=attempts,
                    provider=provider,
                    issuer=issuer,
                    return_to=unpack_url(packed),
                )
            case _:
                # Authentic, but of another version of ours.
                raise InvalidCookie("state_version")


def pack_url(url: str) -> bytes:
    """Return a return URL (ASCII) in the shorter of its two forms."""
    plain = url.encode("ascii")
    deflated = zlib.compress(plain, 9, -zlib.MAX_WBITS)
    return _DEFLATED + deflated if len(deflated) < len(plain) else _PLAIN + plain


def unpack_url(packed: bytes) -> str:
    """Return the URL. Raises InvalidCookie for what `pack_url` does not make."""
    form, rest = packed[:1], packed[1:]
    try:
        if form == _DEFLATED:
            rest = zlib.decompressobj(-zlib.MAX_WBITS).decompress(rest, MAX_RETURN_URL_BYTES)
        elif form != _PLAIN:
            raise InvalidCookie("state_version")
        return rest.decode("ascii")
    except (zlib.error, UnicodeDecodeError) as error:
        raise InvalidCookie("state_version") from error
