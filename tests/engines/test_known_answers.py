"""Answers whose head has come before are passed on without reading it anew, and no differently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from sidecar.application import AnswerHead
from sidecar.core.decision import Finish, Flow, Forward, Respond
from sidecar.core.http import HeaderPair, RequestHead
from tests.engines.harness import (
    FINISH,
    PlainApplication,
    RawClient,
    ScriptedUpstream,
    bounded,
    read_request,
    respond,
    serving,
    upstream_at,
)

DATE = "Tue, 24 Nov 2026 20:46:32 GMT"
HEAD = f"HTTP/1.1 200 Fine\r\nDate: {DATE}\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 5\r\n\r\n".encode()
PASSED = [("Date", DATE), ("X-A", "1"), ("X-A", "2"), ("Content-Length", "5")]

OWN = {b"/own": respond(403, b"mine"), b"/empty": respond(204, b"")}


class Marking(PlainApplication):
    """Has another word on the answers to `/marked`, and the very same answer each time to what is in OWN."""

    def decide(self, head: RequestHead) -> Respond | Forward | Flow:
        return OWN.get(head.target) or super().decide(head)

    def forward(self, head: RequestHead) -> Forward:
        forward = super().forward(head)
        if head.target == b"/marked":
            forward.finish = replace(FINISH, set_headers=((b"X-Mark", b"ours"),))
        return forward

    def finish(self, finish: Finish, status: int, headers: list[HeaderPair]) -> AnswerHead:
        passed = super().finish(finish, status, headers)
        return AnswerHead([*passed.headers, *finish.set_headers])


@asynccontextmanager
async def answering(*, pieces: int = 1) -> AsyncIterator[tuple[RawClient, Marking]]:
    """An upstream that answers every request with the same bytes, HEAD without the body."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            body = b"" if request.method == "HEAD" else b"hello"
            if pieces == 1:
                writer.write(HEAD + body)
            else:
                writer.write(HEAD + body[:2])
                await asyncio.sleep(0.01)
                writer.write(body[2:])
            await writer.drain()

    async with ScriptedUpstream(script) as upstream:
        application = Marking(upstream_at(upstream.address))
        async with serving(application) as server, await RawClient.connect(server.address) as client:
            yield client, application


@pytest.mark.parametrize("pieces", [1, 2])
def test_an_answer_is_the_same_each_time_it_comes(pieces: int) -> None:
    async def main() -> None:
        async with answering(pieces=pieces) as (client, application):
            answers = [await client.ask(f"/{number}") for number in range(6)]
            assert all((a.status, a.headers, a.body) == (200, PASSED, b"hello") for a in answers)
            assert application.observer.sent == [len(HEAD) + 5] * 6

    bounded(main)


def test_a_known_head_is_passed_by_the_word_of_its_own_request() -> None:
    """S40: what one request's answer may carry says nothing of another's with the same bytes."""

    async def main() -> None:
        async with answering() as (client, _):
            for target in ("/", "/", "/", "/marked", "/", "/marked", "/marked", "/"):
                answer = await client.ask(target)
                assert (answer.header("X-Mark") == "ours") == (target == "/marked")

    bounded(main)


def test_a_known_head_is_framed_for_each_client_anew() -> None:
    """RFC 9110 §9.3.2, RFC 9112 §9.3: HEAD, HTTP/1.0 and a last request have framing of their own."""

    async def main() -> None:
        async with answering() as (client, _):
            for _ in range(4):
                assert (await client.ask("/")).headers == PASSED
            head = await client.ask("/", method="HEAD")
            assert (head.headers, head.body) == (PASSED, b"")
            old = await client.exchange(b"GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n")
            assert (old.header("Connection"), old.body) == ("keep-alive", b"hello")
            last = await client.ask("/", "Connection: close")
            assert (last.header("Connection"), last.body) == ("close", b"hello")
            assert await client.is_closed()

    bounded(main)


def test_an_answer_of_ours_is_the_same_each_time_it_is_given() -> None:
    async def main() -> None:
        async with answering() as (client, application):
            for target in ("/own", "/own", "/own", "/empty", "/empty", "/empty", "/own", "/", "/own"):
                answer = await client.ask(target)
                length = answer.header("Content-Length")
                expected = {
                    "/own": (403, b"mine", "4"),
                    "/empty": (204, b"", None),
                    "/": (200, b"hello", "5"),
                }
                assert (answer.status, answer.body, length) == expected[target]
                assert [name for name, _ in answer.headers].count("Date") == 1
            sent = application.observer.sent
            assert sent[0] == sent[1] == sent[2] == sent[6] == sent[8]

    bounded(main)


def test_an_answer_of_ours_is_framed_for_each_client_anew() -> None:
    async def main() -> None:
        async with answering() as (client, _):
            for _ in range(3):
                assert (await client.ask("/own")).body == b"mine"
            head = await client.ask("/own", method="HEAD")
            assert (head.header("Content-Length"), head.body) == ("4", b"")
            old = await client.exchange(b"GET /own HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n")
            assert (old.header("Connection"), old.body) == ("keep-alive", b"mine")
            last = await client.ask("/own", "Connection: close")
            assert (last.header("Connection"), last.body) == ("close", b"mine")
            assert await client.is_closed()

    bounded(main)
