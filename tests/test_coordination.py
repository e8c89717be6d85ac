from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidecar.coordination import LocalCoordinator


class World:
    def __init__(self, **limits: int) -> None:
        self.now = 1000.0
        self.revoked: list[tuple[str, float]] = []
        self.runs = 0
        self.coordinator = LocalCoordinator(
            lambda *what: self.revoked.append(what), lambda: self.now, **limits
        )

    def work(self, result: bytes = b"r", gate: asyncio.Event | None = None) -> Callable[[], Awaitable[bytes]]:
        async def run() -> bytes:
            self.runs += 1
            if gate is not None:
                await gate.wait()
            return result

        return run


def test_a_revocation_counts_at_once() -> None:
    world = World()

    asyncio.run(world.coordinator.revoke("s", 2000.0))

    assert world.revoked == [("s", 2000.0)]


class TestClaims:
    def test_the_first_claim_wins_until_its_end(self) -> None:
        """S01: a one-time value is good once."""

        async def main() -> None:
            world = World()
            assert await world.coordinator.claim(b"a", 1010.0)
            assert not await world.coordinator.claim(b"a", 1010.0)
            assert await world.coordinator.claim(b"b", 1010.0)
            world.now = 1010.0
            assert await world.coordinator.claim(b"a", 1020.0)

        asyncio.run(main())

    def test_claims_are_bounded(self) -> None:
        async def main() -> None:
            world = World(max_claims=10)
            for number in range(100):
                assert await world.coordinator.claim(b"%d" % number, 2000.0)
            assert not await world.coordinator.claim(b"99", 2000.0)
            assert not await world.coordinator.claim(b"90", 2000.0)

        asyncio.run(main())

    def test_claims_that_have_ended_make_room_first(self) -> None:
        async def main() -> None:
            world = World(max_claims=3)
            await world.coordinator.claim(b"old", 1001.0)
            world.now = 1002.0
            for name in (b"a", b"b", b"c"):
                await world.coordinator.claim(name, 2000.0)
            assert not await world.coordinator.claim(b"a", 2000.0)

        asyncio.run(main())


class TestOnce:
    def test_all_who_ask_at_once_get_one_result(self) -> None:
        async def main() -> None:
            world = World()
            gate = asyncio.Event()
            asked = [
                asyncio.create_task(world.coordinator.once(b"k", world.work(gate=gate), 60)) for _ in range(9)
            ]
            await asyncio.sleep(0)
            gate.set()
            assert await asyncio.gather(*asked) == [b"r"] * 9
            assert world.runs == 1

        asyncio.run(main())

    def test_a_success_is_kept_for_its_time(self) -> None:
        async def main() -> None:
            world = World()
            for now, runs in [(1000.0, 1), (1059.0, 1), (1060.0, 2)]:
                world.now = now
                await world.coordinator.once(b"k", world.work(), 60)
                assert world.runs == runs

        asyncio.run(main())

    def test_a_caller_that_hangs_up_cancels_nothing(self) -> None:
        async def main() -> None:
            world = World()
            gate = asyncio.Event()
            task = asyncio.create_task(world.coordinator.once(b"k", world.work(gate=gate), 60))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            gate.set()
            await asyncio.sleep(0.01)
            assert await world.coordinator.once(b"k", world.work(b"other"), 60) == b"r"
            assert world.runs == 1

        asyncio.run(main())

    def test_an_error_reaches_all_and_is_not_kept(self) -> None:
        async def main() -> None:
            world = World()

            async def fail() -> bytes:
                await asyncio.sleep(0)
                raise ZeroDivisionError

            asked = [world.coordinator.once(b"k", fail, 60) for _ in range(3)]
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(each) for each in results] == [ZeroDivisionError] * 3
            assert await world.coordinator.once(b"k", world.work(), 60) == b"r"

        asyncio.run(main())

    def test_results_are_bounded_in_bytes(self) -> None:
        async def main() -> None:
            world = World(max_kept_bytes=1000)
            for number in range(20):
                await world.coordinator.once(b"%02d" % number, world.work(b"x" * 98), 60)
            assert world.runs == 20
            await world.coordinator.once(b"19", world.work(), 60)
            assert world.runs == 20
            await world.coordinator.once(b"05", world.work(), 60)
            assert world.runs == 21

        asyncio.run(main())

    def test_a_result_larger_than_all_room_is_given_and_not_kept(self) -> None:
        async def main() -> None:
            world = World(max_kept_bytes=10)
            assert await world.coordinator.once(b"k", world.work(b"x" * 100), 60) == b"x" * 100
            await world.coordinator.once(b"k", world.work(), 60)
            assert world.runs == 2

        asyncio.run(main())

    def test_closing_ends_what_is_under_way(self) -> None:
        async def main() -> None:
            world = World()
            task = asyncio.create_task(world.coordinator.once(b"k", world.work(gate=asyncio.Event()), 60))
            await asyncio.sleep(0)
            await world.coordinator.close()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
