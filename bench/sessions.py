"""Session cookies for the load, sealed by the serving code with the bench's key."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from sidecar.config import load_text
from sidecar.core.identity import Identity
from sidecar.core.secret import Secret
from sidecar.core.session import Session
from sidecar.core.sessioncookie import set_session

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["cookie_headers"]


def cookie_headers(yaml: str, path: Path, count: int) -> list[str]:
    """Return `count` Cookie header values, each with another person's session among three other cookies."""
    site = load_text(yaml, path, {}).sites[0]
    (provider,) = site.providers.values()
    now = time.time()
    headers = []
    for number in range(count):
        mail = f"person{number}@example.com"
        identity = Identity(
            issuer=provider.issuer,
            subject=f"subject-{number}",
            user=f"subject-{number}",
            email=mail,
            preferred_username=f"person{number}",
            name=f"Person {number}",
            groups=("staff", "reports", "building-7", "on-call"),
            claims={},
        )
        session = Session(
            id=os.urandom(16).hex(),
            site=site.name,
            provider=provider.key,
            identity=identity,
            created_at=now,
            seen_at=now,
            absolute_end=now + 43200,
            access_expires_at=now + 43200,
            refresh_token=Secret(os.urandom(32).hex().encode()),
        )
        set_cookies = [
            value.split(b";", 1)[0].decode() for value in set_session(site, session, (), os.urandom)
        ]
        pairs = [pair for pair in set_cookies if not pair.endswith("=")]  # an empty one deletes a stale name
        headers.append("; ".join(["theme=dark", "_ga=GA1.1.1234567890.1700000000", *pairs, "lang=en"]))
    return headers
