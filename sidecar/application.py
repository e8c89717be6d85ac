"""What an engine serves: the seam between engines and everything behind them.

An engine parses a head, calls `decide`, runs a `Flow` with `run`, carries out the `Respond` or `Forward`
that results, and reports to `observer`. The gate is one Application; the admin listener, the embedded
provider and the demo application are others, so that all of them use the same engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sidecar.core.answer import AnswerHead

if TYPE_CHECKING:
    from sidecar.core.decision import Decision, Finish, Flow, Forward, Note, Respond
    from sidecar.core.http import HeaderPair, RequestHead, Response

__all__ = ["AnswerHead", "Application", "BodyReader", "Observer", "WireResponse"]


@dataclass(frozen=True, slots=True)
class WireResponse:
    """A Response of ours ready for framing: the page rendered, its security headers added."""

    status: int
    headers: Sequence[HeaderPair]
    body: bytes


class BodyReader(Protocol):
    """The request's body, for the few flows that read one."""

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body. Raises BadRequest when it is larger, broken or too slow."""


class Observer(Protocol):
    """Who is told what happened. Called on the hot path: an implementation must be cheap and never raise."""

    def request_done(  # noqa: PLR0917  one positional call on the hot path
        self,
        head: RequestHead,
        note: Note,
        status: int,
        sent_bytes: int,
        seconds: float,
        upstream_seconds: float,
    ) -> None:
        """One request has been answered (or broken off: status 0)."""

    def malformed(self, peer: str, reason: str, detail: str) -> None:
        """Something arrived that is not a request; `detail` holds nothing that the peer sent in full."""

    def connection_opened(self) -> None:
        """A downstream connection was accepted."""

    def connection_closed(self) -> None:
        """It is closed."""

    def event(self, name: str, fields: Sequence[tuple[str, str | int | float | None]]) -> None:
        """Something of `core.reasons.EVENTS` happened."""

    def defect(self, where: str, request_id: str) -> None:
        """Log the exception being handled: a defect of ours, refused with 500 or by closing."""

    def provider_call(self, provider: str, operation: str, outcome: str, seconds: float) -> None:
        """A call to a provider ended: outcome "ok", "refused", "unavailable"."""


class Application(Protocol):
    """Everything that an engine needs to serve."""

    @property
    def observer(self) -> Observer:
        """Return who is told what happens."""

    def decide(self, head: RequestHead) -> Decision:
        """Decide at the head. Never raises: a defect is a Respond with 500."""

    async def run(self, flow: Flow, body: BodyReader) -> Respond | Forward:
        """Carry a flow's effects out. Never raises but asyncio.CancelledError."""

    def finish(self, finish: Finish, status: int, headers: list[HeaderPair]) -> AnswerHead:
        """Say what of an upstream's answer head reaches the downstream."""

    def refuse(self, reason: str, status: int, request_id: str, head: RequestHead | None) -> Respond:
        """Build the answer for what an engine found: malformed (400), a limit (408, 413, 431), the upstream.

        `reason` is one of `core.reasons.REASONS`.
        """

    def render(self, response: Response, request_id: str) -> WireResponse:
        """Render a Response to bytes."""

    def touch(self, session_id: str) -> None:
        """Traffic in a tunnel counts as activity of its session."""

    def is_revoked(self, session_id: str) -> bool:
        """Tell whether a lease's session is revoked, for the sweep over open tunnels."""
