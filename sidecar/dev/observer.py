"""The observer of a run: the demo's narrator, and a recording behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.demo.narrator import Narrator

if TYPE_CHECKING:
    from sidecar.core.decision import Note
    from sidecar.core.http import RequestHead
    from sidecar.dev.recording import Recorder

__all__ = ["DevObserver"]


class DevObserver(Narrator):
    """Writes a line for each request, and has it recorded where there is a recorder."""

    recorder: Recorder | None = None

    def request_done(  # noqa: PLR0917  one positional call on the hot path
        self,
        head: RequestHead,
        note: Note,
        status: int,
        sent_bytes: int,
        seconds: float,
        upstream_seconds: float,
    ) -> None:
        """Tell what was decided, and why."""
        super().request_done(head, note, status, sent_bytes, seconds, upstream_seconds)
        if self.recorder is not None:
            self.recorder.finish(head.request_id, status, seconds)
