"""The only place where "may this request pass?" is answered (skeleton)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.decision import Decision
    from sidecar.core.http import RequestHead
    from sidecar.core.runtime import Runtime
    from sidecar.core.state import State

__all__ = ["decide"]


def decide(runtime: Runtime, state: State, head: RequestHead) -> Decision:
    """Decide what happens with the request of `head`."""
    raise NotImplementedError
