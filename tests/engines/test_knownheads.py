"""What an ingress sends about many people's requests is known on all of its connections."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Flow, Forward, Respond
from sidecar.core.http import RECURS, RequestHead
from sidecar.core.runtime import Limits
from sidecar.engines.express.knownheads import KnownHeads
from sidecar.engines.express.requesthead import HeadRefused, KnownFields, RequestParser
from tests.engines.harness import (
    EchoUpstream,
    PlainApplication,
    RawClient,
    bounded,
    respond,
    serving,
    upstream_at,
)

PEER = "10.0.0.1"
PARSER = RequestParser(Limits())
YES = respond(200, b"yes")


def request(cookie: str, target: str = "/", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: test\r\nCookie: {cookie}\r\n\r\n".encode("latin-1")


def learned(data: bytes) -> KnownFields:
    assert PARSER.parse(data) == len(data)
    known = PARSER.learn(data)
    assert known is not None
    return known


def kept(heads: KnownHeads, data: bytes, times: int = 2) -> KnownFields:
    known = learned(data)
    for _ in range(times):
        heads.keep(known, PEER)
    return known


def with_length(cookie: str, length: int) -> bytes:
    head = request(cookie, method="DELETE")
    return head[:-2] + b"Content-Length: %d\r\n\r\n" % length


class TestMemory:
    def test_a_length_of_nothing_is_no_body(self) -> None:
        """Envoy asks with one."""
        heads = KnownHeads()
        known = kept(heads, with_length("a", 0))
        assert known.framing == b"Content-Length: 0\r\n"
        assert heads.recall(PARSER, with_length("a", 0), PEER) == (known, (b"DELETE", b"/"))

    def test_any_other_length_is_not_known(self) -> None:
        """S51: what follows such a head is not the next one."""
        data = with_length("a", 5)
        assert PARSER.parse(data) == len(data)
        assert PARSER.learn(data) is None

    def test_fields_are_known_from_the_second_time_on(self) -> None:
        heads = KnownHeads()
        known = kept(heads, request("a"), times=1)
        assert heads.recall(PARSER, request("a"), PEER) is None
        heads.keep(known, PEER)
        assert heads.recall(PARSER, request("a", "/other"), PEER) == (known, (b"GET", b"/other"))

    def test_fields_are_known_of_their_peer_alone(self) -> None:
        """S75: what one caller may ask says nothing of another that sends the same bytes."""
        heads = KnownHeads()
        kept(heads, request("a"))
        assert heads.recall(PARSER, request("a"), "10.0.0.2") is None

    def test_other_fields_are_not_known(self) -> None:
        heads = KnownHeads()
        kept(heads, request("a"))
        assert heads.recall(PARSER, request("b"), PEER) is None
        assert heads.recall(PARSER, request("a") + request("a"), PEER) is None
        assert heads.recall(PARSER, request("a")[:-2], PEER) is None
        assert heads.recall(PARSER, b"", PEER) is None

    @given(st.binary(max_size=20), st.sampled_from([b"GET", b"HEAD", b"POST", b"get", b"DELETE", b"CONNECT"]))
    def test_what_is_recalled_is_what_parsing_gives(self, noise: bytes, method: bytes) -> None:
        heads = KnownHeads()
        known = kept(heads, request("a"))
        for target in (noise, b"/" + noise):
            data = b"%b %b%b" % (method, target, request("a")[len(b"GET /") :])
            for _ in range(3):
                if found := heads.recall(PARSER, data, PEER):
                    parser = RequestParser(Limits())
                    assert parser.parse(data) == len(data)
                    assert found == (known, (parser.method, parser.target))
                    assert known.headers == parser.headers

    def test_a_line_that_may_have_a_body_or_is_none_is_not_recalled(self) -> None:
        heads = KnownHeads()
        kept(heads, request("a"))
        for line in ("POST /", "GET  /", "GET /#a", "GET http://test/", "\r\nGET /", ""):
            data = line.encode() + request("a")[len(b"GET /") :]
            assert heads.recall(PARSER, data, PEER) is None

    def test_memory_is_bounded_in_number(self) -> None:
        heads = KnownHeads()
        for number in range(5000):
            kept(heads, request(f"{number}"))
        assert len(heads) <= 2048
        assert heads.recall(PARSER, request("4999"), PEER) is not None

    def test_memory_is_bounded_in_bytes(self) -> None:
        heads = KnownHeads()
        for number in range(1200):
            kept(heads, request(f"{number}" + "x" * 8000))
        assert len(heads) * 8000 <= 4 * 1024 * 1024

    def test_what_comes_once_takes_no_place(self) -> None:
        heads = KnownHeads()
        for number in range(20_000):
            kept(heads, request(f"{number}"), times=1)
        assert len(heads) == 0

    def test_what_no_longer_comes_is_forgotten_and_what_comes_is_not(self) -> None:
        heads = KnownHeads()
        for cookie in ("gone", "here"):
            kept(heads, request(cookie))
        for now in range(100, 200):
            heads.sweep(now)
            assert heads.recall(PARSER, request("here"), PEER) is not None
        assert len(heads) == 1
        assert heads.recall(PARSER, request("gone"), PEER) is None


class Remembering(PlainApplication):
    """Answers everything with the same answer, and counts how often it met each memo."""

    def __init__(self, *, recurs: bool = True) -> None:
        super().__init__()
        self.recurs = recurs
        self.met: list[int] = []

    def decide(self, head: RequestHead) -> Respond | Forward | Flow:
        memo = head.memo
        if memo is None:
            self.met.append(-1)
            return YES
        if self.recurs:
            memo[RECURS] = True
        cookies = [value for name, value in head.headers if name == b"Cookie"]
        assert memo.setdefault("cookies", cookies) == cookies
        count = memo.get("count", 0)
        assert isinstance(count, int)
        memo["count"] = count + 1
        self.met.append(count)
        return YES


async def alternate(application: Remembering, rounds: int) -> list[int]:
    """Send the requests of three browsers in turn over two connections; return what the memos counted."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(application))
        clients = [await stack.enter_async_context(await RawClient.connect(server.address)) for _ in range(2)]
        for number in range(rounds):
            answer = await clients[number % 2].exchange(request(f"browser-{number % 3}", f"/{number}"))
            assert (answer.status, answer.body) == (200, b"yes")
    return application.met


def test_a_memo_that_recurs_comes_on_every_connection_of_its_peer() -> None:
    async def main() -> None:
        met = await alternate(Remembering(), 24)
        # Twice made anew, then the second one goes on to come.
        assert met[:6] == [0] * 6
        assert met[-3:] == [6, 6, 6]

    bounded(main)


def test_another_memo_stays_with_its_connection() -> None:
    async def main() -> None:
        assert await alternate(Remembering(recurs=False), 24) == [0] * 24

    bounded(main)


def test_what_came_in_between_has_no_say_in_the_framing() -> None:
    """S51: a body, HTTP/1.0 and HEAD end with their own request."""
    between = [
        b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n",
    ]

    async def main() -> None:
        application = Remembering()
        async with serving(application) as server, await RawClient.connect(server.address) as client:
            first = [await client.exchange(request("a")) for _ in range(2)]
            for data in between:
                await client.exchange(data)
                await client.exchange(request("b"))
                await client.exchange(data)
                answer = await client.exchange(request("a"))
                assert sorted(answer.headers) == sorted(first[1].headers)  # no Connection field
                assert (answer.status, answer.body) == (200, b"yes")
            head = await client.ask("/", "Cookie: a", method="HEAD")
            assert (head.status, head.body) == (200, b"")
            client.send(request("a") + request("b") + request("a", "/last"))
            assert [(await client.answer()).body for _ in range(3)] == [b"yes"] * 3
            assert (await client.exchange(b"GET / HTTP/1.1\r\nCookie: a\r\n\r\n")).status == 400

    bounded(main)


def test_a_head_that_is_refused_is_refused_with_known_fields_too() -> None:
    """S51, S53."""
    heads = KnownHeads()
    kept(heads, request("a"))
    data = b"GET /a b" + request("a")[len(b"GET /") :]
    assert heads.recall(PARSER, data, PEER) is None
    with pytest.raises(HeadRefused):
        PARSER.parse(data)


def test_a_length_of_nothing_goes_upstream_each_time() -> None:
    """S51: as it was sent, and never for a request that sent none."""

    async def main() -> None:
        async with (
            EchoUpstream() as upstream,
            serving(PlainApplication(upstream_at(upstream.address))) as server,
        ):
            async with await RawClient.connect(server.address) as client:
                for data in [with_length("a", 0)] * 3 + [request("a")] * 2 + [with_length("a", 0)]:
                    assert (await client.exchange(data)).status == 200
                body = with_length("a", 5) + b"hello"
                assert (await client.exchange(body)).status == 200
            lengths = [
                [value for name, value in each.headers if name.lower() == "content-length"]
                for each in upstream.requests
            ]
            assert lengths == [["0"]] * 3 + [[]] * 2 + [["0"], ["5"]]
            assert upstream.requests[-1].body == b"hello"

    bounded(main)
