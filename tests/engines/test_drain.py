"""The end of a listener (S70): what runs is brought to its end, new connections go elsewhere."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.engines.harness import (
    EchoUpstream,
    PlainApplication,
    RawClient,
    bounded,
    serving,
    until,
    upstream_at,
)


def test_idle_connections_are_closed_and_none_is_accepted() -> None:
    """S70: new connections go elsewhere."""

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                assert (await client.ask("/a")).status == 200
                await server.drain(5)
                assert await client.is_closed()
                with pytest.raises(ConnectionError):
                    await RawClient.connect(server.address)

    bounded(main)


def test_a_running_answer_ends_as_it_would_have() -> None:
    """S70: a download runs to its end; an answer that has not begun says that it is the last."""

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application) as server,
                await RawClient.connect(server.address) as streaming,
                await RawClient.connect(server.address) as waiting,
            ):
                streaming.get("/sse")
                await streaming.read_head()
                waiting.send(b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhel")
                await until(lambda: len(application.heads) == 2)
                draining = asyncio.create_task(server.drain(5))
                await until(lambda: server._context.is_draining)
                waiting.send(b"lo")
                answer = await waiting.answer()
                assert (answer.status, answer.header("Connection")) == (200, "close")
                assert await waiting.is_closed()
                assert not draining.done()
                for number in range(3):
                    upstream.step.release()
                    assert await anext(streaming.chunks()) == b"data: %d\n\n" % number
                assert [chunk async for chunk in streaming.chunks()] == []
                assert await streaming.is_closed()
                await draining

    bounded(main)


def test_a_head_under_way_is_served() -> None:
    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                client.send(b"GET /refused HTTP/1.1\r\nHo")
                await until(lambda: any(down.buffer for down in server._context.downstreams))
                draining = asyncio.create_task(server.drain(5))
                await until(lambda: server._context.is_draining)
                client.send(b"st: test\r\n\r\n")
                answer = await client.answer()
                assert (answer.status, answer.header("Connection")) == (403, "close")
                await draining

    bounded(main)


def test_the_deadline_ends_what_is_left() -> None:
    """S70: what has not ended by then is broken off, never ended cleanly."""

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                client.get("/sse")
                await client.read_head()
                began = time.monotonic()
                await server.drain(0.05)
                assert time.monotonic() - began < 2
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await anext(client.chunks())
                assert server.connections == 0 or await gone(server)
                assert application.observer.done[0][1] == 0

    bounded(main)


async def gone(server: object) -> bool:
    await until(lambda: server.connections == 0)  # type: ignore[attr-defined]
    return True


def test_a_drain_with_nothing_open_is_over_at_once() -> None:
    async def main() -> None:
        application = PlainApplication()
        async with serving(application) as server:
            began = time.monotonic()
            await server.drain(30)
            assert time.monotonic() - began < 1

    bounded(main)
