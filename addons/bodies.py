"""A request's body: for the few flows of ours that read one (a callback by form_post), or on its way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.core.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.http import HeaderPair
    from sidecar.core.runtime import Limits

__all__ = ["FlowBody", "Upload"]


class FlowBody:
    """An `application.BodyReader` whose body the proxy layer collects.

    `wanted` is done when the flow has asked; only then does the layer keep what comes, up to `max_bytes`.
    """

    __slots__ = ("_content", "_declared", "max_bytes", "outcome", "wanted")

    def __init__(self, declared: int = 0) -> None:
        """Read nothing until asked. `declared` is how long the body says it is, in bytes."""
        self._declared = declared
        self.wanted: asyncio.Event = asyncio.Event()
        self.max_bytes = 0
        self._content: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.outcome: asyncio.Task[object] | None = None

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body. Raises BadRequest when it is larger, broken or too slow."""
        if self._declared > max_bytes:
            raise BadRequest("too_large", "the body is larger than this endpoint reads")
        self.max_bytes = max_bytes
        self.wanted.set()
        content = await self._content
        if len(content) > max_bytes:
            raise BadRequest("too_large", "the body is larger than this endpoint reads")
        return content

    def give(self, content: bytes) -> None:
        """Give the flow what has arrived."""
        if not self._content.done():
            self._content.set_result(content)

    def fail(self, reason: str, detail: str) -> None:
        """Tell the flow why it gets nothing."""
        if not self._content.done():
            self._content.set_exception(BadRequest(reason, detail))
            # Whoever waits gets it; nobody may be waiting any more.
            self._content.exception()


class Upload:
    """A body that is passed on: as large as it likes, as long as it keeps a rate (S56).

    And as long as its head says in `framing`: what is beyond that would be a next request to an upstream of
    HTTP/1. Asked of HTTP/2 and 3 (RFC 9113 §8.1.1, RFC 9114 §4.1.2); HTTP/1 reads by it.
    """

    __slots__ = ("_declared", "_progress", "_progress_at", "received")

    def __init__(self, now: float, framing: Iterable[HeaderPair] = (), version: bytes = b"") -> None:
        """Begin; `now` is on the monotonic clock."""
        fields = framing if version in {b"HTTP/2.0", b"HTTP/3"} else ()
        self._declared = next((int(value) for name, value in fields if name == b"content-length"), None)
        self.received = 0
        self._progress = 0
        self._progress_at = now

    def is_wrong(self, *, at_end: bool) -> bool:
        """Tell whether it is longer than its head says, or, `at_end`, shorter."""
        declared = self._declared
        return declared is not None and (self.received > declared or (at_end and self.received < declared))

    def is_slow(self, now: float, limits: Limits, *, is_blocked: bool) -> bool:
        """Tell whether it drips. While we do not read (`is_blocked`), it is not the client who is slow."""
        seconds = now - self._progress_at
        if not is_blocked:
            if seconds < limits.body_grace_seconds:
                return False
            if self.received - self._progress < limits.body_min_rate * seconds:
                return True
        self._progress = self.received
        self._progress_at = now
        return False
