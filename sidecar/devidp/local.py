"""What applications of ours have in common that answer everything themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.application import AnswerHead, WireResponse
from sidecar.core import refusals
from sidecar.gateapplication import render_response

if TYPE_CHECKING:
    from sidecar.core.decision import Finish, Respond
    from sidecar.core.http import HeaderPair, RequestHead, Response

__all__ = ["SelfContained"]


class SelfContained:
    """The part of `Application` that an application without upstream, tunnels and sessions leaves alone."""

    def finish(self, finish: Finish, status: int, headers: list[HeaderPair]) -> AnswerHead:
        """Refuse: nothing is ever forwarded."""
        del finish, status, headers
        return AnswerHead([], is_tunnel=False, is_acceptable=False)

    def refuse(self, reason: str, status: int, request_id: str, head: RequestHead | None) -> Respond:
        """Answer what the engine found."""
        return refusals.refuse(None, reason, status, request_id, head)

    def render(self, response: Response, request_id: str) -> WireResponse:
        """Render a Response to bytes."""
        return render_response(response, request_id)

    def touch(self, session_id: str) -> None:
        """Do nothing: there are no sessions here."""

    def is_revoked(self, session_id: str) -> bool:
        """Answer no: there are no sessions here."""
        del session_id
        return False
