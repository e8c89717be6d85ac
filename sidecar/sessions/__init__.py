"""Where sessions are kept: the protocol of a store, and the stores.

Owns: keeping sealed bytes under a key until a time, and forgetting them. Depends on: `core.errors`. Leaves
to others: what the bytes mean and sealing them (`core.sessioncodec`, `core.seal`), when to save and load
(`core.flows`), the revocation list (`core.revocation`).

With the `cookie` store, the default, the sealed session is the cookie's value and nothing is kept here. With
any other the cookie holds a `StoredTicket`, and the store the sealed session under the ticket's `store_key`:
who reads the store finds neither sessions nor keys that a browser could present.

Each store passes `tests/sessions/suite.py`.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["SessionStore"]


class SessionStore(Protocol):
    """Sealed session data by opaque key. Safe for use by several tasks of one event loop.

    Every method raises StoreUnavailable when the store can't be reached in time, and nothing else: an answer
    that may be wrong is not given.
    """

    async def save(self, key: str, sealed: bytes, until: float) -> None:
        """Keep `sealed` under `key` until `until` (seconds since the epoch), replacing what was there."""

    async def load(self, key: str) -> bytes | None:
        """Return what was saved, or None when there is nothing or its time is over."""

    async def delete(self, key: str) -> None:
        """Forget it; once this returns, no `load` finds it. Nothing there is fine."""

    async def close(self) -> None:
        """Let go of connections and files. The store is not used afterwards."""
