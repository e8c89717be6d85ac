"""The one format of everything that we seal: cookies, states, server-side session data.

    token      = base64url without padding of: version | key id | nonce | ciphertext and tag
    version    = 1 byte, 0x01
    key id     = 4 bytes, derived from the key: tells which key of the ring to try, nothing else
    nonce      = 12 random bytes
    ciphertext = AES-256-GCM (NIST SP 800-38D) with a 16-byte tag

The associated data are version and key id, then purpose, name and site, each with its length in front, so
that no part of a token can be altered, a login's cookie does not open as a session, nor one site's cookie at
another (S33). Each purpose has a key of its own, derived by
HKDF-SHA256 (RFC 5869) from the operator's; what is sealed in development mode is derived under another
label, so it never opens in normal mode although the key may be the same (S72).

How many tokens a key may seal: random 96-bit nonces keep the chance of a repeated one below 2**-32 for
2**32 tokens of one key (SP 800-38D §8.3), here counted per purpose: 1,000 a second for seven weeks. Rotate
keys before that: put the new one in front of `session.keys`, drop the old one after `session.absolute`.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from sidecar.core.errors import ConfigurationError, InvalidCookie
from sidecar.core.secret import Secret

__all__ = [
    "KEY_BYTES",
    "MAX_TOKEN_BYTES",
    "SEALING_OVERHEAD",
    "KeyRing",
    "Mode",
    "decode_base64url",
    "encode_base64url",
    "sealed_length",
]

type Mode = Literal["live", "dev"]

KEY_BYTES: Final = 32
MAX_TOKEN_BYTES: Final = 100_000
"""Longer tokens are refused before anything is decoded (S25)."""

_VERSION: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_HEADER_BYTES: Final = len(_VERSION) + _KEY_ID_BYTES
SEALING_OVERHEAD: Final = _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES

_TO_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def encode_base64url(data: bytes) -> bytes:
    """Return base64url without padding (RFC 4648 §5)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL_SAFE).rstrip(b"=")


def decode_base64url(text: bytes) -> bytes:
    """Decode the one canonical spelling. Raises InvalidCookie for every other one.

    Python's decoders skip foreign characters and ignore surplus bits of the last one, so that many texts
    would mean the same token: what was decoded must encode to what was sent.
    """
    try:
        data = binascii.a2b_base64(text.translate(_FROM_URL_SAFE) + b"=" * (-len(text) % 4))
    except binascii.Error as error:
        raise InvalidCookie("sealed_invalid") from error
    if encode_base64url(data) != text:
        raise InvalidCookie("sealed_invalid")
    return data


def sealed_length(plaintext_bytes: int) -> int:
    """Return how many characters a sealed plaintext of that many bytes takes."""
    return (4 * (plaintext_bytes + SEALING_OVERHEAD) + 2) // 3


class _Key:
    """One key of the ring: its id, and its key of each purpose, derived when first needed.

    The purposes are a handful of constants in our own code, so the cache is bounded.
    """

    __slots__ = ("_by_purpose", "_label", "_pseudorandom_key", "id")

    def __init__(self, secret: Secret, mode: Mode) -> None:
        # HKDF in its two steps (RFC 5869 §2): extract once, expand for each purpose.
        self._label = b"doorward/1/" + mode.encode() + b"/"
        self._pseudorandom_key = Secret(HKDF.extract(SHA256(), b"doorward", secret.reveal()))
        self._by_purpose: dict[str, AESGCM] = {}
        self.id = self._expand("key-id", _KEY_ID_BYTES)

    def _expand(self, purpose: str, length: int) -> bytes:
        info = self._label + purpose.encode()
        return HKDFExpand(SHA256(), length, info).derive(self._pseudorandom_key.reveal())

    def cipher(self, purpose: str) -> AESGCM:
        """Return the cipher of `purpose`."""
        found = self._by_purpose.get(purpose)
        if found is None:
            found = self._by_purpose[purpose] = AESGCM(self._expand("seal/" + purpose, KEY_BYTES))
        return found


class KeyRing:
    """The operator's keys: the first seals, all of them open (S34)."""

    __slots__ = ("_by_id", "_first")

    def __init__(self, keys: Sequence[_Key]) -> None:
        self._first = keys[0]
        self._by_id = {key.id: key for key in keys}

    @classmethod
    def from_secrets(cls, secrets: Sequence[Secret], *, mode: Mode = "live") -> KeyRing:
        """Make the ring of `secrets`, 32 bytes each, newest first.

        Raises ConfigurationError when there is none, one has another length, or one is there twice.
        """
        if not secrets:
            raise ConfigurationError("session.keys is empty: at least one key of 32 bytes is needed.")
        for position, secret in enumerate(secrets):
            if len(secret.reveal()) != KEY_BYTES:
                raise ConfigurationError(
                    f"session.keys[{position}] has {len(secret.reveal())} bytes: a key has {KEY_BYTES}."
                )
        keys = [_Key(secret, mode) for secret in secrets]
        if len({key.id for key in keys}) != len(keys):
            raise ConfigurationError("session.keys holds the same key twice: remove one of them.")
        return cls(keys)

    def __repr__(self) -> str:
        """Show how many keys there are and nothing of them."""
        return f"KeyRing({len(self._by_id)} keys)"

    def seal(
        self, plaintext: bytes, *, purpose: str, name: bytes, site: str, entropy: Callable[[int], bytes]
    ) -> bytes:
        """Return `plaintext` sealed for `purpose`, `name` and `site`, as base64url text."""
        header, nonce = _VERSION + self._first.id, entropy(_NONCE_BYTES)
        associated = _associated_data(header, purpose, name, site)
        ciphertext = self._first.cipher(purpose).encrypt(nonce, plaintext, associated)
        return encode_base64url(header + nonce + ciphertext)

    def open(self, token: bytes, *, purpose: str, name: bytes, site: str) -> bytes:
        """Return what was sealed for the same purpose, name and site.

        Raises InvalidCookie, always with the same code, for anything else.
        """
        if not sealed_length(0) <= len(token) <= MAX_TOKEN_BYTES:
            raise InvalidCookie("sealed_invalid")
        data = decode_base64url(token)
        header, nonce = data[:_HEADER_BYTES], data[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        # Another version or key id than ours is tried with the first key and fails there, both being
        # associated data: as much work as for a wrong tag, so that the time tells nobody what was wrong.
        key = self._by_id.get(header[len(_VERSION) :], self._first)
        associated = _associated_data(header, purpose, name, site)
        try:
            return key.cipher(purpose).decrypt(nonce, data[_HEADER_BYTES + _NONCE_BYTES :], associated)
        except InvalidTag as error:
            raise InvalidCookie("sealed_invalid") from error


def _associated_data(header: bytes, purpose: str, name: bytes, site: str) -> bytes:
    """Join them unambiguously: the header has one length, each of the others has its length in front."""
    parts = (purpose.encode(), name, site.encode())
    return header + b"".join(len(part).to_bytes(4) + part for part in parts)
