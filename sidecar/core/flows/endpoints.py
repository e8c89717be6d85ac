"""Our endpoints under a site's prefix: start, callback, sign_in, sign_out, auth, userinfo, jwks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.decision import Decision
    from sidecar.core.flows.call import Call

__all__ = ["ENDPOINTS", "serve"]

ENDPOINTS = frozenset({"start", "callback", "sign_in", "sign_out", "sign_out/return", "auth", "userinfo", "jwks"})


def serve(call: Call, name: str) -> Decision:
    """Answer the endpoint `name`: the canonical path after the prefix and its slash. Unknown: 404."""
    raise NotImplementedError
