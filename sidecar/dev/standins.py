"""Sessions that nobody logged in to: for `--as`, for replays, for `doorward explain` and sizes of cookies."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

from sidecar.core.secret import Secret
from sidecar.core.session import Session
from sidecar.core.sessioncookie import set_session

if TYPE_CHECKING:
    from sidecar.core.identity import Identity
    from sidecar.core.runtime import Site

__all__ = ["build_session", "cookie_pairs"]


def build_session(site: Site, provider: str, identity: Identity, now: float) -> Session:
    """Return a session of `identity` that begins now, with stand-ins for the tokens that the site keeps."""
    policy = site.session
    return Session(
        id=base64.urlsafe_b64encode(os.urandom(18)).decode("ascii"),
        site=site.name,
        provider=provider,
        identity=identity,
        created_at=now,
        seen_at=now,
        absolute_end=now + policy.absolute_seconds,
        access_token=Secret(b"ACCESS-TOKEN") if policy.keep_access_token else None,
        id_token=Secret(b"ID-TOKEN") if policy.keep_id_token else None,
    )


def cookie_pairs(site: Site, session: Session) -> list[bytes]:
    """Return the session's cookies as `name=value`. Raises InvalidToken when it does not fit."""
    values = set_session(site, session, (), os.urandom)
    pairs = [value.partition(b";")[0] for value in values]
    return [pair for pair in pairs if not pair.endswith(b"=")]
