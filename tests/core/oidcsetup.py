"""A provider on paper: its keys, its metadata, and the tokens that it signs, well or badly."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sidecar.core.effects import ProviderAnswer
from sidecar.core.runtime import Provider
from sidecar.core.tokens import KeySet, ProviderMetadata, parse_jwks, parse_metadata

ISSUER = "https://id.example.com"
CLIENT_ID = "app"
NONCE = "nonce-of-this-login"
NOW = 1_700_000_000.0

type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@functools.cache
def rsa_key(number: int = 1, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return an RSA key, made once for the whole run: that takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@functools.cache
def ec_key(number: int = 1, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


@functools.cache
def ed_key(number: int = 1) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def jwk(key: PrivateKey, **members: Any) -> dict[str, Any]:
    """Return the public JWK of `key`; a member given as None is left out."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        made = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        made = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        made = OKPAlgorithm.to_jwk(public, as_dict=True)
    made.pop("key_ops", None)
    return {name: value for name, value in {**made, **members}.items() if value is not None}


def jwks(*keys: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def key_set(*keys: Mapping[str, Any]) -> KeySet:
    return parse_jwks(jwks(*(keys or (jwk(rsa_key(), kid="k1"),))))


def provider(**changes: Any) -> Provider:
    made = Provider(
        key="main",
        type="oidc",
        display_name="Example",
        issuer=ISSUER,
        client_id=CLIENT_ID,
        redirect_path="/oauth2/callback",
    )
    return replace(made, **changes)


def metadata_document(**changes: Any) -> bytes:
    members = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "userinfo_endpoint": f"{ISSUER}/userinfo",
        "jwks_uri": f"{ISSUER}/keys",
        "end_session_endpoint": f"{ISSUER}/logout",
        "code_challenge_methods_supported": ["S256"],
        **changes,
    }
    return json.dumps({name: value for name, value in members.items() if value is not None}).encode()


def metadata(of: Provider | None = None, **changes: Any) -> ProviderMetadata:
    return parse_metadata(metadata_document(**changes), of or provider())


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good ID token; a claim given as None is left out."""
    made: dict[str, Any] = {
        "iss": ISSUER,
        "sub": "248289",
        "aud": CLIENT_ID,
        "exp": int(NOW) + 300,
        "iat": int(NOW),
        "nonce": NONCE,
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def sign(
    payload: Mapping[str, Any] | bytes,
    key: PrivateKey | None = None,
    alg: str = "RS256",
    **header: Any,
) -> str:
    """Return a signed token; a header member given as None is left out."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    members = {"typ": "JWT", "alg": alg, "kid": "k1", **header}
    first = b64(json.dumps({name: value for name, value in members.items() if value is not None}).encode())
    signing_input = f"{first}.{b64(text)}".encode()
    algorithm = jwt.get_algorithm_by_name(alg)
    signature = algorithm.sign(signing_input, cast("Any", key or rsa_key()))
    return f"{signing_input.decode()}.{b64(signature)}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def answer(
    body: Mapping[str, Any] | bytes, status: int = 200, kind: str = "application/json"
) -> ProviderAnswer:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ProviderAnswer(status=status, headers=((b"Content-Type", kind.encode()),), body=text)
