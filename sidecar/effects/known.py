"""What is known of a provider between calls: its metadata and its keys, fetched once for all who ask.

Theory of operation. A document is good for a while, then fetched again by whoever asks next; everybody who
asks meanwhile waits for the same fetch. A fetch that fails never takes away what was known: the last good
document stays, and the next try waits, longer after each failure. Where nothing was known, the failure is
told at once to all who ask before the next try, so that a provider that is down is not asked by each request.

A token that names an unknown key asks for a fetch out of turn. There is one such per interval, whoever asks
and whatever for: anybody can invent key ids (S21).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.core.effects import CallProvider, ProviderAnswer
from sidecar.core.errors import ProviderUnavailable
from sidecar.core.tokens import (
    KeySet,
    ProviderMetadata,
    build_metadata,
    metadata_url,
    parse_jwks,
    parse_metadata,
)

if TYPE_CHECKING:
    from sidecar.core.runtime import Provider

__all__ = ["KnownDocument", "KnownProvider"]

_METADATA_SECONDS: Final = 3600.0
_KEYS_SECONDS: Final = 600.0
_FIRST_RETRY_SECONDS: Final = 0.5
_LAST_RETRY_SECONDS: Final = 15.0
_OK: Final = 200


class _Calls(Protocol):
    async def call(self, request: CallProvider) -> ProviderAnswer:
        """Make one request to a provider."""


class KnownDocument[T]:
    """One document of a provider, in its last good version."""

    def __init__(
        self, fetch: Callable[[], Awaitable[T]], clock: Callable[[], float], good_seconds: float
    ) -> None:
        """Remember how to fetch it; nothing is fetched before somebody asks."""
        self._fetch = fetch
        self._clock = clock
        self._good_seconds = good_seconds
        self._value: T | None = None
        self._error: ProviderUnavailable | None = None
        self._failures = 0
        self._next_fetch = 0.0
        self._task: asyncio.Task[T] | None = None

    @property
    def is_known(self) -> bool:
        """Tell whether a good version was ever fetched."""
        return self._value is not None

    @property
    def is_fetching(self) -> bool:
        """Tell whether a fetch is under way."""
        return self._task is not None

    async def get(self) -> T:
        """Return the document, fetched anew when it is due. Raises ProviderUnavailable if none was good."""
        if self._clock() >= self._next_fetch:
            return await self.fetch()
        if self._value is None and self._error is not None:
            raise ProviderUnavailable(self._error.code, self._error.detail) from self._error
        return self._value if self._value is not None else await self.fetch()

    async def fetch(self) -> T:
        """Fetch now, or join the fetch under way. Returns the last good version when that fails."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._fetch_and_note())
            self._task.add_done_callback(self._end)
        try:
            # The shield: who hangs up must not end the fetch of others.
            return await asyncio.shield(self._task)
        except ProviderUnavailable:
            if self._value is None:
                raise
            return self._value

    async def close(self) -> None:
        """Cancel a fetch under way."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _fetch_and_note(self) -> T:
        try:
            value = await self._fetch()
        except ProviderUnavailable as error:
            self._error = error
            pause = min(_FIRST_RETRY_SECONDS * 2**self._failures, _LAST_RETRY_SECONDS)
            self._failures += 1
            self._next_fetch = self._clock() + pause
            raise
        self._value, self._error, self._failures = value, None, 0
        self._next_fetch = self._clock() + self._good_seconds
        return value

    def _end(self, task: asyncio.Task[T]) -> None:
        self._task = None
        if not task.cancelled():
            # Take the error, so that one which nobody waits for any more is no warning of the loop's.
            task.exception()


class KnownProvider:
    """Metadata and keys of one provider; `provider` holds its settings as they are now."""

    def __init__(self, provider: Provider, calls: _Calls, clock: Callable[[], float]) -> None:
        """Remember how to reach it."""
        self.provider = provider
        self._calls = calls
        self._clock = clock
        self._next_unknown_kid = 0.0
        self.metadata = KnownDocument(self._fetch_metadata, clock, _METADATA_SECONDS)
        self.keys = KnownDocument(self._fetch_keys, clock, _KEYS_SECONDS)

    async def keys_for(self, unknown_kid: str | None) -> KeySet:
        """Return the keys; fetched out of turn, if that is allowed now, for a key id they don't have."""
        if unknown_kid is None or not self.keys.is_known:
            return await self.keys.get()
        if self._clock() >= self._next_unknown_kid:
            self._next_unknown_kid = self._clock() + self.provider.keys_min_refetch_seconds
            return await self.keys.fetch()
        return await (self.keys.fetch() if self.keys.is_fetching else self.keys.get())

    async def close(self) -> None:
        """Cancel what is under way."""
        await self.keys.close()
        await self.metadata.close()

    async def _fetch_metadata(self) -> ProviderMetadata:
        if not self.provider.discovery:
            return build_metadata(self.provider)
        return parse_metadata(await self._get("discovery", metadata_url(self.provider)), self.provider)

    async def _fetch_keys(self) -> KeySet:
        metadata = await self.metadata.get()
        return parse_jwks(await self._get("keys", metadata.jwks_uri))

    async def _get(self, operation: str, url: str) -> bytes:
        answer = await self._calls.call(
            CallProvider(provider=self.provider, operation=operation, method="GET", url=url)
        )
        if answer.status != _OK:
            raise ProviderUnavailable("provider_answer_unreadable", f"{operation}: answered {answer.status}")
        return answer.body
