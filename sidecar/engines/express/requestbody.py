"""The body of the request under way: read by nobody until somebody takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sidecar.engines.express.bodies import BrokenBody, ChunkedBody, LengthBody
from sidecar.engines.express.wire import CONTINUE

if TYPE_CHECKING:
    from sidecar.engines.express.bodies import Body
    from sidecar.engines.express.downstream import Downstream
    from sidecar.engines.express.requesthead import RequestParser

__all__ = ["BodySink", "RequestBody"]


class BodySink(Protocol):
    """Who takes a request's body."""

    def send_body(self, payload: bytes) -> None:
        """Take a piece."""

    def finish_body(self) -> None:
        """Take that it is complete."""


class RequestBody:
    """A body that is announced, and arrives as fast as its sink takes it.

    `length` is 0 for a chunked one. `progress` and `progress_at` are the sweep's: how many bytes had been
    `received` when it last found the body to come fast enough, and when that was.
    """

    __slots__ = (
        "_body",
        "_down",
        "_expects_continue",
        "_sink",
        "is_chunked",
        "length",
        "progress",
        "progress_at",
        "received",
    )

    def __init__(self, down: Downstream, length: int, *, is_chunked: bool, expects_continue: bool) -> None:
        """Be read by nobody."""
        self._down = down
        self._body: Body = ChunkedBody() if is_chunked else LengthBody(length)
        self._sink: BodySink | None = None
        self._expects_continue = expects_continue
        self.length = length
        self.is_chunked = is_chunked
        self.received = self.progress = 0
        self.progress_at = 0.0

    @classmethod
    def of(cls, down: Downstream, parser: RequestParser) -> RequestBody:
        """Return the body that the head just parsed announces."""
        return cls(
            down, parser.length, is_chunked=parser.is_chunked, expects_continue=parser.expects_continue
        )

    @property
    def is_taken(self) -> bool:
        """Tell whether somebody reads it."""
        return self._sink is not None

    def begin(self, sink: BodySink) -> bool:
        """Pass the body to `sink`: what is here, and from now on what arrives; True if more is to come."""
        self._sink = sink
        down = self._down
        data, down.buffer = down.buffer, b""
        if data:
            self.feed(data)
        elif self._expects_continue:
            # RFC 9110 §10.1.1: only now has somebody decided that the body is wanted.
            down.transport.write(CONTINUE)
        if down.body is not self:
            return False
        self.resume()
        return True

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        sink = self._sink
        if sink is None:
            self._down.hold(data)
            return
        self.received += len(data)
        try:
            payload, rest = self._body.feed(data)
        except BrokenBody as broken:
            self._down.break_body(broken.detail)
            return
        if payload:
            sink.send_body(payload)
        if self._body.is_done:
            self._sink = None
            self._down.body = None
            sink.finish_body()
            if rest:
                self._down.hold(rest)

    def pause(self) -> None:
        """Read no more for now."""
        self._down.pause_reading()

    def resume(self) -> None:
        """Read on; the time that its sink was busy is not held against the client."""
        if self._sink is not None:
            self.progress = self.received
            self.progress_at = self._down.context.now
            self._down.resume_reading()

    def skip(self, data: bytes) -> bytes | None:
        """Throw an unwanted body away; return what follows it, None unless all of it is in `data`."""
        try:
            _, rest = self._body.feed(data)
        except BrokenBody:
            return None
        return rest if self._body.is_done else None
