from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sidecar.core.runtime import Limits
from tests.engines.harness import (
    EchoUpstream,
    PlainApplication,
    RawClient,
    bounded,
    serving,
    until,
    upstream_at,
)

LIMITS = Limits(max_head_bytes=8192, max_headers=40, max_target_bytes=2048)
POST = b"POST /echo HTTP/1.1\r\nHost: test\r\n"


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[RawClient, EchoUpstream, PlainApplication]]:
    """A client's connection to an engine in front of an echo."""
    async with EchoUpstream() as upstream:
        application = PlainApplication(upstream_at(upstream.address))
        async with (
            serving(application, limits=LIMITS) as server,
            await RawClient.connect(server.address) as client,
        ):
            yield client, upstream, application


MALFORMED = {
    "a space before the colon": POST + b"X : y\r\n\r\n",
    "obs-fold": POST + b"X: y\r\n z\r\n\r\n",
    "bare LF between fields": POST + b"X: y\nZ: a\r\n\r\n",
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "NUL in a value": POST + b"X: \x00\r\n\r\n",
    "CR in a value": POST + b"X: a\rb\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "list of lengths": POST + b"Content-Length: 5,5\r\n\r\nhello",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "hexadecimal length": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "length beside chunked": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "RTSP": b"OPTIONS / RTSP/1.0\r\nHost: a\r\n\r\n",
    "ICE": b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    "unknown method": b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    "lower-case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
}


class TestHeads:
    @pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
    def test_malformed_heads_are_400_and_closed(self, data: bytes) -> None:
        """S51: and nothing of them reaches the upstream, nor does what follows them."""

        async def main() -> None:
            async with proxied() as (client, upstream, application):
                client.send(data + b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n")
                answer = await client.answer()
                assert (answer.status, answer.header("Connection")) == (400, "close")
                assert await client.is_closed()
                assert not upstream.requests
                assert not application.heads
                assert application.observer.refused[0][0] == "invalid_request"

        bounded(main)

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"GET /" + b"a" * 2048 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000, 431),
            (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 40 + b"\r\n", 431),
            (POST + b"Expect: tea\r\nContent-Length: 1\r\n\r\n", 417),
        ],
    )
    def test_limits_are_answered_and_closed(self, data: bytes, status: int) -> None:
        """S56: size and count of a head are limited before anybody looks at it."""

        async def main() -> None:
            async with proxied() as (client, upstream, _):
                answer = await client.exchange(data)
                assert (answer.status, answer.header("Connection")) == (status, "close")
                assert await client.is_closed()
                assert not upstream.requests

        bounded(main)

    def test_a_head_that_comes_byte_by_byte_is_served(self) -> None:
        async def main() -> None:
            async with proxied() as (client, upstream, _):
                for byte in b"GET /slow HTTP/1.1\r\nHost: test\r\nX: y\r\n\r\n":
                    client.send(bytes((byte,)))
                    await client.writer.drain()
                    await asyncio.sleep(0)
                assert (await client.answer()).status == 200
                assert [request.target for request in upstream.requests] == ["/slow"]

        bounded(main)

    def test_a_client_that_leaves_within_a_head_costs_nothing(self) -> None:
        async def main() -> None:
            async with proxied() as (client, upstream, application):
                client.send(b"GET / HTTP/1.1\r\nHost:")
                client.half_close()
                assert await client.is_closed()
                assert not upstream.requests
                assert not application.observer.done

        bounded(main)


BROKEN_BODIES = {
    "bare LF after a size": b"5\nhello\r\n0\r\n\r\n",
    "garbage after a size": b"5 x\r\nhello\r\n0\r\n\r\n",
    "no CRLF after data": b"5\r\nhelloXX0\r\n\r\n",
    "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "huge size": b"FFFFFFFFFFFFFFFFF\r\nhello\r\n",
    "negative size": b"-1\r\n",
    "malformed trailer": b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
}


class TestBodies:
    @pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
    @pytest.mark.parametrize("together", [True, False])
    def test_broken_chunked_bodies_are_400(self, body: bytes, *, together: bool) -> None:
        """S52: the client is told that it is to blame; the upstream never sees an end."""

        async def main() -> None:
            async with proxied() as (client, upstream, application):
                head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
                if together:
                    client.send(head + body)
                else:
                    client.send(head + b"1\r\na\r\n")
                    await until(lambda: upstream.connections)
                    client.send(body)
                answer = await client.answer()
                assert (answer.status, answer.header("Connection")) == (400, "close")
                assert await client.is_closed()
                assert not upstream.requests
                assert application.observer.done[-1][1:2] == (400,)
                assert application.observer.done[-1][2].reason == "invalid_request"

        bounded(main)

    @pytest.mark.parametrize(
        "framing", [b"Content-Length: 9\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"]
    )
    def test_a_body_that_breaks_off_is_400(self, framing: bytes) -> None:
        """S52: a client that ends within its body is told 400; its upstream connection is dropped."""

        async def main() -> None:
            async with proxied() as (client, upstream, _):
                client.send(POST + framing)
                await until(lambda: upstream.connections)
                client.half_close()
                assert (await client.answer()).status == 400
                assert await client.is_closed()
                assert not upstream.requests

        bounded(main)

    def test_trailers_are_dropped(self) -> None:
        """S52: httptools shows a trailer as it shows a header; an identity name there must reach nobody."""

        async def main() -> None:
            async with proxied() as (client, upstream, _):
                answer = await client.exchange(
                    POST + b"Transfer-Encoding: chunked\r\nTrailer: X-Forwarded-User\r\n\r\n"
                    b"5\r\nhello\r\n0\r\nX-Forwarded-User: root\r\n\r\n"
                )
                assert answer.status == 200
                assert upstream.requests[0].body == b"hello"
                assert upstream.requests[0].header("X-Forwarded-User") is None
                assert (await client.ask("/next")).status == 200
                assert upstream.requests[1].header("X-Forwarded-User") is None

        bounded(main)


class TestUpgrade:
    SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"

    @pytest.mark.parametrize("protocol", [b"h2c", b"TLS/1.0", b"foo/2", b"websocket"])
    def test_a_body_behind_an_upgrade_stays_a_body(self, protocol: bytes) -> None:
        """S54: httptools ends the request at its head, and would read the body as the next request."""

        async def main() -> None:
            async with proxied() as (client, upstream, application):
                client.send(
                    POST
                    + b"Connection: Upgrade\r\nUpgrade: %b\r\nContent-Length: %d\r\n\r\n%b"
                    % (protocol, len(self.SMUGGLED), self.SMUGGLED)
                )
                answer = await client.answer()
                if protocol == b"websocket":
                    # RFC 6455 §4.1: no handshake has a body.
                    assert answer.status == 400
                    assert not upstream.requests
                else:
                    assert upstream.requests[0].body == self.SMUGGLED
                    assert upstream.requests[0].header("Upgrade") is None
                assert len(application.heads) == 1

        bounded(main)

    def test_h2c_never_becomes_a_tunnel(self) -> None:
        """S54: not even when the upstream would."""

        async def main() -> None:
            async with proxied() as (client, _, application):
                client.send(
                    b"GET /ws HTTP/1.1\r\nHost: test\r\n"
                    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
                )
                assert (await client.answer()).status == 502
                assert application.observer.done[-1][2].reason == "upstream_broken"

        bounded(main)

    def test_an_upgrade_that_nobody_wants_leaves_the_connection_usable(self) -> None:
        async def main() -> None:
            async with proxied() as (client, upstream, _):
                for _ in range(2):
                    answer = await client.ask("/a", "Connection: Upgrade", "Upgrade: h2c")
                    assert answer.status == 200
                assert {request.connection for request in upstream.requests} == {1}

        bounded(main)


def test_pipelined_requests_are_answered_in_order() -> None:
    """S53: one at a time, each with its own answer, whatever the cuts."""

    async def main() -> None:
        async with proxied() as (client, upstream, _):
            parts = []
            for number in range(40):
                body = b"x" * number
                parts.append(
                    b"GET /refused HTTP/1.1\r\nHost: test\r\n\r\n"
                    if number % 5 == 0
                    else POST.replace(b"echo", b"%d" % number)
                    + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
                )
            data = b"".join(parts)
            for at in range(0, len(data), 77):
                client.send(data[at : at + 77])
                await client.writer.drain()
            for number in range(40):
                answer = await client.answer()
                if number % 5 == 0:
                    assert answer.status == 403
                else:
                    assert answer.json()["target"] == f"/{number}"
            assert all(len(r.body) == int(r.target[1:]) for r in upstream.requests)

    bounded(main)


def test_a_client_that_pipelines_without_end_is_read_no_further() -> None:
    """S56: what waits for its turn is bounded by what one read brings."""

    async def main() -> None:
        async with proxied() as (client, upstream, _):
            client.get("/sse")
            await until(lambda: upstream.requests)
            request = b"GET /refused HTTP/1.1\r\nHost: test\r\n\r\n" * 1000
            for _ in range(400):
                client.send(request)
            # 16 MB were written; the socket took what the kernel buffers, and no more.
            transport = client.writer.transport
            size = transport.get_write_buffer_size()
            await asyncio.sleep(0)
            assert size > 8_000_000
            assert transport.get_write_buffer_size() > 8_000_000
            for _ in range(3):
                upstream.step.release()
            assert (await client.answer()).status == 200
            assert (await client.answer()).status == 403
            client.abort()

    bounded(main)


def test_a_client_that_pipelines_keeps_nobody_waiting() -> None:
    """S56: others have their turn after a few of its requests."""

    async def main() -> None:
        async with (
            proxied() as (client, _, application),
            await RawClient.connect(client.address) as other,
        ):
            client.send(b"GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n" * 4000)
            await until(lambda: application.observer.done)
            assert (await other.ask("/refused")).status == 403
            assert len(application.observer.done) < 3000
            for _ in range(4000):
                assert (await client.answer()).status == 204

    bounded(main)


def test_fields_that_come_again_are_the_same_fields() -> None:
    """A keep-alive client's fields are compared instead of parsed; a change of one byte is noticed."""

    async def main() -> None:
        async with proxied() as (client, upstream, application):
            for target, value in (("/a", "1"), ("/b", "1"), ("/c", "2"), ("/d", "1"), ("/e", "1")):
                await client.ask(target, f"X: {value}")
                assert upstream.requests[-1].target == target
                assert upstream.requests[-1].header("X") == value
            # A request with a body in between, one with a line less, and one whose line is none.
            await client.exchange(POST + b"X: 1\r\nContent-Length: 2\r\n\r\nhi")
            assert (await client.ask("/f", "X: 1")).status == 200
            assert (await client.ask("/g")).status == 200
            assert upstream.requests[-1].header("X") is None
            memos = [head.memo for head in application.heads]
            assert memos[0] is memos[1]
            assert memos[1] is not memos[2]
            assert memos[3] is memos[4]
            answer = await client.exchange(b"GET /h  HTTP/1.1\r\nHost: test\r\n\r\n")
            assert answer.status == 400

    bounded(main)
