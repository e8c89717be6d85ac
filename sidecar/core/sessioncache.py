"""Sessions that were opened already, found by the bytes of their cookie.

A request that carries a known Cookie field costs two searches in it, one dictionary look-up and one
comparison, instead of an AEAD open and two JSON documents.

The dictionary's key is the tail of the cookie's value, not the whole of it: hashing 3 KB takes three times
as long as all the rest, and the tail (authentication tag and last bytes of ciphertext) tells cookies apart
as well. It only finds an entry; what counts is that the entry's whole Cookie field equals the request's, so
that a cookie with a forged beginning is never taken for the one that it copies the end of.

What goes when the bound is reached: a hit only sets a flag on the entry it has in hand (the clock algorithm,
or second chance), where LRU order would write to the entry's neighbours too, which with 100,000 sessions
going round are never in the processor's cache. `cachetools.LRUCache` takes 1.5 us a hit in pure Python.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.core.runtime import Site
    from sidecar.core.session import Session

__all__ = ["CachedSession", "SessionCache"]

_KEY_BYTES: Final = 32
_ENTRY_BYTES: Final = 3000
_GRANT_BYTES: Final = 600
_MAX_GRANTS: Final = 32
_MAX_TOUCHED: Final = 20_000


class CachedSession:
    """One opened session of one site, and what the gate has prepared for it.

    `header` is the Cookie field that it came in, `others` the same without our cookies (None: nothing left).
    Before `check_at` neither limit has passed and nothing is due. `seen_at` is the latest activity known to
    this process. `grants` is the gate's: what it prepared for this session, by rule; `keep_grant` bounds it.
    A plain slots class because its clocks move.
    """

    __slots__ = (
        "check_at",
        "grants",
        "header",
        "others",
        "renew_at",
        "seen_at",
        "session",
        "site",
        "size",
        "used",
    )

    def __init__(self, site: Site, session: Session, header: bytes, others: bytes | None) -> None:
        self.site = site
        self.session = session
        self.header = header
        self.others = others
        self.seen_at = session.seen_at
        self.check_at = 0.0
        self.renew_at = 0.0
        self.grants: dict[object, object] = {}
        self.used = False
        self.size = _ENTRY_BYTES + 2 * len(header)

    def keep_grant(self, key: object, grant: object) -> None:
        """Keep what was prepared; a session that visits very many rules starts over."""
        if len(self.grants) >= _MAX_GRANTS:
            self.grants.clear()
        self.grants[key] = grant


class SessionCache:
    """Opened sessions of one process, bounded in bytes; and the activity of sessions in tunnels."""

    __slots__ = ("_max_bytes", "_postponed", "_ring", "_touched", "bytes", "entries")

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        self._max_bytes = max_bytes
        self.entries: dict[bytes, CachedSession] = {}
        self.bytes = 0
        self._ring: deque[tuple[bytes, CachedSession]] = deque()
        self._touched: dict[str, float] = {}
        self._postponed: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many sessions are kept."""
        return len(self.entries)

    @staticmethod
    def key_of(header: bytes, session_name: bytes) -> bytes:
        """Return the key of a Cookie field: the tail of the first thing in it called `session_name`."""
        raise NotImplementedError

    def put(self, key: bytes, entry: CachedSession) -> None:
        """Keep an opened session, and let others go where the bound asks for it."""
        raise NotImplementedError

    def touch(self, session_id: str, now: float) -> None:
        """Note activity that no request tells of (traffic in a tunnel)."""
        raise NotImplementedError

    def seen_at(self, session: Session) -> float:
        """Return the latest activity known: the cookie's word or that of a tunnel."""
        raise NotImplementedError

    def postpone_refresh(self, session_id: str, until: float) -> None:
        """Don't call a refresh of this session due before `until`, because one has just failed."""
        raise NotImplementedError

    def refresh_postponed(self, session_id: str, now: float) -> bool:
        """Tell whether a refresh has failed so recently that it is not tried again yet."""
        raise NotImplementedError
