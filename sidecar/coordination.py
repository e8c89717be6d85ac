"""What every worker must know goes through a Coordinator.

Owns: the protocol and the form for one process. `sidecar.supervisor` has the form for several workers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

__all__ = ["Coordinator"]


class Coordinator(Protocol):
    """Revocations, one-time claims and shared results, for all workers of this installation."""

    async def revoke(self, session_id: str, until: float) -> None:
        """Revoke a session everywhere; return once every live worker refuses it."""

    async def claim(self, key: bytes, until: float) -> bool:
        """Return True to the first caller that claims `key` before `until`, False to all others."""

    async def once(self, key: bytes, work: Callable[[], Awaitable[bytes]], keep_seconds: float) -> bytes:
        """Run `work` once for all callers of `key`; keep a success for `keep_seconds`.

        The work is not cancelled when its caller is. An error reaches all who wait and is not kept.
        """
