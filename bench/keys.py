"""A key for the signed assertion."""

from __future__ import annotations

import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["assertion_option"]


def assertion_option() -> dict[str, str]:
    """Return the configuration lines that turn the assertion on."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"headers": "{assertion: {keys: [" + json.dumps(pem.decode()) + "]}}"}
