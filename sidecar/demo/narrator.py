"""The demo's observer: one readable line for each decision."""

from __future__ import annotations

import sys
import traceback
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sidecar.core.reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.core.decision import Note
    from sidecar.core.http import RequestHead

__all__ = ["Narrator", "Unheard", "printable", "told"]

_WORDS: Final = {
    "allowed": "let in",
    "allowed_anyone": "let in: open to anyone",
    "denied": "refused: not for this person",
    "login_required": "no session: sent to sign in",
    "login_required_api": "no session: a script is told 401",
    "session_revoked": "this session was signed out",
    "login_started": "sent to the provider",
    "login_completed": "back from the provider: session opened",
    "signed_out": "signing out",
    "own_page": "a page of Doorward's",
}
_COLOURS: Final = {2: "32", 3: "36", 4: "33", 5: "31"}
_PATH_COLUMN: Final = 34


def printable(text: str, length: int) -> str:
    """Return `text` without what would steer a terminal, cut to `length` characters."""
    safe = "".join(character if character.isprintable() else "?" for character in text[: length + 1])
    return safe if len(safe) <= length else safe[: length - 1] + "…"


def told(note: Note) -> str:
    """Return what was decided, by which rule, and for whom."""
    words = _WORDS.get(note.reason) or REASONS.get(note.reason, note.reason)
    rule = f" (rule: {note.rule})" if note.rule else ""
    who = f"  {printable(note.user, 60)}" if note.user else ""
    return f"{words}{rule}{who}"


class Narrator:
    """Writes a line for each request, in the reader's own time. Never raises: a closed terminal ends it."""

    def __init__(
        self, write: Callable[[str], object], clock: Callable[[], float], *, is_coloured: bool = False
    ) -> None:
        self._write: Callable[[str], object] | None = write
        self._clock = clock
        self._is_coloured = is_coloured

    def say(self, text: str = "") -> None:
        """Write one line."""
        if self._write is None:
            return
        try:
            self._write(text + "\n")
        except (OSError, ValueError):  # nobody reads any more: the demo itself goes on
            self._write = None

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
        del sent_bytes, seconds, upstream_seconds
        path = printable(head.target.partition(b"?")[0].decode("latin-1"), _PATH_COLUMN)
        request = f"{printable(head.method.decode('latin-1'), 7):<7} {path:<{_PATH_COLUMN}}"
        self.say(f"{self._time()}  {request} {self._status(status)}  {told(note)}")

    def malformed(self, peer: str, reason: str, detail: str) -> None:
        """Tell of something that is no request."""
        del peer
        self.say(f"{self._time()}  not a request: {reason} {printable(detail, 80)}".rstrip())

    def connection_opened(self) -> None:
        """Say nothing."""

    def connection_closed(self) -> None:
        """Say nothing."""

    def event(self, name: str, fields: Sequence[tuple[str, str | int | float | None]]) -> None:
        """Tell of what went wrong with the provider; the rest shows in the requests."""
        if name in {"login_refused", "refresh_refused", "provider_call_failed"}:
            facts = ", ".join(f"{key} {value}" for key, value in fields if value is not None)
            self.say(f"{self._time()}  {name.replace('_', ' ')}: {printable(facts, 200)}")

    def provider_call(self, provider: str, operation: str, outcome: str, seconds: float) -> None:
        """Say nothing."""

    def defect(self, where: str, request_id: str) -> None:
        """Show a defect of ours in full: this is a developer's terminal."""
        self.say(f"{self._time()}  a defect of Doorward's in {where} (request {request_id}):")
        if sys.exception() is not None:
            self.say(traceback.format_exc().rstrip())

    def _status(self, status: int) -> str:
        colour = _COLOURS.get(status // 100) if self._is_coloured else None
        return f"\x1b[{colour}m{status}\x1b[0m" if colour else f"{status}"

    def _time(self) -> str:
        return f"{datetime.fromtimestamp(self._clock()).astimezone():%H:%M:%S}"


class Unheard:
    """For parts whose doings show at the gate already: only defects are told."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator

    def request_done(self, *_facts: object) -> None:
        """Say nothing."""

    def malformed(self, peer: str, reason: str, detail: str) -> None:
        """Say nothing."""

    def connection_opened(self) -> None:
        """Say nothing."""

    def connection_closed(self) -> None:
        """Say nothing."""

    def event(self, *_facts: object) -> None:
        """Say nothing."""

    def provider_call(self, *_facts: object) -> None:
        """Say nothing."""

    def defect(self, where: str, request_id: str) -> None:
        """Tell it."""
        self._narrator.defect(where, request_id)
