"""What was decided of each flow: the one thing that addon and proxy layers tell each other.

A flow without a verdict, or with one that nobody settled, is refused: that is what keeps the gate closed when
a hook fails, since mitmproxy only logs an addon's exception and goes on. Kept beside the flows, not in their
`metadata`: what is saved to a file holds no decision.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow

    from addons.bodies import FlowBody, Upload
    from sidecar.core.decision import Forward, Note
    from sidecar.core.errors import BadRequest
    from sidecar.core.http import HeaderPair, RequestHead

__all__ = ["Phase", "Verdict", "begin", "verdict_of"]


class Phase(Enum):
    """How far a flow has come. UNDECIDED refuses."""

    UNDECIDED = auto()
    ANSWER = auto()  # flow.response is ours and complete; no upstream is asked
    FORWARD = auto()  # flow.request is what the upstream gets
    READING = auto()  # the decision waits for the request's body
    UNTOUCHED = auto()  # a host that is none of ours, in a mode where those pass


class Verdict:
    """One request's way through the gate. A plain slots class: one is made for each request.

    `method`, `target` and `fields` are the head as it came; `broken` tells why it is none. `failure` is why
    an upstream's answer could not be had, until it has been answered. `is_finished` is set once the core has
    said what of the upstream's answer may pass. `upload` is the body while it is passed on; the upstream's
    answer is waited for since `waiting_since`. Times are on the monotonic clock.
    """

    __slots__ = (
        "__weakref__",
        "asked_at",
        "body",
        "broken",
        "ended_by",
        "expects_continue",
        "failure",
        "fields",
        "forward",
        "framing",
        "head",
        "is_active",
        "is_finished",
        "is_reported",
        "is_tls",
        "method",
        "note",
        "phase",
        "sent_bytes",
        "started",
        "target",
        "upload",
        "upstream_seconds",
        "version",
        "waiting_since",
    )

    def __init__(self, started: float) -> None:
        """Begin undecided."""
        self.phase = Phase.UNDECIDED
        self.method = b""
        self.target = b""
        self.version = b""
        self.fields: list[HeaderPair] = []
        self.framing: tuple[HeaderPair, ...] = ()
        self.expects_continue = False
        self.is_tls = False
        self.broken: BadRequest | None = None
        self.head: RequestHead | None = None
        self.note: Note | None = None
        self.forward: Forward | None = None
        self.body: FlowBody | None = None
        self.failure: tuple[str, int] | None = None
        self.ended_by: str | None = None
        self.is_finished = False
        self.is_reported = False
        self.is_active = False
        self.started = started
        self.asked_at = 0.0
        self.waiting_since = 0.0
        self.upload: Upload | None = None
        self.upstream_seconds = 0.0
        self.sent_bytes = 0


_verdicts: WeakKeyDictionary[HTTPFlow, Verdict] = WeakKeyDictionary()


def begin(flow: HTTPFlow, started: float) -> Verdict:
    """Begin the verdict of a flow; called by the proxy layer, before any hook."""
    verdict = _verdicts[flow] = Verdict(started)
    return verdict


def verdict_of(flow: HTTPFlow) -> Verdict | None:
    """Return a flow's verdict; None when it does not come through our layer."""
    return _verdicts.get(flow)
