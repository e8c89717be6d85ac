from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.core.decision import Forward, Respond, Steps
from sidecar.core.effects import (
    ClaimOnce,
    DeleteStored,
    Emit,
    LoadKeys,
    LoadMetadata,
    LoadStored,
    Once,
    ReadBody,
    Revoke,
    SaveStored,
)
from sidecar.core.errors import BadRequest, InvalidToken, ProviderUnavailable, StoreUnavailable
from tests.core.oidcsetup import jwk, jwks, metadata_document, rsa_key
from tests.effects.surroundings import NOW, Bench, Request, Script, local_provider, reply, respond, serving


def metadata_server(seen: list[str], failures: int = 0) -> Script:
    """Return a script that serves discovery and keys, after so many 503s."""
    left = failures

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        seen.append(request.target)
        if left:
            left -= 1
            writer.write(reply(b"", 503))
        elif request.target == "/keys":
            writer.write(reply(jwks(jwk(rsa_key(), kid="k1"))))
        else:
            origin = f"http://{request.headers['host']}"
            endpoints = {
                name: f"{origin}/{path}"
                for name, path in [
                    ("authorization_endpoint", "authorize"),
                    ("token_endpoint", "token"),
                    ("userinfo_endpoint", "userinfo"),
                    ("jwks_uri", "keys"),
                    ("end_session_endpoint", "logout"),
                ]
            }
            writer.write(reply(metadata_document(issuer=origin, **endpoints)))

    return script


class TestFlows:
    def test_results_are_sent_in_and_the_decision_comes_out(self) -> None:
        def steps() -> Steps[Respond | Forward]:
            body: bytes = yield ReadBody(max_bytes=10)
            first = yield ClaimOnce(key=b"k", until=NOW + 10)
            second = yield ClaimOnce(key=b"k", until=NOW + 10)
            return respond(f"{body!r} {first} {second}")

        async def main() -> Respond | Forward:
            async with Bench() as bench:
                return await bench.run(steps(), b"abc")

        assert asyncio.run(main()).note.detail == "b'abc' True False"

    def test_an_error_is_thrown_in_where_the_effect_was_asked_for(self) -> None:
        def steps() -> Steps[Respond | Forward]:
            try:
                yield ReadBody(max_bytes=1)
            except BadRequest as error:
                return respond(error.code)
            return respond("not reached")

        async def main() -> Respond | Forward:
            async with Bench() as bench:
                return await bench.run(steps(), b"abc")

        assert asyncio.run(main()).note.detail == "too_large"

    def test_an_error_that_the_flow_leaves_becomes_its_page(self) -> None:
        """D2: with the event that tells the operator why."""

        def steps() -> Steps[Respond | Forward]:
            yield LoadMetadata(provider=local_provider("http://127.0.0.1:1"))
            return respond("not reached")

        async def main() -> tuple[Respond | Forward, Bench]:
            async with Bench() as bench:
                return await bench.run(steps()), bench

        result, bench = asyncio.run(main())
        assert isinstance(result, Respond)
        assert result.response.status == 502
        (name, fields), *rest = bench.observer.events
        assert (name, fields["code"], fields["request_id"]) == (
            "provider_call_failed",
            "provider_unreachable",
            "req-1",
        )
        assert rest == []

    def test_a_refused_token_that_the_flow_leaves_becomes_a_page_too(self) -> None:
        def steps() -> Steps[Respond | Forward]:
            yield Emit(event="login_refused")
            raise InvalidToken("nonce_mismatch")

        async def main() -> Respond | Forward:
            async with Bench() as bench:
                return await bench.run(steps())

        result = asyncio.run(main())
        assert isinstance(result, Respond)
        assert (result.response.status, result.note.reason) == (403, "login_failed")

    def test_a_defect_passes_through(self) -> None:
        """It is the application's edge that answers 500 and logs the traceback."""

        def steps() -> Steps[Respond | Forward]:
            yield Emit(event="login_refused")
            raise ZeroDivisionError

        async def main() -> None:
            async with Bench() as bench:
                await bench.run(steps())

        with pytest.raises(ZeroDivisionError):
            asyncio.run(main())

    @pytest.mark.parametrize("how", ["cancelled", "defect", "done"])
    def test_a_generator_is_always_closed(self, how: str) -> None:
        ended: list[str] = []

        def steps() -> Steps[Respond | Forward]:
            try:
                yield ReadBody(max_bytes=1)
                return respond("done")
            finally:
                ended.append(how)

        class Never:
            async def read(self, max_bytes: int) -> bytes:
                if how == "defect":
                    raise ZeroDivisionError
                if how == "cancelled":
                    await asyncio.Event().wait()
                return b""

        async def main() -> None:
            from tests.effects.surroundings import flow

            async with Bench() as bench:
                task = asyncio.create_task(bench.runner.run(flow(steps()), Never()))
                await asyncio.sleep(0)
                if how == "cancelled":
                    task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert ended == [how]

        asyncio.run(main())


class TestEffects:
    def test_a_revocation_goes_to_the_coordinator(self) -> None:
        async def main() -> None:
            async with Bench() as bench:
                await bench.perform(Revoke(session_id="s", until=NOW + 1))
                assert bench.revoked == [("s", NOW + 1)]

        asyncio.run(main())

    def test_an_event_goes_to_the_observer(self) -> None:
        async def main() -> None:
            async with Bench() as bench:
                await bench.perform(Emit(event="login_refused", fields=(("code", "x"),)))
                assert bench.observer.events == [("login_refused", {"code": "x"})]

        asyncio.run(main())

    def test_stored_data_is_saved_loaded_and_deleted(self) -> None:
        class Store:
            def __init__(self) -> None:
                self.kept: dict[str, tuple[bytes, float]] = {}

            async def save(self, key: str, sealed: bytes, until: float) -> None:
                self.kept[key] = sealed, until

            async def load(self, key: str) -> bytes | None:
                return self.kept.get(key, (None, 0.0))[0]

            async def delete(self, key: str) -> None:
                self.kept.pop(key, None)

        async def main() -> None:
            async with Bench(stores={"memory": Store()}) as bench:
                await bench.perform(SaveStored(store="memory", key="k", sealed=b"x", until=NOW))
                assert await bench.perform(LoadStored(store="memory", key="k")) == b"x"
                await bench.perform(DeleteStored(store="memory", key="k"))
                assert await bench.perform(LoadStored(store="memory", key="k")) is None

        asyncio.run(main())

    def test_a_store_that_does_not_exist_is_unavailable(self) -> None:
        async def main() -> None:
            async with Bench() as bench:
                await bench.perform(LoadStored(store="none", key="k"))

        with pytest.raises(StoreUnavailable):
            asyncio.run(main())

    def test_metadata_and_keys_are_fetched_and_kept(self) -> None:
        async def main() -> None:
            seen: list[str] = []
            async with serving(metadata_server(seen)) as origin, Bench() as bench:
                provider = local_provider(origin)
                for _ in range(3):
                    await bench.perform(LoadKeys(provider=provider))
                metadata = await bench.perform(LoadMetadata(provider=provider))
                keys = await bench.perform(LoadKeys(provider=provider))

                assert metadata.token_endpoint == f"{origin}/token"
                assert keys.keys[0].kid == "k1"
                assert seen == ["/.well-known/openid-configuration", "/keys"]

        asyncio.run(main())

    def test_other_settings_of_the_same_provider_keep_what_is_known(self) -> None:
        """S73: a reload that only changes a time-out fetches nothing."""

        async def main() -> None:
            seen: list[str] = []
            async with serving(metadata_server(seen)) as origin, Bench() as bench:
                await bench.perform(LoadKeys(provider=local_provider(origin)))
                await bench.perform(LoadKeys(provider=local_provider(origin, call_seconds=3.0)))
                assert len(seen) == 2

                await bench.perform(LoadKeys(provider=local_provider(origin, jwks_uri=f"{origin}/keys")))
                assert len(seen) == 4

        asyncio.run(main())


class TestOnce:
    @staticmethod
    def once(steps: Any) -> Once:
        return Once(key=b"k", steps=steps, keep_seconds=60.0)

    def test_the_work_is_done_once_for_all_who_ask(self) -> None:
        async def main() -> None:
            runs = 0

            def steps() -> Steps[bytes]:
                nonlocal runs
                runs += 1
                yield Emit(event="session_refreshed")
                return b"result"

            async with Bench() as bench:
                asked = [bench.perform(self.once(steps)) for _ in range(20)]
                assert await asyncio.gather(*asked) == [b"result"] * 20
                assert await bench.perform(self.once(steps)) == b"result"
                assert runs == 1
                bench.now += 61
                await bench.perform(self.once(steps))
                assert runs == 2

        asyncio.run(main())

    def test_the_work_goes_on_when_who_began_it_hangs_up(self) -> None:
        """S09: the winner may hang up and the others still get the result."""

        async def main() -> None:
            gate = asyncio.Event()
            seen: list[str] = []
            plain = metadata_server(seen)

            async def held(request: Request, writer: asyncio.StreamWriter) -> None:
                await gate.wait()
                await plain(request, writer)

            async with serving(held) as origin, Bench() as bench:

                def steps() -> Steps[bytes]:
                    metadata = yield LoadMetadata(provider=local_provider(origin))
                    return str(metadata.issuer).encode()

                winner = asyncio.create_task(bench.perform(self.once(steps)))
                await asyncio.sleep(0.05)
                loser = asyncio.create_task(bench.perform(self.once(steps)))
                await asyncio.sleep(0)
                winner.cancel()
                await asyncio.sleep(0)
                gate.set()

                assert await loser == origin.encode()
                assert len(seen) == 1

        asyncio.run(main())

    def test_an_error_reaches_all_who_wait_and_is_not_kept(self) -> None:
        async def main() -> None:
            runs = 0

            def steps() -> Steps[bytes]:
                nonlocal runs
                runs += 1
                yield Emit(event="refresh_refused")
                raise InvalidToken("sub_changed")

            async with Bench() as bench:
                asked = [bench.perform(self.once(steps)) for _ in range(5)]
                results = await asyncio.gather(*asked, return_exceptions=True)
                assert all(isinstance(each, InvalidToken) for each in results)
                with pytest.raises(InvalidToken):
                    await bench.perform(self.once(steps))
                assert runs == 2

        asyncio.run(main())

    def test_shared_work_reads_nobodys_body(self) -> None:
        def steps() -> Steps[bytes]:
            body: bytes = yield ReadBody(max_bytes=1)
            return body

        async def main() -> None:
            async with Bench() as bench:
                await bench.perform(self.once(steps))

        with pytest.raises(BadRequest, match="no_body"):
            asyncio.run(main())


class TestPrepare:
    """S70, D3: discovery at start."""

    def test_it_retries_until_the_provider_answers(self) -> None:
        async def main() -> None:
            seen: list[str] = []
            async with serving(metadata_server(seen, failures=1)) as origin, Bench() as bench:
                provider = local_provider(origin)
                assert not bench.runner.is_ready(provider)

                async def tick() -> None:
                    while not bench.runner.is_ready(provider):
                        bench.now += 1
                        await asyncio.sleep(0.05)

                await asyncio.wait_for(asyncio.gather(bench.runner.prepare(provider), tick()), 10)

                assert bench.runner.is_ready(provider)
                assert [name for name, _ in bench.observer.events] == ["provider_call_failed"]

        asyncio.run(main())

    def test_a_provider_that_goes_down_later_stays_ready(self) -> None:
        async def main() -> None:
            seen: list[str] = []
            async with Bench() as bench:
                async with serving(metadata_server(seen)) as origin:
                    provider = local_provider(origin, call_seconds=1.0)
                    await bench.runner.prepare(provider)
                bench.now += 7200

                metadata = await bench.perform(LoadMetadata(provider=provider))

                assert metadata.issuer == origin
                assert bench.runner.is_ready(provider)

        asyncio.run(main())

    def test_what_is_known_is_bounded(self) -> None:
        async def main() -> None:
            async with Bench() as bench:
                for number in range(300):
                    bench.runner.is_ready(local_provider(f"http://127.0.0.1:{number + 1}"))
                with pytest.raises(ProviderUnavailable):
                    await bench.perform(LoadMetadata(provider=local_provider("http://127.0.0.1:1")))

        asyncio.run(main())
