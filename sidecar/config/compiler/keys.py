"""Keys: those that seal sessions, and private keys in PEM."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sidecar.config.compiler.context import Context
from sidecar.config.models.base import SecretSource
from sidecar.config.problems import Path
from sidecar.core.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from sidecar.core.seal import KeyRing

__all__ = ["key_ring", "private_key", "signing_algorithms"]

_KEY_BYTES: Final = 32
_MIN_RSA_BITS: Final = 2048
# Of 32 random bytes fewer than this are different once in 10**29 keys.
_MIN_DISTINCT_BYTES: Final = 12


def key_ring(
    context: Context, path: Path, forms: Sequence[Secret | SecretSource], *, is_local: bool
) -> KeyRing | None:
    """Return the ring of session keys, None after a problem. `is_local`: the site is on loopback."""
    from sidecar.core.seal import KeyRing

    keys = [
        _session_key(context, (*path, index), form, is_local=is_local) for index, form in enumerate(forms)
    ]
    sound = [key for key in keys if key is not None]
    if len(sound) < len(keys):
        return None
    for index, key in enumerate(sound):
        if key in sound[:index]:
            context.refuse(
                (*path, index), f"is the same key as {path[-1]}[{sound.index(key)}]; remove one of them"
            )
            return None
    return KeyRing.from_secrets(sound)


def _session_key(
    context: Context, path: Path, form: Secret | SecretSource, *, is_local: bool
) -> Secret | None:
    raw = context.raw_secret(path, form)
    if raw is None:
        return None
    data = raw.reveal()
    may_be_bytes = isinstance(form, SecretSource) and form.file is not None
    key = data if may_be_bytes and len(data) == _KEY_BYTES else _decoded(data.strip(b" \t\r\n"))
    if key is None and may_be_bytes and len(data.rstrip(b"\r\n")) == _KEY_BYTES:
        key = data.rstrip(b"\r\n")
    complaint = _complaint(data, key)
    if complaint is not None or key is None:
        context.refuse(path, f"{complaint}; `doorward keys new` makes a key")
        return None
    if len(set(key)) < _MIN_DISTINCT_BYTES:
        # A key that somebody made up, or copied from an example, is one that others have too.
        message = "is not random, so anybody may have it; `doorward keys new` makes a key"
        (context.warn if is_local else context.refuse)(path, message)
    return Secret(key)


def _decoded(text: bytes) -> bytes | None:
    """Return what base64 text holds, either alphabet, padding optional; None when it is no base64."""
    if not re.fullmatch(rb"[A-Za-z0-9+/_-]+={0,2}", text):
        return None
    bare = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return None


def _complaint(data: bytes, key: bytes | None) -> str | None:
    """Say what is wrong with a key, and nothing of what it is."""
    if key is not None and len(key) == _KEY_BYTES:
        return None
    if re.fullmatch(rb"[0-9A-Fa-f]{64}\s*", data):
        return "is written in hexadecimal, and a key is written in base64"
    if not data.strip():
        return "is empty, and a key has 32 bytes"
    if key is None:
        return f"is neither base64 nor 32 bytes: it has {len(data)} bytes that are not base64"
    return f"has {len(key)} bytes once its base64 is decoded, and a key has {_KEY_BYTES}"


def private_key(context: Context, path: Path, secret: Secret) -> PrivateKeyTypes | None:
    """Return the private key in a PEM text, None after a problem."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(secret.reveal(), password=None)
    except TypeError:
        context.refuse(path, "is protected by a passphrase; write it without one (openssl pkey -in KEY)")
    except (ValueError, UnsupportedAlgorithm):
        context.refuse(path, 'is no private key in PEM; it begins with "-----BEGIN PRIVATE KEY-----"')
    return None


def signing_algorithms(context: Context, path: Path, key: PrivateKeyTypes) -> tuple[str, ...]:
    """Return the algorithms that a key can sign with, the usual one first; none after a problem."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    match key:
        case RSAPrivateKey() if key.key_size >= _MIN_RSA_BITS:
            return ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
        case RSAPrivateKey():
            context.refuse(path, f"is an RSA key of {key.key_size} bits; it needs {_MIN_RSA_BITS} at least")
        case EllipticCurvePrivateKey() if key.curve.name in _CURVES:
            return (_CURVES[key.curve.name],)
        case Ed25519PrivateKey():
            return ("EdDSA",)
        case _:
            context.refuse(path, "is no key to sign with; use RSA, EC P-256, P-384 or P-521, or Ed25519")
    return ()


_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
