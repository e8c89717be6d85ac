"""The gate behind mitmproxy's hooks: a flow in, the core's decision carried out on it.

Knows mitmproxy's values and an `Application`; leaves every decision to the latter, and to `addons.streams`
that nothing happens which was not decided here. Every public method may raise: whoever calls it must see to
it that the flow then has no settled verdict (`addons.authenticate` does).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Final, cast

from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy.mode_specs import ReverseMode, TransparentMode

from addons.bodies import FlowBody
from addons.orders import EndNow, LayerSettings
from addons.translation import answer_framing, build_answer, build_forward, build_own_answer, peer_of
from addons.verdicts import Phase, Verdict, verdict_of
from sidecar.application import Application, WireResponse
from sidecar.core.decision import Flow, Forward, Note, Respond
from sidecar.core.http import RequestHead

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mitmproxy.connection import Client
    from mitmproxy.http import HTTPFlow, Response
    from mitmproxy.proxy.context import Context

    from sidecar.core.decision import Lease
    from sidecar.core.http import Response as OwnResponse
    from sidecar.core.runtime import Limits, Upstream
    from sidecar.engines.express.requesthead import HeadRefused

__all__ = ["Gate", "Undecided"]

# A request that lasts longer is held to its lease from then on.
_LEASE_SECONDS: Final = 1.0
_SWITCHING_PROTOCOLS: Final = 101


class Undecided(Exception):
    """A flow that did not come through our layer, or whose turn it is not."""


class Gate:
    """Decides flows with one application.

    `is_ours` tells whether a host (as a Host field names it) is one that we gate; None gates all. `upstreams`
    are reached through the gate alone. `open` holds the flows under way.
    """

    def __init__(
        self,
        application: Application,
        limits: Limits,
        is_ours: Callable[[str], bool] | None = None,
        clock: Callable[[], float] = time.time,
        upstreams: Sequence[Upstream] = (),
    ) -> None:
        self.upstreams = upstreams
        self.application = application
        self.limits = limits
        self.settings = LayerSettings(limits=limits, malformed=self.malformed)
        self.open: dict[HTTPFlow, Verdict] = {}
        self.is_draining = False
        self._is_ours = is_ours
        self._clock = clock
        # 40 random bits tell processes and restarts apart; the rest counts. An id is a name, not a secret.
        self._prefix = secrets.token_hex(5)
        self._count = 0

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count:x}"

    # The head.

    async def decide(self, flow: HTTPFlow) -> None:
        """Settle a flow's verdict at its head."""
        verdict = _verdict(flow)
        if verdict.phase is not Phase.UNDECIDED or verdict.head is not None:
            raise Undecided("a second time")
        if flow.client_conn.timestamp_end is not None:
            return  # sent ahead by a client that is gone: nobody waits, and nothing would ever end it
        head = verdict.head = RequestHead(
            verdict.method,
            verdict.target,
            verdict.fields,
            peer_of(flow.client_conn),
            self._next_id(),
            verdict.is_tls,
        )
        self.open[flow] = verdict
        if verdict.broken is not None:
            self.application.observer.malformed(head.peer, verdict.broken.code, verdict.broken.detail)
            status = 431 if verdict.broken.code == "too_large" else 400
            self._respond(flow, self.application.refuse(verdict.broken.code, status, head.request_id, head))
            return
        if self._passes_untouched(flow, verdict):
            verdict.phase = Phase.UNTOUCHED
            flow.request.stream = True
            return
        decision = self.application.decide(head)
        if isinstance(decision, Flow):
            await self._run(flow, verdict, decision)
        else:
            self._settle(flow, verdict, decision)

    def _passes_untouched(self, flow: HTTPFlow, verdict: Verdict) -> bool:
        """Tell whether a request goes to a host of somebody else's, in a mode where that is nobody's concern.

        In reverse and transparent mode every request is gated, whatever it says of itself (S55).
        """
        if self._is_ours is None or isinstance(flow.client_conn.proxy_mode, ReverseMode | TransparentMode):
            return False
        named = [value.decode("latin-1") for name, value in verdict.fields if name.lower() == b"host"]
        named += [f"{flow.request.host}:{flow.request.port}", flow.client_conn.sni or ""]
        return not any(self._is_ours(name) for name in named if name)

    def gates_destination(self, context: Context) -> bool:
        """Tell whether a connection of a capturing mode leads to a host of ours."""
        address, sni = context.server.address, context.client.sni
        named = [sni or "", f"{address[0]}:{address[1]}" if address else ""]
        return self._is_ours is None or any(self._is_ours(name) for name in named if name)

    async def _run(self, flow: HTTPFlow, verdict: Verdict, decision: Flow) -> None:
        """Run a flow of ours until it ends, or asks for the body."""
        body = verdict.body = FlowBody(_declared_length(verdict))
        task = asyncio.ensure_future(self.application.run(decision, body))
        body.outcome = cast("asyncio.Task[object]", task)
        wanted = asyncio.ensure_future(body.wanted.wait())
        try:
            await asyncio.wait({task, wanted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wanted.cancel()
        if task.cancelled():
            return  # nobody is there any more
        if task.done():
            self._settle(flow, verdict, task.result())
        else:
            verdict.phase = Phase.READING

    async def decide_again(self, flow: HTTPFlow) -> None:
        """Settle a verdict that waited for the body; the layer has given it, or said why not."""
        verdict = _verdict(flow)
        body = verdict.body
        if verdict.phase is not Phase.READING or body is None or body.outcome is None:
            return
        verdict.phase = Phase.UNDECIDED
        outcome = await body.outcome
        content = await body.read(body.max_bytes) if isinstance(outcome, Forward) else None
        self._settle(flow, verdict, outcome, content)

    def _settle(
        self, flow: HTTPFlow, verdict: Verdict, outcome: object, content: bytes | None = None
    ) -> None:
        if isinstance(outcome, Respond):
            self._respond(flow, outcome)
            return
        if not isinstance(outcome, Forward):
            raise Undecided("no decision")
        upstream = outcome.upstream = self.destination(flow, outcome)
        if upstream.unix_path is not None:
            raise Undecided("an upstream on a unix socket")
        verdict.forward, verdict.note = outcome, outcome.note
        if outcome.finish.is_websocket and (verdict.framing or verdict.version != b"HTTP/1.1"):
            # RFC 6455 §4.1: a handshake has no body; its bytes would become the tunnel's.
            self._refuse(flow, "invalid_request", 400)
            return
        flow.request = build_forward(outcome, verdict, content)
        verdict.phase = Phase.FORWARD

    def destination(self, flow: HTTPFlow, forward: Forward) -> Upstream:
        """Return where a request goes: the decision's word, whatever the mode's."""
        del flow
        return forward.upstream

    # Answers of ours.

    def _wire(self, response: OwnResponse, request_id: str) -> WireResponse:
        if response.page is not None:
            return self.application.render(response, request_id)
        return WireResponse(response.status, response.headers, response.body)

    def _respond(self, flow: HTTPFlow, respond: Respond) -> None:
        verdict = _verdict(flow)
        request_id = verdict.head.request_id if verdict.head is not None else ""
        wire = self._wire(respond.response, request_id)
        flow.response = build_own_answer(
            wire,
            is_head=verdict.method == b"HEAD",
            closes=self.is_draining and verdict.version == b"HTTP/1.1",
        )
        verdict.note = respond.note
        verdict.sent_bytes = len(wire.body)
        verdict.phase = Phase.ANSWER

    def _refuse(self, flow: HTTPFlow, reason: str, status: int, detail: str = "") -> None:
        """Answer for what was found here, keeping what is known of the request."""
        verdict = _verdict(flow)
        head = verdict.head
        known = verdict.note
        respond = self.application.refuse(reason, status, head.request_id if head is not None else "", head)
        self._respond(flow, respond)
        if known is not None:
            verdict.note = Note(
                site=known.site,
                reason=reason,
                rule=known.rule,
                user=known.user,
                session_id=known.session_id,
                detail=detail or None,
            )

    def malformed(self, refusal: HeadRefused, peer: str) -> Response:
        """Build our answer to bytes that are no request."""
        self.application.observer.malformed(peer, refusal.code, refusal.detail)
        request_id = self._next_id()
        respond = self.application.refuse(refusal.code, refusal.status, request_id, None)
        wire = self._wire(respond.response, request_id)
        return build_own_answer(wire, is_head=False, closes=True)

    # The upstream's answer.

    def finish(self, flow: HTTPFlow) -> None:
        """Let of an upstream's answer pass what the core says."""
        verdict = _verdict(flow)
        if verdict.phase is not Phase.FORWARD or verdict.forward is None or flow.response is None:
            return
        status = flow.response.status_code
        fields = list(flow.response.headers.fields)
        try:
            validate_headers(flow.response)
        except ValueError as error:
            self._refuse(flow, "upstream_broken", 502, _of_upstream(verdict, str(error)))
            return
        answer = self.application.finish(verdict.forward.finish, status, fields)
        if not answer.is_acceptable or (status == _SWITCHING_PROTOCOLS and not answer.is_tunnel):
            detail = _of_upstream(verdict, f"unacceptable answer {status}")
            self._refuse(flow, "upstream_broken", 502, detail)
            return
        headers = [*answer.headers, *answer_framing(verdict, status, fields)]
        if answer.is_tunnel:
            headers += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        elif self.is_draining and verdict.version == b"HTTP/1.1":
            headers.append((b"Connection", b"close"))
        if not any(name.lower() == b"date" for name, _ in fields):
            # RFC 9110 §6.6.1: a recipient that has a clock adds what is missing.
            headers.append((b"Date", formatdate(self._clock(), usegmt=True).encode("ascii")))
        flow.response = build_answer(status, headers, None)

        def count(data: bytes) -> bytes:
            verdict.sent_bytes += len(data)
            return data

        flow.response.stream = count
        verdict.is_finished = True

    def fail(self, flow: HTTPFlow) -> None:
        """Answer what the layer could not have; report what has ended without an answer."""
        verdict = _verdict(flow)
        if verdict.failure is not None:
            reason, status = verdict.failure
            verdict.failure = None
            detail = flow.error.msg if flow.error is not None else ""
            self._refuse(flow, reason, status, _of_upstream(verdict, detail))
        else:
            self.report(flow, 0)

    # Reports.

    def report(self, flow: HTTPFlow, status: int) -> None:
        """Report a flow's end, once. Status 0: broken off."""
        verdict = verdict_of(flow)
        if verdict is None or verdict.is_reported:
            return
        verdict.is_reported = True
        if flow.websocket is None:
            self.open.pop(flow, None)
        if verdict.head is None or verdict.phase is Phase.UNTOUCHED:
            return
        note = verdict.note or Note(site="", reason="internal_error")
        if not status and verdict.ended_by is not None:
            note = Note(site=note.site, reason=verdict.ended_by, rule=note.rule, user=note.user)
        elif not status:
            note = Note(site=note.site, reason="client_gone", rule=note.rule, user=note.user)
        self.application.observer.request_done(
            verdict.head,
            note,
            status,
            verdict.sent_bytes,
            time.monotonic() - verdict.started,
            verdict.upstream_seconds,
        )

    def close(self, flow: HTTPFlow) -> None:
        """Forget a WebSocket that has ended."""
        self.open.pop(flow, None)

    def forget(self, client: Client) -> None:
        """Report what a client that is gone has left behind."""
        for flow in [flow for flow in self.open if flow.client_conn is client]:
            body = self.open[flow].body
            self.report(flow, 0)
            self.open.pop(flow, None)
            if body is not None and body.outcome is not None:
                body.outcome.cancel()

    # Leases.

    def overdue(self, is_blocked: Callable[[Client], bool]) -> list[EndNow]:
        """Return the ends that are due: leases that are over, upstreams that do not answer, bodies that drip.

        `is_blocked` tells of a client whether we do not read what it sends. Activity of WebSockets is told to
        the application on this occasion.
        """
        now, wall = time.monotonic(), self._clock()
        due: list[EndNow] = []
        for flow, verdict in tuple(self.open.items()):
            forward = verdict.forward
            if forward is None:
                continue
            limit = forward.upstream.response_seconds
            if verdict.upload is not None and verdict.upload.is_slow(
                now, self.limits, is_blocked=is_blocked(flow.client_conn)
            ):
                due.append(EndNow(flow, ("timeout", 408)))
            elif (
                limit is not None
                and verdict.waiting_since
                and not verdict.is_finished
                and now - verdict.waiting_since > limit
            ):
                due.append(EndNow(flow, ("upstream_timeout", 504)))
            elif forward.lease is not None and self._is_over(flow, verdict, forward.lease, now, wall):
                verdict.ended_by = "session_revoked" if wall < forward.lease.not_after else "session_expired"
                due.append(EndNow(flow))
        return due

    def _is_over(self, flow: HTTPFlow, verdict: Verdict, lease: Lease, now: float, wall: float) -> bool:
        if flow.websocket is not None:
            if verdict.is_active:
                verdict.is_active = False
                verdict.asked_at = now
                self.application.touch(lease.session_id)
            if lease.idle_seconds > 0 and now - verdict.asked_at >= lease.idle_seconds:
                return True
        elif now - verdict.started <= _LEASE_SECONDS:
            return False
        return wall >= lease.not_after or self.application.is_revoked(lease.session_id)


def _declared_length(verdict: Verdict) -> int:
    """Return how long a body says it is, 0 when it does not say."""
    lengths = [value for name, value in verdict.framing if name.lower() == b"content-length"]
    return int(lengths[0]) if lengths else 0


def _of_upstream(verdict: Verdict, detail: str) -> str:
    """Name the upstream: a site may have several, and whoever reads the line must see which one it was."""
    return f"{verdict.forward.upstream.name}: {detail}" if verdict.forward is not None else detail


def _verdict(flow: HTTPFlow) -> Verdict:
    verdict = verdict_of(flow)
    if verdict is None:
        raise Undecided("not through our layer")
    return verdict
