"""A WebSocket after its 101: two byte streams with back-pressure, a lease, and an orderly end.

Each side has a protocol object of its own in place of the one that spoke HTTP. Bytes pass as they come;
only frame headers are looked at, so that a close frame can be put in at a frame boundary.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from sidecar.engines.express.frames import FrameTracker, build_going_away

if TYPE_CHECKING:
    from sidecar.core.decision import Lease
    from sidecar.engines.express.context import Context

__all__ = ["Tunnel"]

# How long both peers have to answer a close frame, and to end the frame that stands before it.
_CLOSING_SECONDS: Final = 5.0


class _Side(asyncio.Protocol):
    """One end of the tunnel. `frames` follows what this side sends; `was_told` that it was sent a close."""

    __slots__ = ("_tunnel", "frames", "is_server", "other", "transport", "was_told")

    other: _Side

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, *, is_server: bool) -> None:
        self._tunnel = tunnel
        self.transport = transport
        self.is_server = is_server
        self.frames = FrameTracker()
        self.was_told = False

    def data_received(self, data: bytes) -> None:
        """Pass on what this side sent."""
        self._tunnel.is_active = True
        try:
            self._pass_on(data)
        except Exception:  # noqa: BLE001  the outermost edge: a defect ends this tunnel and no other
            self._tunnel.defect()

    def _pass_on(self, data: bytes) -> None:
        """Pass `data` on, up to where the other side is told to go."""
        other = self.other
        if other.was_told:
            self.frames.scan(data)
            self._tunnel.check_closed()
        elif self._tunnel.is_ending:
            end = self.frames.scan(data, until_boundary=True)
            other.transport.write(data[:end])
            if self.frames.is_at_boundary:
                other.tell()
                self.frames.scan(data[end:])
                self._tunnel.check_closed()
        else:
            self.frames.scan(data)
            other.transport.write(data)

    def tell(self) -> None:
        """Send this side a close frame; nothing of the other's follows (RFC 6455 §5.5.1)."""
        if not self.was_told:
            self.was_told = True
            if not self.other.frames.has_closed:
                self.transport.write(build_going_away(secrets.token_bytes(4) if self.is_server else b""))
            self.other.transport.resume_reading()

    def pause_writing(self) -> None:
        """Stop reading the other side."""
        if not self.was_told:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read the other side on."""
        self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        """Let what has arrived out, then close both; a half-open WebSocket is none."""
        self.other.transport.close()
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """Close the other side once what it is owed is out."""
        self.other.transport.close()
        self._tunnel.side_lost(self)


class Tunnel:
    """The two sides, what entitles them to stay open, and when they last said something.

    `is_active` is set by traffic and cleared by the sweep, which reports it as activity of the session.
    """

    __slots__ = (
        "_client",
        "_context",
        "_ends_at",
        "_server",
        "active_at",
        "is_active",
        "is_ending",
        "lease",
    )

    def __init__(
        self,
        context: Context,
        lease: Lease | None,
        client: asyncio.Transport,
        server: asyncio.Transport,
    ) -> None:
        """Take both transports over from the protocols that spoke HTTP."""
        self._context = context
        self.lease = lease
        self.is_active = True
        self.is_ending = False
        self.active_at = context.now
        self._ends_at = 0.0
        self._client = _Side(self, client, is_server=False)
        self._server = _Side(self, server, is_server=True)
        self._client.other, self._server.other = self._server, self._client

    def start(self, from_client: bytes, from_server: bytes, *, is_client_slow: bool) -> None:
        """Begin to pass bytes, first what had arrived behind the two heads.

        `is_client_slow`: the client's transport had asked to pause; it will ask to resume.
        """
        self._context.tunnels.add(self)
        for side in (self._client, self._server):
            side.transport.set_protocol(side)
        if from_server:
            self._server.data_received(from_server)
        if from_client:
            self._client.data_received(from_client)
        self._client.transport.resume_reading()
        if not is_client_slow:
            self._server.transport.resume_reading()
        if self._context.is_draining:
            self.end()

    def end(self) -> None:
        """Tell both sides to go (1001), each at its next frame boundary; close when both have answered."""
        if self.is_ending:
            return
        self.is_ending = True
        self._ends_at = self._context.loop.time() + _CLOSING_SECONDS
        for side in (self._client, self._server):
            if side.frames.is_at_boundary:
                side.other.tell()
        self.check_closed()

    def check_closed(self) -> None:
        """Close both transports once each side was told and has sent its own close frame."""
        sides = (self._client, self._server)
        if all(side.was_told and side.frames.has_closed for side in sides):
            for side in sides:
                side.transport.close()

    def side_lost(self, side: _Side) -> None:
        """Note that a transport is gone; the downstream's counts as the connection."""
        if side is self._client:
            self._context.tunnels.discard(self)
            self._context.connection_gone()

    def abort(self) -> None:
        """Close both transports at once."""
        for side in (self._client, self._server):
            side.transport.abort()

    def defect(self) -> None:
        """End after an exception that nobody expected (being handled by the caller)."""
        self._context.observer.defect("tunnel", "")
        self.abort()

    def sweep(self, now: float, wall: float) -> None:
        """Report activity; end what is no longer entitled, and what does not end by itself."""
        if self.is_ending:
            if now > self._ends_at:
                self.abort()
            return
        lease = self.lease
        if self.is_active:
            self.is_active = False
            self.active_at = now
            if lease is not None:
                self._context.application.touch(lease.session_id)
        if lease is None:
            return
        is_idle = lease.idle_seconds > 0 and now - self.active_at >= lease.idle_seconds
        if is_idle or wall >= lease.not_after or self._context.application.is_revoked(lease.session_id):
            self.end()
