"""What a provider tells us, and what is checked of it before anything is believed.

    metadata   the discovery document and the endpoints that come from it (S16)
    keys       the provider's signing keys (JWK Set, RFC 7517)
    jws        one compact JWS: algorithm, key and signature (RFC 7515, RFC 8725)
    idtoken    the claims of an ID token, in the order of OIDC Core §3.1.3.7
    userinfo   the UserInfo answer, plain or signed (OIDC Core §5.3)
    answer     the token endpoint's answer, good or bad (RFC 6749 §5)

Owns: every check of something that a provider signed or sent. Depends on: `core.errors`, `core.runtime`,
PyJWT for signatures. Leaves to others: fetching (`sidecar.effects`), what claims mean (`core.claims`).

PyJWT is imported when the first token arrives: it and what it brings cost 14 MiB and a tenth of a second.
"""

from __future__ import annotations

from sidecar.core.tokens.answer import TokenAnswer, parse_token_answer
from sidecar.core.tokens.idtoken import verify_id_token, verify_refreshed_id_token
from sidecar.core.tokens.jws import parse_unverified_kid
from sidecar.core.tokens.keys import KeySet, parse_jwks
from sidecar.core.tokens.metadata import (
    ProviderMetadata,
    build_metadata,
    metadata_url,
    parse_metadata,
)
from sidecar.core.tokens.userinfo import verify_userinfo

__all__ = [
    "KeySet",
    "ProviderMetadata",
    "TokenAnswer",
    "build_metadata",
    "metadata_url",
    "parse_jwks",
    "parse_metadata",
    "parse_token_answer",
    "parse_unverified_kid",
    "verify_id_token",
    "verify_refreshed_id_token",
    "verify_userinfo",
]
