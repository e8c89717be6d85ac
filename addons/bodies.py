"""A request's body for the few flows of ours that read one (a callback by form_post, signing out)."""

from __future__ import annotations

import asyncio

from sidecar.core.errors import BadRequest

__all__ = ["FlowBody"]


class FlowBody:
    """An `application.BodyReader` whose body the proxy layer collects.

    `wanted` is done when the flow has asked; only then does the layer keep what comes, up to `max_bytes`.
    """

    __slots__ = ("_content", "max_bytes", "outcome", "wanted")

    def __init__(self) -> None:
        """Read nothing until asked."""
        self.wanted: asyncio.Event = asyncio.Event()
        self.max_bytes = 0
        self._content: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.outcome: asyncio.Task[object] | None = None

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body. Raises BadRequest when it is larger, broken or too slow."""
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
