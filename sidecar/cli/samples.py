"""Sessions that nobody logged in to: for the size of cookies and for `doorward explain`."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import InvalidToken
from sidecar.core.identity import Identity
from sidecar.core.secret import Secret
from sidecar.core.session import Session
from sidecar.dev.standins import build_session, cookie_pairs

if TYPE_CHECKING:
    from sidecar.core.runtime import Site

__all__ = ["SAMPLES", "CookieSize", "build_session", "cookie_pairs", "cookie_size"]

SAMPLES: Final = {"no groups": 0, "20 groups": 20, "200 groups": 200}
"""What is measured: people by their number of groups."""

# What providers' tokens are like: Keycloak's refresh tokens are the long ones.
_REFRESH_TOKEN_BYTES: Final = 700
_TOKEN_BYTES: Final = 900
_MEMBERSHIP_BYTES_IN_TOKEN: Final = 27


@dataclass(frozen=True, slots=True)
class CookieSize:
    """How large a session is in the browser: all of `name=value`, in so many cookies; 0: does not fit."""

    total_bytes: int
    cookies: int


def cookie_size(site: Site, groups: int, now: float) -> CookieSize:
    """Return how large the cookie of somebody in so many groups is, with tokens as large as is usual."""
    session = _sample(site, groups, now)
    try:
        pairs = cookie_pairs(site, session)
    except InvalidToken:
        return CookieSize(0, 0)
    return CookieSize(sum(map(len, pairs)) + 2 * (len(pairs) - 1), len(pairs))


def _sample(site: Site, groups: int, now: float) -> Session:
    provider = next(iter(site.providers.values()))
    token_bytes = _TOKEN_BYTES + _MEMBERSHIP_BYTES_IN_TOKEN * groups
    names = tuple(f"{_random_text(f'g{number}', 12)}-team" for number in range(groups))
    identity = Identity(
        issuer=provider.issuer,
        subject="7d3c1f0e-52a9-4b61-9c0d-1a2b3c4d5e6f",
        user="7d3c1f0e-52a9-4b61-9c0d-1a2b3c4d5e6f",
        email="alexandra.example@example.com",
        preferred_username="alexandra.example",
        name="Alexandra Example",
        groups=names,
        claims={path: f"value-of-{_random_text(path, 12)}" for path in site.session.kept_claims},
    )
    policy = site.session
    return Session(
        id=base64.urlsafe_b64encode(os.urandom(18)).decode("ascii"),
        site=site.name,
        provider=provider.key,
        identity=identity,
        created_at=now,
        seen_at=now,
        absolute_end=now + policy.absolute_seconds,
        sid="5e8f1d2c-9a3b-4c7d-8e1f-2a3b4c5d6e7f",
        access_token=_token("access", token_bytes) if policy.keep_access_token else None,
        access_issued_at=now,
        access_expires_at=now + 300,
        refresh_token=_token("refresh", _REFRESH_TOKEN_BYTES),
        id_token=_token("id", token_bytes) if policy.keep_id_token else None,
    )


def _token(name: str, length: int) -> Secret:
    return Secret(_random_text(name, length).encode("ascii"))


def _random_text(seed: str, length: int) -> str:
    """Return text that compresses as little as a token does, the same for a seed."""
    stream = hashlib.shake_256(seed.encode()).digest(length)
    return base64.urlsafe_b64encode(stream).decode("ascii")[:length]
