"""One forwarded request: its body on the way up, its answer on the way down, and every end it can have.

Never another's answer, never half an answer: a connection goes back to its pool only after an answer that
was complete, unambiguous, alone and not early; an answer that breaks off is broken off downstream; only a
request that is safe and has no body is sent again, once, and only when its pooled connection had closed
before any byte of the answer (RFC 9110 §9.2.1, RFC 9112 §9.3.1).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.engines.express.answerhead import AnswerBroken
from sidecar.engines.express.bodies import (
    LAST_CHUNK,
    BrokenBody,
    ChunkedBody,
    LengthBody,
    UntilCloseBody,
    encode_chunk,
)
from sidecar.engines.express.tunnel import Tunnel
from sidecar.engines.express.wire import (
    CHUNKED,
    CONNECTION_CLOSE,
    CONNECTION_KEEP_ALIVE,
    UPGRADE,
    build_head,
    build_request,
    build_tail,
)

if TYPE_CHECKING:
    import asyncio

    from sidecar.core.decision import Forward
    from sidecar.core.http import HeaderPair
    from sidecar.engines.express.answerhead import ParsedAnswer
    from sidecar.engines.express.bodies import Body
    from sidecar.engines.express.downstream import Downstream
    from sidecar.engines.express.pool import Pool
    from sidecar.engines.express.upstream import UpstreamConnection

__all__ = ["Exchange"]

_monotonic = time.monotonic

_SAFE_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_MAX_INFORMATIONAL: Final = 32
# RFC 8297 §2: what browsers act upon before the answer. Everything else of a 1xx head would pass by the
# core's word on answers (cookies of ours, say), so it does not pass.
_EARLY_FIELDS: Final = frozenset({b"link", b"content-security-policy"})


class Exchange:
    """The state of one forwarded request.

    `since` is when it was to be sent, `waiting_since` when it was complete (monotonic clock).
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_has_retried",
        "_informational",
        "_is_chunked",
        "_is_reusable",
        "_pool",
        "_sends_chunked",
        "_status",
        "_task",
        "_upstream_seconds",
        "connection",
        "down",
        "forward",
        "has_begun",
        "sent_bytes",
        "since",
        "waiting_since",
    )

    def __init__(self, down: Downstream, forward: Forward, now: float) -> None:
        """Belong to `down`, until the end of one of the two."""
        self.down = down
        self.forward = forward
        self.since = self.waiting_since = now
        self.connection: UpstreamConnection | None = None
        self.has_begun = False
        self._pool: Pool = down.context.pools.find(forward.upstream)
        self._task: asyncio.Task[None] | None = None
        self._body: Body | None = None
        self._buffer = b""
        self._is_chunked = False
        self._is_reusable = False
        self._has_retried = False
        self._sends_chunked = False
        self._informational = 0
        self._status = 0
        self.sent_bytes = 0
        self._upstream_seconds = 0.0

    # The request, on its way up.

    def start(self) -> None:
        """Send the head, as soon as there is a connection."""
        connection = self._pool.take(self.since)
        if connection is not None:
            self._send(connection)
        else:
            self._task = self._pool.connect(self)

    def connected(self, connection: UpstreamConnection) -> None:
        """Go on with the new connection."""
        self._task = None
        self._send(connection)

    def connect_failed(self, reason: str, status: int, detail: str) -> None:
        """End: there is no connection to be had."""
        self._task = None
        self.fail(reason, status, detail)

    def _send(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        connection.exchange = self
        down = self.down
        forward = self.forward
        if down.is_write_paused:
            connection.transport.pause_reading()
        known = down.known
        if known is None or forward.finish.is_websocket:
            tail = build_tail(forward, UPGRADE if forward.finish.is_websocket else down.framing)
        elif known.kept is forward.kept and known.edits is forward.edits:
            tail = known.tail
        else:
            tail = known.tail = build_tail(forward, known.framing)
            known.kept, known.edits = forward.kept, forward.edits
        connection.transport.write(build_request(forward.method, forward.target, tail))
        if down.body is not None:
            self._sends_chunked = down.body.is_chunked
            if down.body.begin(self) and self.connection is connection:
                connection.begin_upload()

    def send_body(self, payload: bytes) -> None:
        """Pass a piece of the request's body on."""
        if self.connection is not None:
            self.connection.transport.write(encode_chunk(payload) if self._sends_chunked else payload)

    def finish_body(self) -> None:
        """Tell the upstream that the request is complete."""
        self.waiting_since = self.down.context.now
        if self.connection is not None and self._sends_chunked:
            self.connection.transport.write(LAST_CHUNK)

    # The answer, on its way down.

    def answer_data(self, data: bytes) -> None:
        """Take what the upstream sent."""
        body = self._body
        if body is None:
            self._read_head(data)
            return
        try:
            payload, surplus = body.feed(data)
        except BrokenBody as broken:
            self.fail("upstream_broken", 502, broken.detail or broken.code)
            return
        if payload:
            self._write(encode_chunk(payload) if self._is_chunked else payload)
        if body.is_done:
            self._complete(surplus)

    def _read_head(self, data: bytes) -> None:
        """Read the answer's head, and the 1xx heads before it (RFC 9110 §15.2)."""
        if self._buffer:
            data = self._buffer + data
        down = self.down
        context = down.context
        try:
            read = context.answer_parser.parse(data)
            while read is not None and read[0].status < 200 and read[0].status != 101:  # noqa: PLR2004
                self._pass_informational(read[0])
                data = data[read[1] :]
                read = context.answer_parser.parse(data)
        except AnswerBroken as broken:
            self.fail("upstream_broken", 502, broken.detail)
            return
        if read is None:
            self._buffer = data
            return
        answer, end = read
        rest = data[end:]
        self._status = answer.status
        finish = self.forward.finish
        if (
            answer.finish is finish
            and answer.length == len(rest)
            and down.is_plain
            and not self._informational
            and not context.is_draining
        ):
            # Most short answers: known, all of it here, and both connections go on.
            now = _monotonic()
            self._upstream_seconds = now - self.since
            self._is_reusable = self.has_begun = True
            self._write(answer.plain + rest)
            self._finish(b"", now)
            return
        if answer.status == 101:  # noqa: PLR2004
            self._switch(answer, rest)
            return
        passed = context.finish(finish, answer.status, answer.headers)
        if passed.is_acceptable:
            answer.prepare(finish, passed.headers)
            self._answer(answer, passed.headers, rest)
        else:
            self.fail("upstream_broken", 502, f"unacceptable answer {answer.status}")

    def _answer(self, answer: ParsedAnswer, headers: list[HeaderPair], rest: bytes) -> None:
        """Decide the framing of the answer, and send its head with the first of its body."""
        down = self.down
        context = down.context
        now = _monotonic()
        self._upstream_seconds = now - self.since
        # An early answer costs both connections: where the request ends can't be known any more.
        self._is_reusable = answer.keep_alive and down.body is None and not self._informational
        if down.body is not None or context.is_draining:
            down.keep_alive = False
        length = answer.length
        is_complete = True
        if not answer.has_body or down.is_head:
            payload, surplus = b"", rest
            # A body here, against the rules, may still be on its way (S53). HEAD tells what GET would.
            self._is_reusable &= length <= 0 and not answer.is_chunked and not down.is_head
            framing = b"Content-Length: %d\r\n" % length if length >= 0 and down.is_head else b""
        elif length == len(rest):
            payload, surplus = rest, b""
            framing = b"Content-Length: %d\r\n" % length
        else:
            body = self._body = self._expect_body(length, is_chunked=answer.is_chunked)
            try:
                payload, surplus = body.feed(rest)
            except BrokenBody as broken:
                self.fail("upstream_broken", 502, broken.detail)
                return
            is_complete = body.is_done
            framing = b"Content-Length: %d\r\n" % length if length >= 0 else self._frame_unknown()
            if self._is_chunked:
                payload = (encode_chunk(payload) if payload else b"") + (LAST_CHUNK if is_complete else b"")
        if not answer.has_date:
            framing += context.date
        if not down.keep_alive:
            framing += CONNECTION_CLOSE
        elif not down.is_11:
            framing += CONNECTION_KEEP_ALIVE
        self.has_begun = True
        self._write(build_head(answer.line, headers, framing) + payload)
        if is_complete:
            self._finish(surplus, now)

    def _expect_body(self, length: int, *, is_chunked: bool) -> Body:
        """Return the framing of the upstream's body (RFC 9112 §6.3)."""
        if length >= 0:
            return LengthBody(length)
        if is_chunked:
            return ChunkedBody()
        self._is_reusable = False
        return UntilCloseBody()

    def _frame_unknown(self) -> bytes:
        """Frame an answer whose length nobody knows: chunked, or for HTTP/1.0 up to the close."""
        self._is_chunked = self.down.is_11
        if self._is_chunked:
            return CHUNKED
        self.down.keep_alive = False
        return b""

    def _write(self, data: bytes) -> None:
        self.sent_bytes += len(data)
        self.down.transport.write(data)

    def _pass_informational(self, answer: ParsedAnswer) -> None:
        """Pass a 1xx on, but for 100: that one is for us, who have answered Expect already."""
        self._informational += 1
        if self._informational > _MAX_INFORMATIONAL:
            raise AnswerBroken("too many 1xx answers")
        if answer.status != 100 and self.down.is_11:  # noqa: PLR2004
            fields = [pair for pair in answer.headers if pair[0].lower() in _EARLY_FIELDS]
            self.down.transport.write(build_head(answer.line, fields, b""))

    def _switch(self, answer: ParsedAnswer, rest: bytes) -> None:
        """Become a tunnel, if the core says that this 101 may."""
        context = self.down.context
        passed = context.finish(self.forward.finish, 101, answer.headers)
        connection = self.connection
        if not passed.is_tunnel or not passed.is_acceptable or connection is None:
            self.fail(
                "upstream_broken", 502, "101 to a request that asked for no WebSocket, or not for this one"
            )
            return
        self._status = 101
        self._upstream_seconds = _monotonic() - self.since
        self._write(build_head(answer.line, passed.headers, UPGRADE))
        self.connection = connection.exchange = None
        down = self.down
        leftover = down.become_tunnel(self.forward.note, self.sent_bytes, self._upstream_seconds)
        tunnel = Tunnel(context, self.forward.lease, down.transport, connection.transport)
        tunnel.start(leftover, rest, is_client_slow=down.is_write_paused)

    # The ends.

    def _complete(self, surplus: bytes) -> None:
        """End after the last byte of a body that was framed by the upstream."""
        if self._is_chunked:
            self._write(LAST_CHUNK)
        self._finish(surplus, _monotonic())

    def _finish(self, surplus: bytes, now: float) -> None:
        """Let go of the connection, back to its pool if nothing speaks against it, and of the downstream."""
        down = self.down
        connection = self.connection
        self.connection = None
        if connection is not None:
            connection.exchange = None
            connection.end_upload()
            if down.is_write_paused:
                connection.transport.resume_reading()
            if (
                self._is_reusable
                and not surplus
                and connection.is_open
                and (not down.framing or connection.transport.get_write_buffer_size() == 0)
            ):
                self._pool.give_back(connection, now)
            else:
                connection.abort()
        down.answered(self.forward.note, self._status, self.sent_bytes, now, self._upstream_seconds)
        down.proceed()

    def upstream_lost(self, *, is_clean: bool) -> None:
        """Take that the upstream has closed: an end, a reason to ask again, or a broken answer."""
        connection = self.connection
        if isinstance(self._body, UntilCloseBody) and is_clean:
            self._complete(b"")
        elif (
            connection is not None
            and connection.is_reused
            and not self._has_retried
            and not (self.has_begun or self._buffer or self._informational)
            and not self.down.framing
            and self.forward.method in _SAFE_METHODS
        ):
            self._has_retried = True
            self.drop()
            self._task = self._pool.connect(self)
        else:
            self.fail("upstream_broken", 502, "closed before its answer was complete")

    def fail(self, reason: str, status: int, detail: str) -> None:
        """End with an answer of ours, or break off what has begun: never a clean end to half an answer."""
        self.drop()
        # A site may have several upstreams: whoever reads the line must see which one it was.
        named = f"{self.forward.upstream.name}: {detail}" if reason.startswith("upstream_") else detail
        note = replace(self.forward.note, reason=reason, detail=named)
        if self.has_begun:
            self.down.break_off(note, self.sent_bytes, self._upstream_seconds)
            return
        self.down.refuse(reason, status, note)
        self.down.proceed()

    def defect(self) -> None:
        """End after an exception that nobody expected (being handled by the caller)."""
        self.drop()
        self.down.defect()

    def cancel(self, reason: str) -> None:
        """End because the downstream has gone, or must go: `reason` is for the access line."""
        self.drop()
        note = replace(self.forward.note, reason=reason)
        self.down.report(note, 0, self.sent_bytes, self._upstream_seconds)

    def drop(self) -> None:
        """Close the upstream connection, or stop opening it."""
        connection = self.connection
        self.connection = None
        if connection is not None:
            connection.abort()
        if self._task is not None:
            self._task.cancel()
            self._task = None
