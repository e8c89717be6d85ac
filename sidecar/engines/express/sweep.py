"""Once a second over all connections: time-outs, leases, stalled peers (S56).

One timer for everything instead of one for each connection and request; so each limit is kept to about a
second, and costs nothing while a request runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.engines.express.connection import DECIDING, FORWARDING, HEAD, LINGERING

if TYPE_CHECKING:
    from sidecar.core.decision import Lease
    from sidecar.engines.express.context import Context
    from sidecar.engines.express.downstream import Downstream
    from sidecar.engines.express.requestbody import RequestBody

__all__ = ["is_over", "sweep"]

# A request that lasts longer is held to its lease from then on.
_LEASE_SECONDS: Final = 1.0
# How long an idle connection remembers its last fields: they are half of what it weighs.
_KNOWN_SECONDS: Final = 5.0
# nginx's lingering_timeout.
_LINGER_SECONDS: Final = 5.0


def sweep(context: Context, now: float, interval: float) -> None:
    """Look at everything that is open. `now` is on the monotonic clock."""
    context.now = now
    wall = context.clock()
    for down in tuple(context.downstreams):
        _sweep_downstream(context, down, wall)
    for tunnel in tuple(context.tunnels):
        tunnel.sweep(now, wall)
    context.pools.sweep(now, interval)
    context.known_heads.sweep(now)


def _sweep_downstream(context: Context, down: Downstream, wall: float) -> None:
    limits = context.limits
    phase = down.phase
    age = context.now - down.since
    if down.is_write_paused or phase >= LINGERING:
        _check_writing(down, context.now, limits.idle_seconds)
    if phase == HEAD:
        if down.buffer:
            # One byte a second keeps nobody: the whole head has this long.
            if age > limits.head_seconds and not down.is_write_paused:
                down.time_out_head()
        elif age > limits.idle_seconds:
            down.close_idle()
        elif age > _KNOWN_SECONDS:
            down.known = None
        return
    if (
        phase == LINGERING
        and age > min(_LINGER_SECONDS, limits.idle_seconds)
        and not down.transport.get_write_buffer_size()
    ):
        down.transport.abort()
        return
    body = down.body
    if body is not None and body.is_taken and not down.is_read_paused:
        _check_body(context, down, body)
    if phase == FORWARDING:
        _check_exchange(context, down, wall)
    elif phase == DECIDING and down.is_half_closed and context.now - down.progress_at > limits.head_seconds:
        down.end("client_gone")


def _check_body(context: Context, down: Downstream, body: RequestBody) -> None:
    """Cut off a body that drips; one that flows may be as large as it likes."""
    seconds = context.now - body.progress_at
    if seconds < context.limits.body_grace_seconds:
        return
    if body.received - body.progress < context.limits.body_min_rate * seconds:
        down.break_body("the body came too slowly", status=408, reason="timeout")
        return
    body.progress = body.received
    body.progress_at = context.now


def _check_writing(down: Downstream, now: float, seconds: float) -> None:
    """Cut off a client that takes nothing of its answer for `seconds`."""
    left = down.transport.get_write_buffer_size()
    if left != down.unwritten or not left:
        down.unwritten = left
        down.unwritten_at = now
    elif now - down.unwritten_at > seconds:
        down.end("client_gone")


def _check_exchange(context: Context, down: Downstream, wall: float) -> None:
    exchange = down.exchange
    if exchange is None:
        return
    seconds = exchange.forward.upstream.response_seconds
    is_waiting = down.body is None and not exchange.has_begun
    if seconds is not None and is_waiting and context.now - exchange.waiting_since > seconds:
        exchange.fail("upstream_timeout", 504, "no answer in time")
        return
    lease = exchange.forward.lease
    if lease is not None and context.now - exchange.since > _LEASE_SECONDS and is_over(context, lease, wall):
        down.end("session_revoked" if wall < lease.not_after else "session_expired")
        return
    if down.is_half_closed:
        # Whether such a client still waits shows only when something is written to it. One that has gone
        # altogether looks the same, and must not keep an upstream busy: it has as long as a head would.
        if exchange.sent_bytes != down.progress:
            down.progress = exchange.sent_bytes
            down.progress_at = context.now
        elif context.now - down.progress_at > context.limits.head_seconds:
            down.end("client_gone")


def is_over(context: Context, lease: Lease, wall: float) -> bool:
    """Tell whether a lease has ended: its time is up, or its session was revoked."""
    return wall >= lease.not_after or context.application.is_revoked(lease.session_id)
