"""Access lines: one for each request, JSON or console, written a batch at a time.

A line costs about a microsecond because what repeats is prepared: the part that comes from a `Note` is
encoded once for each note (the core makes a note once per session and rule), and the time once a second.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.decision import Note
    from sidecar.core.http import RequestHead

__all__ = ["AccessLog"]

_MAX_NOTES: Final = 4096
_MAX_BUFFERED_LINES: Final = 64
_FLUSH_SECONDS: Final = 0.25
_MAX_PATH: Final = 512  # characters of a path that a line shows
_MAX_DETAIL: Final = 512  # likewise of a detail; the longest of our own have some 400

# What JSON must not hold raw in a string; a path is printable ASCII by then, so these two are all.
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"'})


class AccessLog:
    """Encodes and writes access lines.

    `write` takes whole lines; `schedule(seconds, function)` is the loop's `call_later`, so that the last
    lines of a burst are written a quarter of a second later at most.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        schedule: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float],
        *,
        style: Literal["json", "console"] = "json",
    ) -> None:
        """Bind the ways out."""
        self._write = write
        self._schedule = schedule
        self._clock = clock
        self._encode = self._json if style == "json" else self._console
        self._notes: dict[int, tuple[Note, str]] = {}
        self._lines: list[str] = []
        self._second = -1
        self._stamp = ""
        self._is_scheduled = False

    def line(  # noqa: PLR0917  one positional call on the hot path
        self,
        head: RequestHead,
        note: Note,
        status: int,
        sent_bytes: int,
        seconds: float,
        upstream_seconds: float,
    ) -> None:
        """Add the line of one request."""
        self._lines.append(self._encode(head, note, status, sent_bytes, seconds, upstream_seconds))
        if len(self._lines) >= _MAX_BUFFERED_LINES:
            self.flush()
        elif not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(_FLUSH_SECONDS, self._flush_scheduled)

    def flush(self) -> None:
        """Write what is buffered."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._write("".join(lines).encode("utf-8", "backslashreplace"))

    def _flush_scheduled(self) -> None:
        self._is_scheduled = False
        self.flush()

    def _time(self) -> str:
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now - second) * 1000):03d}Z"

    def _note(self, note: Note) -> str:
        known = self._notes.get(id(note))
        if known is not None and known[0] is note:  # the entry holds the note, so its id can't be another's
            return known[1]
        fields = {"site": note.site, "reason": note.reason, "rule": note.rule, "user": note.user}
        if note.detail is not None:
            # Of one request: it does not come again, and may hold what a peer sent.
            detail = note.detail
            fields["detail"] = detail if len(detail) <= _MAX_DETAIL else detail[:_MAX_DETAIL] + "..."
        text = json.dumps({key: value for key, value in fields.items() if value is not None})[1:-1]
        if note.detail is None:
            if len(self._notes) >= _MAX_NOTES:
                self._notes.clear()
            self._notes[id(note)] = (note, text)
        return text

    def _json(  # noqa: PLR0917
        self,
        head: RequestHead,
        note: Note,
        status: int,
        sent_bytes: int,
        seconds: float,
        upstream_seconds: float,
    ) -> str:
        return (
            f'{{"time": "{self._time()}", "event": "request", "request_id": "{head.request_id}", '
            f'"method": "{_printable(head.method)}", "path": "{_path(head)}", '
            f'"status": {status}, "bytes": {sent_bytes}, "ms": {seconds * 1000:.2f}, '
            f'"upstream_ms": {upstream_seconds * 1000:.2f}, "peer": "{head.peer}", '
            f"{_client(head)}{self._note(note)}}}\n"
        )

    def _console(  # noqa: PLR0917
        self,
        head: RequestHead,
        note: Note,
        status: int,
        sent_bytes: int,
        seconds: float,
        upstream_seconds: float,
    ) -> str:
        who = note.user or "-"
        rule = f" by {note.rule}" if note.rule else ""
        return (
            f"{self._time()} {status} {_printable(head.method)} {_path(head)} {who.translate(_CONTROL)} "
            f"from {head.client_ip} "
            f"{note.reason}{rule} {seconds * 1000:.1f}ms ({upstream_seconds * 1000:.1f}ms upstream, "
            f"{sent_bytes} bytes) [{head.request_id}]\n"
        )


# A user name goes to a terminal: control characters and line ends (U+0085, U+2028, U+2029) must not.
_CONTROL: Final = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233), "?")


def _client(head: RequestHead) -> str:
    """Return the field for the address that trusted proxies tell of; nothing where there are none."""
    return f'"client": "{head.client_ip}", ' if head.client_ip != head.peer else ""


def _path(head: RequestHead) -> str:
    """Return the target's path without query, escaped for a JSON string and cut to a bounded length."""
    raw = head.target.partition(b"?")[0]
    return _printable(raw if len(raw) <= _MAX_PATH else raw[:_MAX_PATH] + b"...")


def _printable(raw: bytes) -> str:
    text = raw.decode("ascii", "backslashreplace")
    if text.isprintable():
        return text.translate(_ESCAPES) if '"' in text or "\\" in text else text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text).translate(_ESCAPES)
