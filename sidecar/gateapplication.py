"""The gate as an `Application`: runtime, state, runner, pages and observer bound together.

This is the one place where a defect of ours is caught: whatever `decide` or a flow raises that is not one
of our errors becomes a 500 with a request id (fail closed), and the traceback goes to the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.application import WireResponse
from sidecar.core import gate, refusals
from sidecar.core.answer import finish_answer
from sidecar.core.decision import Flow, Forward, Respond

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.application import AnswerHead, BodyReader, Observer
    from sidecar.core.decision import Decision, Finish
    from sidecar.core.http import HeaderPair, RequestHead, Response
    from sidecar.core.runtime import Runtime
    from sidecar.core.state import State
    from sidecar.effects import Runner

__all__ = ["GateApplication", "render_response"]


def render_response(response: Response, request_id: str) -> WireResponse:
    """Render a Response; `sidecar.pages` (and with it Jinja2) is only imported for the first page."""
    if response.page is None:
        return WireResponse(response.status, response.headers, response.body)
    from sidecar.pages import render

    page = render(response.page, request_id)
    # What every page has anyway, such as no-store, is sent once.
    own = tuple(pair for pair in response.headers if pair not in page.headers)
    return WireResponse(response.status, (*own, *page.headers), page.body)


class GateApplication:
    """Serves one `Runtime`; a reload swaps `runtime`, everything else stays."""

    def __init__(
        self,
        runtime: Runtime,
        state: State,
        runner: Runner,
        observer: Observer,
        touched: Callable[[str, float], None] | None = None,
    ) -> None:
        """Bind the parts; `touched` tells other workers of activity in a tunnel."""
        self._touched = touched
        self.runtime = runtime
        self.state = state
        self.runner = runner
        self.observer = observer

    def decide(self, head: RequestHead) -> Decision:
        """Decide at the head; a defect refuses."""
        try:
            return gate.decide(self.runtime, self.state, head)
        except Exception:  # noqa: BLE001  the outermost edge: fail closed, tell the operator
            self.observer.defect("decide", head.request_id)
            return refusals.refuse(None, "internal_error", 500, head.request_id, head)

    async def run(self, flow: Flow, body: BodyReader) -> Respond | Forward:
        """Carry a flow's effects out; a defect refuses."""
        try:
            return await self.runner.run(flow, body)
        except Exception:  # noqa: BLE001  the outermost edge: fail closed, tell the operator
            self.observer.defect(flow.name, flow.head.request_id)
            return refusals.refuse(flow.site, "internal_error", 500, flow.head.request_id, flow.head)

    def finish(self, finish: Finish, status: int, headers: list[HeaderPair]) -> AnswerHead:
        """Ask the core what of an upstream's answer may pass."""
        return finish_answer(finish, status, headers)

    def refuse(self, reason: str, status: int, request_id: str, head: RequestHead | None) -> Respond:
        """Build the answer for what an engine found."""
        return refusals.refuse(None, reason, status, request_id, head)

    def render(self, response: Response, request_id: str) -> WireResponse:
        """Render a Response to bytes."""
        return render_response(response, request_id)

    def touch(self, session_id: str) -> None:
        """Note the activity of a tunnel's session, here and at the other workers."""
        now = self.state.surroundings.clock()
        self.state.sessions.touch(session_id, now)
        if self._touched is not None:
            self._touched(session_id, now)

    def is_revoked(self, session_id: str) -> bool:
        """Tell whether a session is on the revocation list."""
        return self.state.revocations.is_revoked(session_id, self.state.surroundings.clock())
