"""The Observer that a serving process uses: meters, access lines, event lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.reasons import EVENTS, WARNINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.core.decision import Note
    from sidecar.core.http import RequestHead
    from sidecar.observe.access import AccessLog
    from sidecar.observe.logs import EventLog
    from sidecar.observe.meters import Meters

__all__ = ["Observation"]


class Observation:
    """Counts everything in `meters`; writes an access line when there is an `access` log."""

    __slots__ = ("_counts", "_observe", "access", "events", "meters")

    def __init__(self, meters: Meters, events: EventLog, access: AccessLog | None) -> None:
        """Bind the parts."""
        self.meters = meters
        self.events = events
        self.access = access
        self._counts = meters.requests
        self._observe = meters.request_seconds.observe

    def request_done(  # noqa: PLR0917  one positional call on the hot path
        self,
        head: RequestHead,
        note: Note,
        status: int,
        sent_bytes: int,
        seconds: float,
        upstream_seconds: float,
    ) -> None:
        """Count one request, and write its line."""
        self._counts[note.site, note.reason, status] += 1
        self._observe(seconds)
        if self.access is not None:
            self.access.line(head, note, status, sent_bytes, seconds, upstream_seconds)

    def malformed(self, peer: str, reason: str, detail: str) -> None:
        """Count and log what is not a request."""
        self.meters.malformed[reason] += 1
        self.events.info("malformed", peer=peer, reason=reason, detail=detail)

    def connection_opened(self) -> None:
        """Count a downstream connection."""
        self.meters.connections += 1

    def connection_closed(self) -> None:
        """Take it off again."""
        self.meters.connections -= 1

    def event(self, name: str, fields: Sequence[tuple[str, str | int | float | None]]) -> None:
        """Count and log an event of the closed table."""
        if name not in EVENTS:
            message = f"not in core.reasons.EVENTS: {name}"
            raise ValueError(message)
        self.meters.events[name] += 1
        write = self.events.warning if name in WARNINGS else self.events.info
        write(name, **dict(fields))

    def provider_call(self, provider: str, operation: str, outcome: str, seconds: float) -> None:
        """Count one call to a provider."""
        self.meters.provider_calls[provider, operation, outcome] += 1
        self.meters.provider_seconds[provider, operation].observe(seconds)

    def defect(self, where: str, request_id: str) -> None:
        """Log the exception under way: a defect of ours, answered with 500."""
        self.events.exception("defect", where=where, request_id=request_id)
