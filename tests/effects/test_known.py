"""S21, S70, D3: what is known of a provider is fetched once, kept fresh, and never lost by a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from sidecar.core.effects import CallProvider, ProviderAnswer
from sidecar.core.errors import ProviderUnavailable
from sidecar.effects.known import KnownDocument, KnownProvider
from tests.core.oidcsetup import NOW, answer, jwk, jwks, metadata_document, provider, rsa_key


@dataclass
class Calls:
    """Answers from memory; `down` fails all, `gate` holds each answer back until it is opened."""

    down: bool = False
    keys: bytes = field(default_factory=lambda: jwks(jwk(rsa_key(), kid="k1")))
    document: bytes = field(default_factory=metadata_document)
    made: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None
    status: int = 200

    async def call(self, request: CallProvider) -> ProviderAnswer:
        self.made.append(request.operation)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise ProviderUnavailable("provider_unreachable")
        return answer(self.keys if request.operation == "keys" else self.document, self.status)


@dataclass
class World:
    calls: Calls = field(default_factory=Calls)
    now: float = NOW

    def known(self, **settings: Any) -> KnownProvider:
        return KnownProvider(provider(**settings), self.calls, lambda: self.now)


def kids(keys: Any) -> list[str | None]:
    return [key.kid for key in keys.keys]


class TestMetadata:
    def test_it_is_fetched_once(self) -> None:
        async def main() -> None:
            world = World()
            known = world.known()
            first = await known.metadata.get()
            world.now += 3599

            assert await known.metadata.get() is first
            assert world.calls.made == ["discovery"]

        asyncio.run(main())

    def test_it_is_fetched_anew_when_it_is_old(self) -> None:
        async def main() -> None:
            world = World()
            known = world.known()
            await known.metadata.get()
            world.now += 3600
            world.calls.document = metadata_document(token_endpoint="https://id.example.com/new")

            assert (await known.metadata.get()).token_endpoint == "https://id.example.com/new"

        asyncio.run(main())

    @pytest.mark.parametrize("failure", ["down", "wrong", "empty", "status"])
    def test_a_failure_keeps_the_last_good_one(self, failure: str) -> None:
        """S70: once ready, never unready because of the provider."""

        async def main() -> None:
            world = World()
            known = world.known()
            first = await known.metadata.get()
            world.now += 3600
            world.calls.down = failure == "down"
            world.calls.document = {
                "wrong": metadata_document(issuer="https://evil.example"),
                "empty": b"",
            }.get(failure, world.calls.document)
            world.calls.status = 404 if failure == "status" else 200

            assert await known.metadata.get() is first
            assert known.metadata.is_known

        asyncio.run(main())

    def test_without_discovery_nothing_is_fetched(self) -> None:
        async def main() -> None:
            world = World()
            known = world.known(
                discovery=False,
                authorization_endpoint="https://id.example.com/a",
                token_endpoint="https://id.example.com/t",
                jwks_uri="https://id.example.com/k",
            )

            assert (await known.metadata.get()).token_endpoint == "https://id.example.com/t"
            assert world.calls.made == []

        asyncio.run(main())

    def test_all_who_ask_at_once_wait_for_one_fetch(self) -> None:
        async def main() -> None:
            world = World()
            world.calls.gate = asyncio.Event()
            known = world.known()
            asking = [asyncio.create_task(known.metadata.get()) for _ in range(20)]
            await asyncio.sleep(0)
            world.calls.gate.set()
            results = await asyncio.gather(*asking)

            assert world.calls.made == ["discovery"]
            assert all(each is results[0] for each in results)

        asyncio.run(main())

    def test_who_hangs_up_does_not_end_the_fetch_of_others(self) -> None:
        async def main() -> None:
            world = World()
            world.calls.gate = asyncio.Event()
            known = world.known()
            first, second = (asyncio.create_task(known.metadata.get()) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.sleep(0)
            world.calls.gate.set()

            assert (await second).issuer == "https://id.example.com"
            assert first.cancelled()
            assert world.calls.made == ["discovery"]

        asyncio.run(main())


class TestBackOff:
    def test_a_provider_that_is_down_is_not_asked_by_each_request(self) -> None:
        """D3: all are told at once, and the next try waits, longer after each failure."""

        async def main() -> None:
            world = World(Calls(down=True))
            known = world.known()
            tries = []
            for tick in range(400):
                world.now = NOW + tick / 10
                before = len(world.calls.made)
                with pytest.raises(ProviderUnavailable, match="provider_unreachable"):
                    await known.metadata.get()
                if len(world.calls.made) > before:
                    tries.append(tick / 10)

            pauses = [later - sooner for sooner, later in pairwise(tries)]
            assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 15], abs=0.11)

        asyncio.run(main())

    def test_it_is_used_as_soon_as_it_answers(self) -> None:
        async def main() -> None:
            world = World(Calls(down=True))
            known = world.known()
            with pytest.raises(ProviderUnavailable):
                await known.metadata.get()
            world.calls.down = False
            world.now += 0.5

            assert (await known.metadata.get()).issuer == "https://id.example.com"

        asyncio.run(main())

    def test_a_failure_that_nobody_waits_for_is_no_warning(self) -> None:
        async def main() -> None:
            world = World(Calls(down=True))
            world.calls.gate = asyncio.Event()
            known = world.known()
            asking = asyncio.create_task(known.metadata.get())
            await asyncio.sleep(0)
            asking.cancel()
            world.calls.gate.set()
            await asyncio.sleep(0.01)

            assert not known.metadata.is_fetching

        asyncio.run(main())

    def test_closing_ends_a_fetch(self) -> None:
        async def main() -> None:
            world = World()
            world.calls.gate = asyncio.Event()
            known = world.known()
            asking = asyncio.create_task(known.keys.get())
            await asyncio.sleep(0.01)

            await known.close()

            with pytest.raises(asyncio.CancelledError):
                await asking

        asyncio.run(main())


class TestKeys:
    """S21: one refetch per interval, whoever asks and whatever for."""

    def test_they_come_from_the_metadatas_address(self) -> None:
        async def main() -> None:
            world = World()

            assert kids(await world.known().keys_for(None)) == ["k1"]
            assert world.calls.made == ["discovery", "keys"]

        asyncio.run(main())

    def test_an_unknown_kid_fetches_at_once(self) -> None:
        """D3: a key that changed a moment after it was fetched."""

        async def main() -> None:
            world = World()
            known = world.known()
            await known.keys_for(None)
            world.calls.keys = jwks(jwk(rsa_key(2), kid="k2"))

            assert kids(await known.keys_for("k2")) == ["k2"]

        asyncio.run(main())

    def test_a_flood_of_random_kids_fetches_once_per_interval(self) -> None:
        """S21: 1,000 kids in two minutes: the first fetch, and three out of turn."""

        async def main() -> None:
            world = World()
            known = world.known(keys_min_refetch_seconds=60.0)
            await known.keys_for(None)
            for number in range(1000):
                world.now = NOW + number * 0.125
                assert kids(await known.keys_for(f"random-{number}")) == ["k1"]

            assert world.calls.made.count("keys") == 1 + 3

        asyncio.run(main())

    def test_a_flood_at_once_fetches_once(self) -> None:
        async def main() -> None:
            world = World()
            known = world.known()
            await known.keys_for(None)
            world.calls.gate = asyncio.Event()
            world.calls.keys = jwks(jwk(rsa_key(2), kid="k2"))
            asking = [asyncio.create_task(known.keys_for(f"random-{number}")) for number in range(50)]
            await asyncio.sleep(0.01)
            world.calls.gate.set()

            assert all(kids(keys) == ["k2"] for keys in await asyncio.gather(*asking))
            assert world.calls.made.count("keys") == 2

        asyncio.run(main())

    def test_a_failing_refetch_is_throttled_too_and_keeps_the_keys(self) -> None:
        """S21: an outage does not disable the throttle."""

        async def main() -> None:
            world = World()
            known = world.known()
            await known.keys_for(None)
            world.calls.down = True
            for number in range(20):
                assert kids(await known.keys_for(f"random-{number}")) == ["k1"]

            assert world.calls.made.count("keys") == 2

        asyncio.run(main())

    def test_an_empty_set_does_not_replace_good_keys(self) -> None:
        async def main() -> None:
            world = World()
            known = world.known()
            await known.keys_for(None)
            world.calls.keys = b'{"keys": []}'
            world.now += 601

            assert kids(await known.keys_for(None)) == ["k1"]

        asyncio.run(main())

    def test_a_key_that_was_withdrawn_is_forgotten_in_minutes(self) -> None:
        async def main() -> None:
            world = World()
            known = world.known()
            await known.keys_for(None)
            world.calls.keys = jwks(jwk(rsa_key(2), kid="k2"))
            world.now += 600

            assert kids(await known.keys_for(None)) == ["k2"]

        asyncio.run(main())

    def test_an_unknown_kid_before_the_first_fetch_is_an_ordinary_fetch(self) -> None:
        async def main() -> None:
            world = World()
            known = world.known()
            await known.keys_for("x")
            world.calls.keys = jwks(jwk(rsa_key(2), kid="k2"))

            assert kids(await known.keys_for("k2")) == ["k2"]

        asyncio.run(main())


def test_a_document_of_any_kind_can_be_kept() -> None:
    async def main() -> None:
        count = 0

        async def fetch() -> int:
            nonlocal count
            count += 1
            return count

        clock: Callable[[], float] = lambda: 0.0  # noqa: E731
        document = KnownDocument(fetch, clock, 10.0)

        assert not document.is_known
        assert [await document.get(), await document.get(), await document.fetch()] == [1, 1, 2]

    asyncio.run(main())
