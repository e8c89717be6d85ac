"""A request's body for the few flows that read one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.core.errors import BadRequest
from sidecar.engines.express.requestbody import RequestBody

if TYPE_CHECKING:
    from sidecar.engines.express.downstream import Downstream

__all__ = ["FlowBody"]


class FlowBody:
    """Reads the whole body into memory, up to what the flow allows; an `application.BodyReader`."""

    __slots__ = ("_done", "_down", "_max_bytes", "_pieces", "_size", "content")

    def __init__(self, down: Downstream) -> None:
        """Read nothing until asked."""
        self._down = down
        self._done: asyncio.Future[None] | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._max_bytes = 0
        self.content: bytes | None = None

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body. Raises BadRequest when it is larger, broken or too slow."""
        if self.content is not None:
            return self.content
        down = self._down
        if down.body is not None:
            if down.body.length > max_bytes:
                raise BadRequest("too_large", "the body is larger than this endpoint reads")
            self._max_bytes = max_bytes
            self._done = down.context.loop.create_future()
            down.body.begin(self)
            await self._done
        self.content = b"".join(self._pieces)
        return self.content

    def put_back(self) -> None:
        """Give a body that was read back to the request, which is forwarded after all."""
        down = self._down
        if self.content is None or not down.framing:
            return
        length = len(self.content)
        down.framing = b"Content-Length: %d\r\n" % length
        if length:
            down.body = RequestBody(down, length, is_chunked=False, expects_continue=False)
            down.buffer = self.content + down.buffer

    def send_body(self, payload: bytes) -> None:
        """Keep a piece."""
        self._size += len(payload)
        if self._size > self._max_bytes:
            self.fail(BadRequest("too_large", "the body is larger than this endpoint reads"))
        else:
            self._pieces.append(payload)

    def finish_body(self) -> None:
        """Give the flow what it waits for."""
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def fail(self, error: BadRequest) -> None:
        """Tell the flow why it gets nothing."""
        self._pieces.clear()
        self._down.keep_alive = False
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
