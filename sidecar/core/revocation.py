"""Sessions that were ended before their time: their ids, kept until they would have ended anyway.

A sealed cookie can't be called back, so a signed-out session is dead only because every worker remembers its
id (S36). The list is bounded, and it never forgets a live revocation unseen: when it is full, the entries
that end soonest make room and the list refuses from then on *every* session that ends no later than they
would have. Such sessions were near their absolute end, their users sign in somewhat earlier than they would
have had to; a stolen cookie never comes back to life. `floor` above zero tells operators that it happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.core.session import Session

__all__ = ["RevocationList"]

_BUCKET_SECONDS: Final = 60.0


class RevocationList:
    """The revoked session ids of one process. Entries cost about 250 bytes each.

    `floor`: sessions whose absolute end is not later than that are refused, listed or not.
    """

    __slots__ = ("_buckets", "_max_entries", "_until", "floor")

    def __init__(self, max_entries: int = 100_000) -> None:
        self._max_entries = max_entries
        self._until: dict[str, float] = {}
        # Ids by the minute in which they may be forgotten: no sorting, and a sweep touches only what goes.
        self._buckets: dict[int, list[str]] = {}
        self.floor = 0.0

    def __len__(self) -> int:
        """Return how many ids are kept."""
        return len(self._until)

    def add(self, session_id: str, until: float) -> None:
        """Revoke a session until its absolute end. A later `until` for the same id counts, an earlier not."""
        if until <= self._until.get(session_id, 0.0):
            return
        self._until[session_id] = until
        self._buckets.setdefault(_bucket(until), []).append(session_id)
        while len(self._until) > self._max_entries:
            self._make_room()

    def is_revoked(self, session_id: str, now: float) -> bool:
        """Tell whether this id was revoked and its session has not ended anyway."""
        return now < self._until.get(session_id, 0.0)

    def refuses(self, session: Session) -> bool:
        """Tell whether the session is revoked, or can't be told from one whose revocation made room."""
        return session.id in self._until or session.absolute_end <= self.floor

    def items(self) -> list[tuple[str, float]]:
        """Return the ids and until when each is kept: with `floor`, what another list must be told."""
        return list(self._until.items())

    def raise_floor(self, floor: float) -> None:
        """Refuse as another list does that had to make room."""
        self.floor = max(self.floor, floor)

    def sweep(self, now: float) -> int:
        """Forget what has ended; returns how many. Whoever owns the clock calls it once a minute or so."""
        ended = [bucket for bucket in self._buckets if (bucket + 1) * _BUCKET_SECONDS <= now]
        return sum(self._drop(bucket) for bucket in ended)

    def _make_room(self) -> None:
        bucket = min(self._buckets)
        self.floor = max(self.floor, (bucket + 1) * _BUCKET_SECONDS)
        self._drop(bucket)

    def _drop(self, bucket: int) -> int:
        dropped = 0
        for session_id in self._buckets.pop(bucket):
            # An id that was revoked again for longer stands in a later bucket too and stays.
            until = self._until.get(session_id)
            if until is not None and _bucket(until) == bucket:
                del self._until[session_id]
                dropped += 1
        return dropped


def _bucket(until: float) -> int:
    return int(until // _BUCKET_SECONDS)
