"""Sessions that were opened already, found by the bytes of their cookie.

A request that carries a known Cookie field costs two searches in it, one dictionary look-up and one
comparison, instead of an AEAD open and two JSON documents.

The dictionary's key is the tail of the cookie's value, not the whole of it: hashing 3 KB takes longer than
everything else together, and the tail (authentication tag and last bytes of ciphertext) tells cookies apart
as well. It only finds an entry; what counts is that the entry's whole Cookie field equals the request's, so
that a cookie with another beginning is never taken for the one whose end it has.

What goes when the bound is reached: a hit sets a flag on the entry that it has in hand anyway (the clock
algorithm, also called second chance). Least-recently-used order would write to the entry's neighbours too,
and with 100,000 sessions going round those are never in the processor's cache. Measured per hit with one
session and with 100,000: this 0.13 and 0.9 us, `OrderedDict.move_to_end` 0.17 and 1.3, `cachetools.LRUCache`,
which is written in Python, 0.4 and 1.9.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.core.runtime import Site
    from sidecar.core.session import Session

__all__ = ["KEY_BYTES", "CachedSession", "SessionCache", "key_of"]

KEY_BYTES: Final = 32

# What an entry costs besides the bytes of its Cookie field and what they decode to: objects, the dictionary's
# slot, and 2 KB for what the gate prepares. Held against tracemalloc by a test.
_ENTRY_BYTES: Final = 3000
_MAX_GRANTS: Final = 32
# An entry with its flag set is passed over; but one `put` passes over a bounded number of them, so that no
# request pays for a hundred thousand.
_MAX_CHANCES: Final = 64
_MAX_NOTED: Final = 20_000


def key_of(header: bytes, session_name: bytes) -> bytes:
    """Return the key of a Cookie field: the tail of the first thing in it that is called `session_name`.

    It need not be a cookie of that name: an entry is only used for an equal field, so a name that stands
    inside another cookie's value costs speed and nothing else.
    """
    start = header.find(session_name)
    end = header.find(b";", start)
    return header[-KEY_BYTES:] if end < 0 else header[max(0, end - KEY_BYTES) : end]


class CachedSession:
    """One opened session of one site, and what the gate has prepared for it.

    `header` is the Cookie field that it came in, `others` the same without our cookies (None: nothing left),
    `plain_start` where in it the session begins when it is one cookie whose name stands nowhere else.
    Before `check_at` no limit has passed and nothing is due. `seen_at` is the latest activity known to this
    process; `renew_at` is when the cookie should be issued anew. `grants` is the gate's: what it prepared
    for this session, by rule; `keep_grant` bounds it. A plain slots class because its clocks move.
    """

    __slots__ = (
        "check_at",
        "grants",
        "header",
        "is_used",
        "key",
        "others",
        "plain_start",
        "renew_at",
        "seen_at",
        "session",
        "site",
        "size",
    )

    def __init__(self, site: Site, session: Session, key: bytes) -> None:
        self.site = site
        self.session = session
        self.key = key
        self.header = b""
        self.others: bytes | None = None
        self.plain_start = -1
        self.seen_at = session.seen_at
        self.check_at = 0.0
        self.renew_at = 0.0
        self.grants: dict[object, object] = {}
        self.is_used = False
        self.size = 0

    def keep_grant(self, key: object, grant: object) -> None:
        """Keep what was prepared; a session that visits very many rules starts over."""
        if len(self.grants) >= _MAX_GRANTS:
            self.grants.clear()
        self.grants[key] = grant


class SessionCache:
    """Opened sessions of one process, bounded in bytes; and what is known of sessions beyond their cookie.

    `entries` is read by `sessioncookie.recall` directly. `bytes_used` is an estimate.
    """

    __slots__ = ("_max_bytes", "_postponed", "_ring", "_touched", "bytes_used", "entries")

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        self._max_bytes = max_bytes
        self.entries: dict[bytes, CachedSession] = {}
        self.bytes_used = 0
        # All entries in the order of the clock's hand, also those that another one has replaced: their bytes
        # count until the hand reaches them.
        self._ring: deque[CachedSession] = deque()
        self._touched: OrderedDict[str, float] = OrderedDict()
        self._postponed: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Return how many sessions are kept."""
        return len(self.entries)

    def find(self, key: bytes, site: Site) -> CachedSession | None:
        """Return the entry of `key` if it was made for exactly this configuration of the site.

        A reloaded configuration has other `Site` values: keys may be gone, limits shorter, rules new. What
        was opened under the old ones is opened again (S34, S73).
        """
        entry = self.entries.get(key)
        return entry if entry is not None and entry.site is site else None

    def rebind(self, entry: CachedSession, header: bytes, others: bytes | None, plain_start: int) -> None:
        """Note the Cookie field in which the entry's session came."""
        entry.header = header
        entry.others = others
        entry.plain_start = plain_start
        # What was decoded from the field takes up to twice its length (text of a token, groups as objects).
        size = _ENTRY_BYTES + 3 * len(header)
        if entry.size:
            self.bytes_used += size - entry.size
        entry.size = size

    def put(self, entry: CachedSession) -> None:
        """Keep an opened session, and let others go where the bound asks for it."""
        self.entries[entry.key] = entry
        self._ring.append(entry)
        self.bytes_used += entry.size
        chances = _MAX_CHANCES
        while self.bytes_used > self._max_bytes:
            oldest = self._ring.popleft()
            is_current = self.entries.get(oldest.key) is oldest
            if is_current and oldest.is_used and chances:
                oldest.is_used = False
                self._ring.append(oldest)
                chances -= 1
                continue
            self.bytes_used -= oldest.size
            if is_current:
                del self.entries[oldest.key]

    def touch(self, session_id: str, now: float) -> None:
        """Note activity that no request tells of (traffic in a tunnel)."""
        _note(self._touched, session_id, now)

    def seen_at(self, session: Session) -> float:
        """Return the latest activity known: the cookie's word or that of a tunnel."""
        return max(session.seen_at, self._touched.get(session.id, 0.0))

    def postpone_refresh(self, session_id: str, until: float) -> None:
        """Don't call a refresh of this session due before `until`, because one has just failed."""
        _note(self._postponed, session_id, until)

    def refresh_postponed_until(self, session_id: str) -> float:
        """Return when a refresh may be tried again; 0 when none has failed."""
        return self._postponed.get(session_id, 0.0)


def _note(notes: OrderedDict[str, float], session_id: str, time: float) -> None:
    """Keep the latest time by id; the id that was noted longest ago makes room.

    What is forgotten is harmless: the cookie's own clock counts then, and a refresh is tried once more.
    """
    notes[session_id] = max(time, notes.get(session_id, 0.0))
    notes.move_to_end(session_id)
    if len(notes) > _MAX_NOTED:
        notes.popitem(last=False)
