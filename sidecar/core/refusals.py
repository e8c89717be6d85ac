"""What we say when a request does not pass (skeleton)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.decision import Decision, Respond
    from sidecar.core.flows.call import Call
    from sidecar.core.http import RequestHead
    from sidecar.core.runtime import Site

__all__ = ["refuse", "unauthenticated"]


def refuse(site: Site | None, reason: str, status: int, request_id: str, head: RequestHead | None) -> Respond:
    """Build our answer to a request that does not pass: a page for a person, JSON for a program."""
    raise NotImplementedError


def unauthenticated(call: Call, reason: str) -> Decision:
    """Ask for a login: a navigation starts one, a form gets a page that says so, all else a 401."""
    raise NotImplementedError
