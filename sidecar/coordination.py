"""What every worker must know goes through a Coordinator.

Owns: the protocol and the form for one process. `sidecar.supervisor` has the form for several workers.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

__all__ = ["Coordinator", "LocalCoordinator"]

_MAX_CLAIMS: Final = 100_000
_MAX_KEPT_BYTES: Final = 32 << 20


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

    def touched(self, session_id: str, at: float) -> None:
        """Let the other workers know of activity that no request tells them of: traffic in a tunnel."""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: bytes = field(repr=False)
    until: float


class LocalCoordinator:
    """The Coordinator of a single process, all in memory and bounded.

    When there is no more room the oldest claim or result goes: a claim guards a value that its browser's
    cookie guards too, and a late asker of a lost result does the work again.
    """

    def __init__(
        self,
        revoke: Callable[[str, float], None],
        clock: Callable[[], float],
        *,
        max_claims: int = _MAX_CLAIMS,
        max_kept_bytes: int = _MAX_KEPT_BYTES,
    ) -> None:
        """Bind the process's revocation list (`revoke(session_id, until)`) and the clock of `until`."""
        self._revoke = revoke
        self._clock = clock
        self._max_claims = max_claims
        self._max_kept_bytes = max_kept_bytes
        self._claims: OrderedDict[bytes, float] = OrderedDict()
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._running: dict[bytes, asyncio.Task[bytes]] = {}

    async def revoke(self, session_id: str, until: float) -> None:
        """Revoke a session; in one process it counts at once."""
        self._revoke(session_id, until)

    def touched(self, session_id: str, at: float) -> None:
        """Do nothing: there is nobody else to tell."""

    async def claim(self, key: bytes, until: float) -> bool:
        """Return True to the first caller that claims `key` before `until`, False to all others."""
        now = self._clock()
        if self._claims.get(key, now) > now:
            return False
        self._claims.pop(key, None)
        # Claims come in about the order in which they end, so looking at the oldest few is enough.
        while self._claims and (len(self._claims) >= self._max_claims or self._oldest_claim_ends(now)):
            self._claims.popitem(last=False)
        self._claims[key] = until
        return True

    async def once(self, key: bytes, work: Callable[[], Awaitable[bytes]], keep_seconds: float) -> bytes:
        """Run `work` once for all callers of `key`; keep a success for `keep_seconds`."""
        kept = self._kept.get(key)
        if kept is not None and kept.until > self._clock():
            return kept.value
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._carry_out(key, work, keep_seconds))
            task.add_done_callback(_note_result)
            self._running[key] = task
        # The shield: a caller that hangs up leaves, the work stays for the others and for later.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel the work under way and wait until it has ended."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry_out(
        self, key: bytes, work: Callable[[], Awaitable[bytes]], keep_seconds: float
    ) -> bytes:
        try:
            value = await work()
            self._keep(key, _Kept(value, self._clock() + keep_seconds))
            return value
        finally:
            self._running.pop(key, None)

    def _keep(self, key: bytes, kept: _Kept) -> None:
        self._forget(key)
        now = self._clock()
        self._kept[key] = kept
        self._kept_bytes += len(key) + len(kept.value)
        while self._kept:
            oldest_key, oldest = next(iter(self._kept.items()))
            if self._kept_bytes <= self._max_kept_bytes and oldest.until > now:
                return
            self._forget(oldest_key)

    def _forget(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._kept_bytes -= len(key) + len(kept.value)

    def _oldest_claim_ends(self, now: float) -> bool:
        return next(iter(self._claims.values())) <= now


def _note_result(task: asyncio.Task[bytes]) -> None:
    """Take the result, so that an error which nobody waits for any more is no warning of the loop's."""
    if not task.cancelled():
        task.exception()
