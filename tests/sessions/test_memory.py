"""The store in memory."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.core.errors import StoreUnavailable
from sidecar.sessions import SessionStore
from sidecar.sessions.memory import MemoryStore
from tests.core.sessionsetup import NOW
from tests.sessions.suite import Clock, SessionStoreSuite


class TestMemoryStore(SessionStoreSuite):
    def make(self, clock: Clock) -> SessionStore:
        return MemoryStore(clock)


class TestBound:
    def test_full_store_refuses_and_drops_nobody(self) -> None:
        async def script() -> None:
            store = MemoryStore(Clock(), max_bytes=10_000)
            for index in range(4):
                await store.save(f"key-{index}", b"x" * 2000, NOW + 60)
            with pytest.raises(StoreUnavailable, match="store_full: 4 sessions"):
                await store.save("one-more", b"x" * 2000, NOW + 60)
            assert [len(await store.load(f"key-{index}") or b"") for index in range(4)] == [2000] * 4
            # A session that is there may go on.
            await store.save("key-0", b"y" * 2000, NOW + 60)
            assert await store.load("key-0") == b"y" * 2000

        asyncio.run(script())

    def test_session_that_can_not_grow_stays_as_it_was(self) -> None:
        async def script() -> None:
            store = MemoryStore(Clock(), max_bytes=5_000)
            await store.save("key", b"old", NOW + 60)
            with pytest.raises(StoreUnavailable):
                await store.save("key", b"x" * 6000, NOW + 60)
            assert await store.load("key") == b"old"

        asyncio.run(script())

    def test_what_is_over_makes_room(self) -> None:
        async def script() -> None:
            clock = Clock()
            store = MemoryStore(clock, max_bytes=10_000)
            for index in range(1000):
                await store.save(f"key-{index}", b"x" * 2000, clock.now + 60)
                clock.now += 30
            assert len(store) <= 4

        asyncio.run(script())

    def test_sessions_saved_again_and_again_take_no_more_room(self) -> None:
        async def script() -> None:
            store = MemoryStore(Clock(), max_bytes=10_000)
            for _ in range(1000):
                await store.save("key", b"x" * 2000, NOW + 60)
            assert len(store) == 1
            assert len(store._ends) == 1

        asyncio.run(script())

    def test_closed_store_has_forgotten_everything(self) -> None:
        async def script() -> None:
            store = MemoryStore(Clock())
            await store.save("key", b"x", NOW + 60)
            await store.close()
            assert await store.load("key") is None

        asyncio.run(script())
