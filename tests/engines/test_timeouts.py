"""What one peer may cost us (S56). Limits are scaled down; nothing sleeps for as long as real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sidecar.core.decision import Lease
from sidecar.core.runtime import Limits
from tests.engines.harness import (
    EchoUpstream,
    PlainApplication,
    RawClient,
    ScriptedUpstream,
    bounded,
    read_request,
    serving,
    until,
    upstream_at,
)

SWEEP = 0.02


@asynccontextmanager
async def limited(
    limits: Limits, **facts: object
) -> AsyncIterator[tuple[RawClient, EchoUpstream, PlainApplication]]:
    async with EchoUpstream() as upstream:
        application = PlainApplication(upstream_at(upstream.address, **facts))
        async with (
            serving(application, limits=limits, sweep_seconds=SWEEP) as server,
            await RawClient.connect(server.address) as client,
        ):
            yield client, upstream, application


class TestHeads:
    """S56: a head has one time limit, however its bytes are spread."""

    @pytest.mark.parametrize("data", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX:"])
    def test_a_head_that_does_not_come_is_408(self, data: bytes) -> None:
        async def main() -> None:
            async with limited(Limits(head_seconds=0.05)) as (client, _, application):
                client.send(data)
                answer = await client.answer()
                assert (answer.status, answer.header("Connection")) == (408, "close")
                assert await client.is_closed()
                assert application.observer.refused == [("timeout", "the head came too slowly")]

        bounded(main)

    def test_a_head_that_drips_is_408(self) -> None:
        """S56: slow loris; bytes that keep coming buy no time."""

        async def main() -> None:
            async with limited(Limits(head_seconds=0.1)) as (client, _, application):
                client.send(b"GET / HTTP/1.1\r\n")
                while not application.observer.refused:
                    client.send(b"X: y\r\n")
                    await asyncio.sleep(0.005)
                assert (await client.answer()).status == 408

        bounded(main)

    def test_an_idle_connection_is_closed_without_a_word(self) -> None:
        async def main() -> None:
            async with limited(Limits(idle_seconds=0.05)) as (client, _, application):
                assert (await client.ask("/a")).status == 200
                assert await client.is_closed()
                assert not application.observer.refused

        bounded(main)

    def test_a_stray_empty_line_is_no_slow_head(self) -> None:
        async def main() -> None:
            async with limited(Limits(head_seconds=0.03, idle_seconds=0.2)) as (client, _, _):
                client.send(b"\r\n")
                assert await client.is_closed()

        bounded(main)


class TestBodies:
    """S56: a body must keep a rate, and has no limit in total."""

    def test_a_body_that_drips_is_408(self) -> None:
        async def main() -> None:
            limits = Limits(body_grace_seconds=0.1, body_min_rate=1_000_000)
            async with limited(limits) as (client, upstream, application):
                client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n")
                while not application.observer.done:
                    client.send(b"x")
                    await asyncio.sleep(0.005)
                answer = await client.answer()
                assert (answer.status, answer.header("Connection")) == (408, "close")
                assert application.observer.done[0][2].reason == "timeout"
                assert not upstream.requests

        bounded(main)

    def test_a_body_that_flows_may_take_as_long_as_it_likes(self) -> None:
        async def main() -> None:
            limits = Limits(body_grace_seconds=0.05, body_min_rate=100, idle_seconds=0.05, head_seconds=0.05)
            async with limited(limits) as (client, upstream, application):
                size = 300
                client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(60):
                    client.send(b"hello")
                    await asyncio.sleep(0.005)
                assert (await client.answer()).status == 200
                assert len(upstream.requests[0].body) == size
                assert application.observer.done[0][1] == 200

        bounded(main)

    def test_a_slow_upstream_is_not_held_against_the_client(self) -> None:
        """While we don't read, the client can't be slow."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await go.wait()
            left = size
            while left and (piece := await reader.read(262144)):
                left -= len(piece)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await reader.read()

        async def main() -> None:
            limits = Limits(body_grace_seconds=0.05, body_min_rate=1_000_000)
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with (
                    serving(application, limits=limits, sweep_seconds=SWEEP) as server,
                    await RawClient.connect(server.address) as client,
                    await RawClient.connect(server.address) as dripping,
                ):
                    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size)
                    client.send(bytes(size))
                    await until(lambda: upstream.connections == 1)
                    dripping.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n")
                    # Another, that drips, has been cut off: enough time has passed.
                    assert (await dripping.answer()).status == 408
                    go.set()
                    assert (await client.answer()).status == 200

        size = 20_000_000
        go = asyncio.Event()
        bounded(main)


class TestAnswers:
    """S56: upstreams have time-outs, and peers that take nothing are cut off."""

    def test_an_upstream_that_does_not_answer_is_504(self) -> None:
        async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await read_request(reader)
            ended.append(await reader.read())

        async def main() -> None:
            async with ScriptedUpstream(silent) as upstream:
                application = PlainApplication(upstream_at(upstream.address, response_seconds=0.05))
                async with (
                    serving(application, sweep_seconds=SWEEP) as server,
                    await RawClient.connect(server.address) as client,
                ):
                    assert (await client.ask()).status == 504
                    assert application.observer.done[0][2].reason == "upstream_timeout"
                    await until(lambda: ended)
                    assert (await client.ask("/refused")).status == 403

        ended: list[bytes] = []
        bounded(main)

    def test_an_answer_that_has_begun_has_no_limit(self) -> None:
        async def main() -> None:
            limits = Limits(idle_seconds=0.05, head_seconds=0.05)
            async with limited(limits, response_seconds=0.05) as (client, upstream, _):
                client.get("/sse")
                assert (await client.read_head())[0] == 200
                await asyncio.sleep(0.2)
                for number in range(3):
                    upstream.step.release()
                    assert await anext(client.chunks()) == b"data: %d\n\n" % number

        bounded(main)

    def test_a_client_that_takes_nothing_is_cut_off(self) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(
                    application, limits=Limits(idle_seconds=0.1), sweep_seconds=SWEEP
                ) as server:
                    client = await RawClient.connect(server.address, limit=1000)
                    client.get("/huge?bytes=100000000")
                    await until(lambda: application.observer.done)
                    assert application.observer.done[0][1] == 0
                    assert application.observer.done[0][2].reason == "client_gone"
                    client.reset()

        bounded(main)

    def test_a_peer_that_never_ends_its_half_is_cut_off(self) -> None:
        """After our last answer nobody keeps a connection open."""

        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(
                    application, limits=Limits(idle_seconds=0.05), sweep_seconds=SWEEP
                ) as server:
                    client = await RawClient.connect(server.address)
                    client.send(b"nonsense\r\n\r\n")
                    assert (await client.answer()).status == 400
                    await until(lambda: server.connections == 0)
                    await client.close()

        bounded(main)


class TestConnections:
    """S56: connections are limited."""

    def test_more_than_the_limit_are_told_so(self) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application, limits=Limits(max_connections=2)) as server:
                    first = await RawClient.connect(server.address)
                    second = await RawClient.connect(server.address)
                    assert (await first.ask("/a")).status == 200
                    assert (await second.ask("/a")).status == 200
                    async with await RawClient.connect(server.address) as third:
                        answer = await third.answer()
                        assert (answer.status, answer.header("Connection")) == (503, "close")
                        assert await third.is_closed()
                    await first.close()
                    await until(lambda: server.connections < 2)
                    async with await RawClient.connect(server.address) as fourth:
                        assert (await fourth.ask("/a")).status == 200
                    await second.close()

        bounded(main)


class TestLeases:
    """S54: a stream that outlives its request is held to its lease."""

    @pytest.mark.parametrize("how", ["revoked", "expired", "named"])
    def test_a_stream_ends_with_its_session(self, how: str) -> None:
        async def main() -> None:
            now = [1000.0]
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                application.lease = Lease(session_id="s", user="u", not_after=2000.0, idle_seconds=60.0)
                async with (
                    serving(application, sweep_seconds=SWEEP, clock=lambda: now[0]) as server,
                    await RawClient.connect(server.address) as client,
                ):
                    client.get("/sse")
                    upstream.step.release()
                    await client.read_head()
                    assert await anext(client.chunks()) == b"data: 0\n\n"
                    if how == "revoked":
                        application.revoked.add("s")
                    elif how == "expired":
                        now[0] = 2001.0
                    else:
                        assert server.end_leases(lambda lease: lease.user == "nobody") == 0
                        assert server.end_leases(lambda lease: lease.user == "u") == 1
                    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                        await anext(client.chunks())
                    reason = "session_expired" if how == "expired" else "session_revoked"
                    assert application.observer.done[0][2].reason == reason

        bounded(main)
