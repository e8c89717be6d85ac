"""Refreshing a session's tokens: once per session however many requests ask, and nobody loses one by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.decision import Flow, Forward, Respond
    from sidecar.core.flows.call import Call
    from sidecar.core.session import Session

__all__ = ["is_postponed", "refresh_then"]


def is_postponed(call: Call) -> bool:
    """Tell whether a refresh of the call's session failed so recently that it is not tried again yet.

    The gate asks before it makes a flow, so that a provider that is down slows nobody.
    """
    raise NotImplementedError


def refresh_then(
    call: Call, then: Callable[[Session, tuple[bytes, ...]], Respond | Forward]
) -> Flow:
    """Refresh `call.session`, then go on with `then(session, set_cookies)`.

    `set_cookies` are complete Set-Cookie values for the answer, empty when the session is unchanged.
    """
    raise NotImplementedError
