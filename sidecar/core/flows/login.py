"""The beginning of a login: from a request without a session to the provider's authorization endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.decision import Flow
    from sidecar.core.flows.call import Call

__all__ = ["begin"]


def begin(call: Call, return_to: str, *, attempt: int = 0) -> Flow:
    """Send the browser to the provider; it comes back to `return_to`, which is checked here once more."""
    raise NotImplementedError
