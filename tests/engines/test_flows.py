"""Flows: decisions that take time, some of which read a body."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.application import BodyReader
from sidecar.core.decision import Forward, Note, Respond
from sidecar.core.errors import BadRequest
from sidecar.core.http import Page, RequestHead, Response
from sidecar.core.runtime import Limits
from tests.engines.harness import (
    EchoUpstream,
    PlainApplication,
    RawClient,
    bounded,
    respond,
    serving,
    until,
    upstream_at,
)


async def read_form(_: RequestHead, body: BodyReader) -> Respond | Forward:
    try:
        return respond(200, await body.read(1000))
    except BadRequest as refused:
        return respond(400, refused.code.encode())


class TestBody:
    @pytest.mark.parametrize(
        "data",
        [
            b"Content-Length: 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ],
    )
    def test_a_flow_reads_the_body_and_the_connection_goes_on(self, data: bytes) -> None:
        async def main() -> None:
            application = PlainApplication()
            application.flow = read_form
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                for _ in range(2):
                    answer = await client.exchange(b"POST /flow HTTP/1.1\r\nHost: test\r\n" + data)
                    assert (answer.status, answer.body) == (200, b"hello")
                for byte in b"POST /flow HTTP/1.1\r\nHost: test\r\n" + data:
                    client.send(bytes((byte,)))
                    await client.writer.drain()
                    await asyncio.sleep(0)
                assert (await client.answer()).body == b"hello"
                assert (await client.ask("/flow")).body == b""

        bounded(main)

    @pytest.mark.parametrize(
        "data",
        [
            b"Content-Length: 2000\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n7D0\r\n" + bytes(2000) + b"\r\n",
        ],
    )
    def test_a_body_that_is_too_large_is_refused_and_the_connection_ends(self, data: bytes) -> None:
        async def main() -> None:
            application = PlainApplication()
            application.flow = read_form
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                answer = await client.exchange(b"POST /flow HTTP/1.1\r\nHost: test\r\n" + data)
                assert (answer.status, answer.body) == (400, b"too_large")
                assert answer.header("Connection") == "close"
                assert await client.is_closed()

        bounded(main)

    def test_a_broken_body_is_refused(self) -> None:
        """S52."""

        async def main() -> None:
            application = PlainApplication()
            application.flow = read_form
            async with serving(application) as server:
                for ending in (b"zz\r\n", None):
                    async with await RawClient.connect(server.address) as client:
                        client.send(
                            b"POST /flow HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe"
                        )
                        if ending is None:
                            client.half_close()
                        else:
                            client.send(b"\r\n" + ending)
                        answer = await client.answer()
                        assert (answer.status, answer.body) == (400, b"invalid_request")
                        assert await client.is_closed()

        bounded(main)

    def test_a_body_that_drips_is_refused(self) -> None:
        """S56."""

        async def main() -> None:
            application = PlainApplication()
            application.flow = read_form
            limits = Limits(body_grace_seconds=0.05, body_min_rate=1_000_000)
            async with (
                serving(application, limits=limits, sweep_seconds=0.02) as server,
                await RawClient.connect(server.address) as client,
            ):
                client.send(b"POST /flow HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nh")
                answer = await client.answer()
                assert (answer.status, answer.body) == (400, b"timeout")

        bounded(main)

    def test_100_comes_when_the_flow_wants_the_body(self) -> None:
        async def main() -> None:
            application = PlainApplication()
            application.flow = read_form
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                client.send(
                    b"POST /flow HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
                )
                assert await client.read_head() == (100, [])
                assert (await client.exchange(b"hello")).body == b"hello"

        bounded(main)

    def test_a_flow_that_does_not_read_it_still_answers(self) -> None:
        async def main() -> None:
            async def answer_at_once(_: RequestHead, body: BodyReader) -> Respond:
                return respond(303, b"")

            application = PlainApplication()
            application.flow = answer_at_once
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                client.send(b"POST /flow HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nhello")
                answer = await client.answer()
                assert (answer.status, answer.header("Connection")) == (303, "close")

        bounded(main)


class TestForward:
    @pytest.mark.parametrize("reads", [True, False])
    @pytest.mark.parametrize("waits", [True, False])
    def test_a_flow_may_end_in_a_forward_with_the_body(self, *, reads: bool, waits: bool) -> None:
        """A refresh of the session, say, before a POST; or one that has looked at the body."""

        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))

                async def refresh(head: RequestHead, body: BodyReader) -> Forward:
                    if waits:
                        await asyncio.sleep(0)
                    if reads:
                        assert await body.read(100) == b"hello"
                    return application.forward(head)

                application.flow = refresh
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    for framing in (
                        b"Content-Length: 5\r\n\r\nhello",
                        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                    ):
                        answer = await client.exchange(b"POST /flow HTTP/1.1\r\nHost: test\r\n" + framing)
                        assert answer.status == 200
                        assert upstream.requests[-1].body == b"hello"
                    assert (await client.ask("/flow")).status == 200 if not reads else True

        bounded(main)

    def test_what_is_pipelined_waits_for_the_flow(self) -> None:
        async def main() -> None:
            go = asyncio.Event()

            async def slow(head: RequestHead, body: BodyReader) -> Respond:
                await go.wait()
                return respond(200, b"slow")

            application = PlainApplication()
            application.flow = slow
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                for target in ("/flow", "/refused", "/flow"):
                    client.get(target)
                await until(lambda: application.heads)
                client.get("/refused")
                await asyncio.sleep(0)
                go.set()
                for body in (b"slow", b"refused\n", b"slow", b"refused\n"):
                    assert (await client.answer()).body == body

        bounded(main)


def test_a_client_that_leaves_cancels_its_flow_and_is_reported() -> None:
    async def main() -> None:
        cancelled = asyncio.Event()

        async def endless(_: RequestHead, body: BodyReader) -> Respond:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            raise AssertionError

        application = PlainApplication()
        application.flow = endless
        async with serving(application) as server:
            client = await RawClient.connect(server.address)
            client.get("/flow")
            await until(lambda: application.heads)
            client.reset()
            await cancelled.wait()
            await until(lambda: application.observer.done)
            assert application.observer.done[0][2].reason == "client_gone"

    bounded(main)


def test_a_half_closed_client_that_waits_too_long_for_a_flow_is_given_up() -> None:
    async def main() -> None:
        async def endless(_: RequestHead, body: BodyReader) -> Respond:
            await asyncio.Event().wait()
            raise AssertionError

        application = PlainApplication()
        application.flow = endless
        limits = Limits(head_seconds=0.05)
        async with (
            serving(application, limits=limits, sweep_seconds=0.02) as server,
            await RawClient.connect(server.address) as client,
        ):
            client.get("/flow")
            client.half_close()
            assert await client.is_closed()

    bounded(main)


def test_pages_are_rendered() -> None:
    async def main() -> None:
        async def show(head: RequestHead, body: BodyReader) -> Respond:
            return Respond(Response(status=200, page=Page(name="x")), Note(site="test", reason="own_page"))

        application = PlainApplication()
        application.flow = show
        async with serving(application) as server, await RawClient.connect(server.address) as client:
            assert (await client.ask("/flow")).body.startswith(b"page ")

    bounded(main)


def test_a_defect_in_a_flow_is_500() -> None:
    async def main() -> None:
        async def broken(_: RequestHead, body: BodyReader) -> Respond:
            raise RuntimeError("defect")

        application = PlainApplication()
        application.flow = broken
        async with (
            serving(application, allows_defects=True) as server,
            await RawClient.connect(server.address) as client,
        ):
            answer = await client.ask("/flow?defect")
            assert (answer.status, answer.header("Connection")) == (500, "close")
            assert await client.is_closed()

    bounded(main)
