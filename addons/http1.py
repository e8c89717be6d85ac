"""HTTP/1 on both sides of mitmproxy, held to the rules of the express engine.

mitmproxy's parsers take more than RFC 9112 does, know no limits, answer a broken chunk by closing, and crash
at the first trailer or interim answer. So a head is read by the express engine's parser before mitmproxy sees
it, and chunks are decoded by the express engine's decoder, which checks trailers and drops them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import h11
from h11._readers import ChunkedReader
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestHeaders,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Connection, Http1Server, make_body_reader

from addons.messages import make_request, make_response
from sidecar.engines.express.answerhead import AnswerBroken, AnswerParser, ParsedAnswer
from sidecar.engines.express.bodies import BrokenBody, ChunkedBody
from sidecar.engines.express.requesthead import HeadRefused, RequestParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from h11._receivebuffer import ReceiveBuffer
    from mitmproxy.http import Response
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator

    from sidecar.core.http import HeaderPair
    from sidecar.core.runtime import Limits
    from sidecar.engines.express.answerhead import ParsedAnswer

__all__ = ["LINGER_SECONDS", "BodyUnwanted", "ClosedUnanswered", "StrictHttp1Client", "StrictHttp1Server"]

# nginx's lingering_timeout: how long a client that was refused may still send before it is cut off.
LINGER_SECONDS: Final = 5.0
_MAX_INTERIM: Final = 32
_SWITCHING_PROTOCOLS: Final = 101
_FIRST_FINAL: Final = 200
_BODILESS: Final = frozenset({b"HEAD", b"CONNECT"})
_CHUNKED: Final = (b"Transfer-Encoding", b"chunked")
_REASON_AT: Final = len(b"HTTP/1.1 200 ")
# One for all connections: what one upstream connection has said is known on the next.
_answers: Final = AnswerParser()


@dataclass
class BodyUnwanted(HttpEvent):
    """Tells a client's connection that the rest of a request's body is of no use."""


class ClosedUnanswered(ResponseProtocolError):
    """An upstream has closed without a byte of an answer."""


class _StrictChunks:
    """The express engine's chunk decoder in the form of h11's readers, which mitmproxy uses."""

    def __init__(self) -> None:
        self._body = ChunkedBody()

    def __call__(self, buffer: ReceiveBuffer) -> h11.Data | h11.EndOfMessage | None:
        """Decode what is in `buffer`. Raises h11.RemoteProtocolError when it is no chunk."""
        if self._is_done():
            return h11.EndOfMessage()
        data = bytes(buffer.maybe_extract_at_most(len(buffer)) or b"")
        try:
            payload, rest = self._body.feed(data)
        except BrokenBody as error:
            raise h11.RemoteProtocolError(str(error)) from error
        buffer += rest
        if payload:
            return h11.Data(data=payload)
        return h11.EndOfMessage() if self._is_done() else None

    def _is_done(self) -> bool:
        return self._body.is_done

    def read_eof(self) -> h11.Data:
        """Refuse an end that is none."""
        raise h11.RemoteProtocolError("closed before the last chunk")


def _be_strict(connection: Http1Connection) -> None:
    reader: object = connection.body_reader
    if isinstance(reader, ChunkedReader):
        connection.body_reader = _StrictChunks()  # type: ignore[assignment]  # has what is used of a reader


def _stripped(pairs: list[HeaderPair]) -> list[HeaderPair]:
    """Return fields without white space behind their values (RFC 9112 §5.1), which our parsers leave."""
    return [(name, value.rstrip(b" \t")) for name, value in pairs]


def _expect_body(connection: Http1Connection, length: int | None) -> None:
    """Have a connection read a body of `length` bytes next; None: chunks, -1: up to the close."""
    if length is None:
        connection.body_reader = _StrictChunks()  # type: ignore[assignment]  # has what is used of a reader
    else:
        connection.body_reader = make_body_reader(length)
    connection.state = connection.read_body


class StrictHttp1Server(Http1Server):
    """The client's side. `malformed` builds our answer to what is no request."""

    def __init__(
        self, context: Context, limits: Limits, malformed: Callable[[HeadRefused], Response]
    ) -> None:
        super().__init__(context)
        self._parser = RequestParser(limits)
        self._malformed = malformed
        self.head_since = 0.0

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Hand a head on when it is whole and right."""
        if isinstance(event, events.DataReceived):
            try:
                data = bytes(self.buf)
                end = self._parser.parse_first(data)
                if not end:
                    self.head_since = self.head_since or time.monotonic()
                    return
                self.head_since = 0.0
            except HeadRefused as refusal:
                yield from self._refuse(refusal)
                return
            if self._parser.target.startswith(b"/") and self._parser.method != b"CONNECT":
                self.buf.maybe_extract_at_most(end)
                yield from self._begin(event)
                return
            self.buf.maybe_extract_at_most(len(data) - len(data.lstrip(b"\r\n")))
        yield from super().read_headers(event)

    def _begin(self, event: events.DataReceived) -> CommandGenerator[None]:
        """Begin a request, as mitmproxy does, with what has been read; it need not be read a second time."""
        parser = self._parser
        self.request = make_request(
            host="",
            port=0,
            method=parser.method,
            scheme=b"",
            authority=b"",
            path=parser.target,
            http_version=b"HTTP/1.1" if parser.is_11 else b"HTTP/1.0",
            pairs=_stripped(parser.headers),
            content=None,
            started=time.time(),
        )
        length = None if parser.is_chunked else parser.length
        yield ReceiveHttp(RequestHeaders(self.stream_id, self.request, length == 0))
        _expect_body(self, length)
        yield from self.read_body(event)

    def time_out(self) -> CommandGenerator[None]:
        """Answer a head that did not arrive in time (RFC 9110 §15.5.9)."""
        refusal = HeadRefused(408, "the head came too slowly")
        refusal.code = "timeout"
        yield from self._refuse(refusal)

    @property
    def is_reading_head(self) -> bool:
        """Tell whether a head has begun to arrive; `head_since` says when (monotonic clock)."""
        return bool(self.buf) and self.state == self.read_headers

    def _refuse(self, refusal: HeadRefused) -> CommandGenerator[None]:
        """Answer, and end the connection: where the next request begins can't be known."""
        self.state = self.linger
        yield commands.SendData(self.conn, http1.assemble_response(self._malformed(refusal)))
        yield from self.close_softly()

    def close_softly(self) -> CommandGenerator[None]:
        """End our side; drop what still comes, for a while, so that the answer is not lost in a reset."""
        self.state = self.linger
        self.buf.maybe_extract_at_most(len(self.buf))
        yield commands.CloseTcpConnection(self.conn, half_close=True)
        yield commands.RequestWakeup(LINGER_SECONDS)

    def linger(self, event: events.Event) -> CommandGenerator[None]:
        """Drop what comes."""
        if isinstance(event, events.DataReceived):
            self.buf.maybe_extract_at_most(len(self.buf))
        else:
            yield commands.CloseConnection(self.conn)

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """Read strictly; a broken body is the client's fault, and is told so before the connection ends."""
        if not isinstance(event, events.DataReceived | events.ConnectionClosed):
            return
        _be_strict(self)
        for command in super().read_body(event):
            if isinstance(command, commands.CloseConnection) and isinstance(event, events.DataReceived):
                # mitmproxy would close before anybody can answer. The error follows, and its answer closes.
                self.state = self.linger
                yield commands.RequestWakeup(LINGER_SECONDS)
            else:
                yield command

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        """Send an answer; end the connection softly when its request's body is not wanted any more."""
        if not isinstance(event, BodyUnwanted):
            yield from super().send(event)
        elif not self.request_done and self.conn.state & ConnectionState.CAN_WRITE:
            yield from self.close_softly()

    def wait(self, event: events.Event) -> CommandGenerator[None]:
        """Wait for the answer; a client that ends its side is taken for gone, as mitmproxy does.

        Whether it still listens shows only when something is written to it.
        """
        if isinstance(event, events.DataReceived | events.ConnectionClosed):
            yield from super().wait(event)


class StrictHttp1Client(Http1Client):
    """The upstream's side: interim answers are dropped, heads bounded, chunks strict."""

    _has_spoken = False
    _is_last = False
    _interim = 0
    _version = b""

    @classmethod
    def take_over(cls, client: Http1Client) -> None:
        """Make a client of mitmproxy's one of ours, before it has read anything."""
        client.__class__ = cls
        client.state = client.read_headers

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Hand an answer's head on when it is whole and right."""
        if isinstance(event, events.DataReceived) and self.request is not None:
            self._has_spoken = True
            try:
                answer = self._read_answer()
            except AnswerBroken as broken:
                yield commands.CloseConnection(self.conn)
                yield ReceiveHttp(
                    ResponseProtocolError(self.stream_id or 0, broken.detail, ErrorCode.GENERIC_SERVER_ERROR)
                )
                return
            if answer is not None:
                yield from self._begin(answer, event)
            return
        if isinstance(event, events.ConnectionClosed) and self.stream_id and not self._has_spoken:
            if self.conn.state & ConnectionState.CAN_WRITE:
                yield commands.CloseConnection(self.conn)
            error = ClosedUnanswered(self.stream_id, "closed unanswered", ErrorCode.GENERIC_SERVER_ERROR)
            yield ReceiveHttp(error)
            return
        yield from super().read_headers(event)

    def _read_answer(self) -> ParsedAnswer | None:
        """Read the final answer's head; interim ones before it are dropped (RFC 9110 §15.2)."""
        while True:
            data = bytes(self.buf)
            read = _answers.parse(data)
            if read is None:
                return None
            answer, end = read
            self._version = data[: len(b"HTTP/1.1")]
            self.buf.maybe_extract_at_most(end)
            if answer.status >= _FIRST_FINAL or answer.status == _SWITCHING_PROTOCOLS:
                return answer
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise AnswerBroken("too many interim answers")

    def _begin(self, answer: ParsedAnswer, event: events.DataReceived) -> CommandGenerator[None]:
        """Begin an answer, as mitmproxy does, with what has been read."""
        size, self._is_last = self._measure(answer)
        pairs = _stripped(answer.headers)
        if answer.is_chunked:
            pairs.append(_CHUNKED)
        elif answer.length >= 0:
            pairs.append((b"Content-Length", b"%d" % answer.length))
        self.response = make_response(
            status=answer.status,
            reason=answer.line[_REASON_AT:-2],
            pairs=pairs,
            content=None,
            started=time.time(),
        )
        self.response.data.http_version = self._version
        yield ReceiveHttp(ResponseHeaders(self.stream_id or 0, self.response, size == 0))
        _expect_body(self, size)
        yield from self.read_body(event)

    def mark_done(self, *, request: bool = False, response: bool = False) -> CommandGenerator[None]:
        """End with this answer what can't be used again, whatever mitmproxy thinks of it."""
        if self._is_last and (request or self.request_done) and (response or self.response_done):
            yield commands.CloseConnection(self.conn)
            self.state = self.done
        else:
            yield from super().mark_done(request=request, response=response)

    def _measure(self, answer: ParsedAnswer) -> tuple[int | None, bool]:
        """Return how long the body is (None: chunks, -1: up to the close), and whether that is the last."""
        if answer.status == _SWITCHING_PROTOCOLS:
            return 0, False
        closes = not answer.keep_alive or self._interim > 0
        if not answer.has_body or (
            self.request is not None and self.request.data.method.upper() in _BODILESS
        ):
            # A body here, against the rules, may still be on its way (S53).
            return 0, closes or answer.is_chunked or answer.length > 0
        return (None if answer.is_chunked else answer.length), closes

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        """Begin anew with each request."""
        if isinstance(event, RequestHeaders):
            self._has_spoken = False
            self._interim = 0
        yield from super().send(event)

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """Read strictly."""
        _be_strict(self)
        yield from super().read_body(event)
