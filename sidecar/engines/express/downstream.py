"""One accepted connection: its requests one after the other, each answered before the next is read.

What a client pipelines is kept in `buffer`, where reading pauses. Nothing here decides: a head goes to the
application, and what comes back is carried out.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.core.decision import Flow, Forward, Note, Respond
from sidecar.core.errors import BadRequest
from sidecar.core.http import RECURS, RequestHead
from sidecar.engines.express.connection import CLOSING, DECIDING, FORWARDING, HEAD, LINGERING, Connection
from sidecar.engines.express.exchange import Exchange
from sidecar.engines.express.flowbody import FlowBody
from sidecar.engines.express.requestbody import RequestBody
from sidecar.engines.express.requesthead import HeadRefused, KnownFields
from sidecar.engines.express.wire import CONNECTION_CLOSE, CONNECTION_KEEP_ALIVE, build_response

if TYPE_CHECKING:
    from sidecar.core.http import Response
    from sidecar.engines.express.context import Context
    from sidecar.engines.express.requesthead import RequestParser

__all__ = ["Downstream"]

_monotonic = time.monotonic

# How many pipelined requests are served before other connections have their turn.
_MAX_TURN: Final = 16


class Downstream(Connection):
    """The protocol object of one downstream connection.

    `head` is None between requests, `started` is when it arrived (monotonic clock); `body` is None when there
    is none, or all of it has been read. `is_plain`: there is no body, but one in the answer, in HTTP/1.1, and
    the connection is kept. `recalls`: fields are looked up among those of the peer's other connections too.
    """

    __slots__ = (
        "_reader",
        "_task",
        "body",
        "exchange",
        "framing",
        "head",
        "is_11",
        "is_head",
        "is_plain",
        "keep_alive",
        "known",
        "recalls",
        "started",
    )

    def __init__(self, context: Context) -> None:
        """Begin without a request."""
        super().__init__(context)
        self.head: RequestHead | None = None
        self.body: RequestBody | None = None
        self.exchange: Exchange | None = None
        self.known: KnownFields | None = None
        self.framing = b""
        self.started = 0.0
        self.is_11 = self.keep_alive = True
        self.is_head = self.is_plain = self.recalls = False
        self._reader: FlowBody | None = None
        self._task: asyncio.Task[None] | None = None

    # What the loop calls.

    def enter(self) -> None:
        """Enter the set of open connections."""
        self.context.connection_made(self)

    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
        try:
            if self.phase == HEAD and not self.is_write_paused:
                if self.buffer:
                    data = self.buffer + data
                if self._read_head(data) and self.buffer:
                    self.proceed()
            else:
                self._take_more(data)
        except Exception:  # noqa: BLE001  the outermost edge: a defect ends this connection and no other
            self.defect()

    def eof_received(self) -> bool:
        """Take that the client sends no more: it may still wait for its answer."""
        try:
            return self._take_eof()
        except Exception:  # noqa: BLE001  the outermost edge
            self.defect()
            return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """End whatever is under way; a flow's shared work goes on without us."""
        self.phase = CLOSING
        self.buffer = b""
        try:
            self._give_up("client_gone")
        except Exception:  # noqa: BLE001  the outermost edge
            self.context.observer.defect("express", "")
        self.context.downstreams.discard(self)
        self.context.connection_gone()

    def pause_writing(self) -> None:
        """Stop reading the answer: the client does not take it as fast as it comes."""
        self.is_write_paused = True
        exchange = self.exchange
        if exchange is not None and exchange.connection is not None:
            exchange.connection.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read the answer on; then serve what has been pipelined."""
        self.is_write_paused = False
        exchange = self.exchange
        if exchange is not None and exchange.connection is not None:
            exchange.connection.transport.resume_reading()
        self._take_turn()

    def _take_turn(self) -> None:
        try:
            self.proceed()
        except Exception:  # noqa: BLE001  the outermost edge
            self.defect()

    # Reading.

    def proceed(self) -> None:
        """Serve what has been buffered, one request after the other, and read on."""
        served = 0
        while self.phase == HEAD and self.buffer and not self.is_write_paused:
            if served == _MAX_TURN:
                # Others are waiting: a client that pipelines has its turn again after them.
                self.pause_reading()
                self.context.loop.call_soon(self._take_turn)
                return
            served += 1
            data, self.buffer = self.buffer, b""
            if not self._read_head(data, is_pipelined=True):
                break
        if self.phase == HEAD and not self.is_write_paused:
            if self.is_half_closed:
                self.close_idle()
            else:
                self.resume_reading()

    def _read_head(self, data: bytes, *, is_pipelined: bool = False) -> bool:
        """Read one head from `data` and act on it; False when more is needed."""
        context = self.context
        parser = context.request_parser
        known = self.known
        line = None if known is None else parser.parse_again(data, known)
        if line is None and self.recalls and (found := context.known_heads.recall(parser, data, self.peer)):
            known, line = found
            self.known = known
            self.is_11, self.keep_alive, self.framing = True, True, known.framing  # as all that is known
        if known is not None and line is not None:
            # Framing and keep-alive are still as they were when `known` was learned.
            self.buffer = b""
            self.started = _monotonic()
            method, target = line
            headers = known.headers
        else:
            try:
                end = parser.parse_first(data) if is_pipelined else parser.parse(data)
            except HeadRefused as refusal:
                self._refuse_head(refusal)
                return True
            if not end:
                self.keep_beginning(data)
                return False
            self.started = _monotonic()
            self.buffer = data[end:]
            known = self.known = parser.learn(data) if end == len(data) else None
            method, target, headers = parser.method, parser.target, parser.headers
            self._take_framing(parser)
        memo = None if known is None else known.memo
        self.is_head = method == b"HEAD"
        self.is_plain = known is not None and not self.is_head
        self.head = head = RequestHead(
            method, target, headers, self.peer, context.next_id(), self.is_tls, memo
        )
        decision = context.decide(head)
        if line is None and known is not None and RECURS in known.memo:
            self.recalls = True
            context.known_heads.keep(known, self.peer)
        if isinstance(decision, Forward):
            self._forward(decision, self.started)
        elif isinstance(decision, Respond):
            self.respond(decision)
        else:
            self._decide_later(decision)
        return True

    def _take_framing(self, parser: RequestParser) -> None:
        """Take over how the request that was just parsed is framed, and how it is to be answered."""
        self.is_11 = parser.is_11
        self.keep_alive = parser.keep_alive
        self.framing = parser.framing
        if parser.length or parser.is_chunked:
            self.body = RequestBody.of(self, parser)

    def _take_more(self, data: bytes) -> None:
        """Take what arrives while a request is under way, or after the last one."""
        if self.body is not None:
            self.body.feed(data)
        elif self.phase == LINGERING:
            self.discard(data)
        elif self.phase != CLOSING:
            self.hold(data)

    def _take_eof(self) -> bool:
        """Return whether the connection stays open for writing.

        RFC 9112 §9.6: a client may close its half; what it has asked for is answered all the same.
        """
        self.is_half_closed = True
        self.progress_at = self.context.now
        if self.body is not None:
            self.break_body("the client ended before its body did")
        if self.is_tls:
            return False  # a TLS connection has no halves
        if self.phase == HEAD:
            return bool(self.buffer) and self.is_write_paused
        return self.phase in {DECIDING, FORWARDING}

    def break_body(self, detail: str, *, status: int = 400, reason: str = "invalid_request") -> None:
        """Take that the body can't be read to its end: the client's fault, blamed on nobody else (S52)."""
        self.keep_alive = False
        if self.exchange is not None:
            self.exchange.fail(reason, status, detail)
        elif self._reader is not None:
            self._reader.fail(BadRequest(reason, detail))

    # Deciding.

    def _forward(self, forward: Forward, now: float) -> None:
        if self.body is not None and forward.finish.is_websocket:
            # RFC 6455 §4.1: a handshake has no body; its bytes would become the tunnel's.
            self.refuse("invalid_request", 400, replace(forward.note, reason="invalid_request"))
            return
        self.phase = FORWARDING
        self.exchange = exchange = Exchange(self, forward, now)
        exchange.start()

    def _decide_later(self, flow: Flow) -> None:
        self.phase = DECIDING
        self._reader = FlowBody(self)
        # Eager: a flow that need not wait is over before this returns.
        task = asyncio.Task(self._carry_out(flow, self._reader), loop=self.context.loop, eager_start=True)
        self._task = None if task.done() else task

    async def _carry_out(self, flow: Flow, reader: FlowBody) -> None:
        try:
            outcome = await self.context.application.run(flow, reader)
            self._task = self._reader = None
            if isinstance(outcome, Forward):
                reader.put_back()
                self._forward(outcome, _monotonic())
            else:
                self.respond(outcome)
            self.proceed()
        except Exception:  # noqa: BLE001  the outermost edge of this task
            self.defect()

    # Answering.

    def respond(self, respond: Respond) -> None:
        """Send an answer of ours."""
        self._skip_body()
        sent = self._write_response(respond.response, self.head.request_id if self.head else "")
        self.answered(respond.note, respond.response.status, sent, _monotonic(), 0.0)

    def refuse(self, reason: str, status: int, note: Note) -> None:
        """Answer for what was found here; `note` tells what is known."""
        head = self.head
        respond = self.context.application.refuse(reason, status, head.request_id if head else "", head)
        self.respond(Respond(respond.response, note))

    def _refuse_head(self, refusal: HeadRefused) -> None:
        """Answer what is no request, and end the connection: where the next one begins can't be known."""
        context = self.context
        context.observer.malformed(self.peer, refusal.code, refusal.detail)
        request_id = context.next_id()
        self.keep_alive = self.is_head = False
        self.buffer = b""
        respond = context.application.refuse(refusal.code, refusal.status, request_id, None)
        self._write_response(respond.response, request_id)
        self.linger()

    def time_out_head(self) -> None:
        """Answer a head that did not arrive in time (RFC 9110 §15.5.9)."""
        refusal = HeadRefused(408, "the head came too slowly")
        refusal.code = "timeout"
        self._refuse_head(refusal)

    def _skip_body(self) -> None:
        """Throw an unwanted body away if it is here; else the connection ends with this answer."""
        if self.body is None:
            return
        rest = self.body.skip(self.buffer) if self.keep_alive else None
        if rest is None:
            self.keep_alive = False
        else:
            self.body = None
            self.buffer = rest

    def _write_response(self, response: Response, request_id: str) -> int:
        """Write an answer of ours with its framing; return its size."""
        context = self.context
        is_kept = self.keep_alive and not context.is_draining
        known = self.known if self.is_plain and is_kept else None
        if known is not None and (answer := known.recall_answer(response)) is not None:
            data = answer[0] + context.date + answer[1]
            self.transport.write(data)
            return len(data)
        wire = response if response.page is None else context.application.render(response, request_id)
        connection = (b"" if self.is_11 else CONNECTION_KEEP_ALIVE) if is_kept else CONNECTION_CLOSE
        framing = context.date + connection
        data = build_response(wire.status, wire.headers, wire.body, framing, is_head=self.is_head)
        self.transport.write(data)
        return len(data)

    def answered(self, note: Note, status: int, sent_bytes: int, now: float, upstream_seconds: float) -> None:
        """Take that the answer is complete: report it, and wait for the next request or end."""
        head = self.head
        self.head = self.exchange = None
        context = self.context
        if self.keep_alive and not context.is_draining:
            self.phase = HEAD
            self.since = context.now
        elif self.body is None and not self.buffer:
            self.close_idle()
        else:
            self.body = None
            self.linger()
        if head is not None:
            context.request_done(head, note, status, sent_bytes, now - self.started, upstream_seconds)

    def report(self, note: Note, status: int, sent_bytes: int, upstream_seconds: float) -> None:
        """Report the request under way as ended, complete or not."""
        head = self.head
        self.head = self.exchange = None
        if head is not None:
            seconds = _monotonic() - self.started
            self.context.request_done(head, note, status, sent_bytes, seconds, upstream_seconds)

    # The ends.

    def become_tunnel(self, note: Note, sent_bytes: int, upstream_seconds: float) -> bytes:
        """Leave the connection to a tunnel; return what has arrived behind the head."""
        self.report(note, 101, sent_bytes, upstream_seconds)
        self.context.downstreams.discard(self)
        self.phase = CLOSING
        leftover, self.buffer = self.buffer, b""
        return leftover

    def break_off(self, note: Note, sent_bytes: int, upstream_seconds: float) -> None:
        """Break an answer off that has begun, so that nobody takes it for complete."""
        self.report(note, 0, sent_bytes, upstream_seconds)
        self.reset()

    def end(self, reason: str) -> None:
        """End at once, whatever is under way."""
        self._give_up(reason)
        self.reset()

    def _give_up(self, reason: str) -> None:
        """End the exchange or the flow under way, and report it."""
        if self.exchange is not None:
            self.exchange.cancel(reason)
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.report(Note(site="", reason=reason), 0, 0, 0.0)

    def defect(self) -> None:
        """Answer 500 to an exception that nobody expected (being handled by the caller), and close."""
        head = self.head
        self.context.observer.defect("express", head.request_id if head is not None else "")
        has_begun = self.exchange is not None and self.exchange.has_begun
        if self.exchange is not None:
            self.exchange.drop()
        self.keep_alive = False
        try:
            if head is None or has_begun:
                self.end("internal_error")
            else:
                self.refuse("internal_error", 500, Note(site="", reason="internal_error"))
        except Exception:  # noqa: BLE001  the way to say it is broken too
            self.context.observer.defect("express", "")
            self.reset()
