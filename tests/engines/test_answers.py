"""What an upstream answers, well or badly, and what of it reaches the downstream."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.core.runtime import Limits
from tests.engines.harness import (
    Answer,
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

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[RawClient, EchoUpstream, PlainApplication]]:
    async with EchoUpstream() as upstream:
        application = PlainApplication(upstream_at(upstream.address))
        async with serving(application) as server, await RawClient.connect(server.address) as client:
            yield client, upstream, application


@asynccontextmanager
async def answering(
    *answers: bytes, closes: bool = False
) -> AsyncIterator[tuple[RawClient, PlainApplication]]:
    """An upstream that answers its requests with these bytes, over as many connections as it takes."""
    left = list(answers)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            await read_request(reader)
            writer.write(left.pop(0))
            await writer.drain()
            if closes:
                return
        await reader.read()

    async with ScriptedUpstream(script) as upstream:
        application = PlainApplication(upstream_at(upstream.address))
        application.upstream_server = upstream  # type: ignore[attr-defined]  # for counting its connections
        async with serving(application) as server, await RawClient.connect(server.address) as client:
            yield client, application


class TestFraming:
    """RFC 9112 §6.3."""

    def test_head_has_no_body_whatever_the_upstream_says(self) -> None:
        """S53: httptools can't be told that an answer belongs to HEAD."""

        async def main() -> None:
            async with echoing() as (client, upstream, _):
                for target in ("/a", "/chunked", "/http10", "/b"):
                    answer = await client.ask(target, method="HEAD")
                    assert (answer.status, answer.body) == (200, b"")
                assert (await client.ask("/c")).json()["target"] == "/c"
                # HEAD costs the connection: a body against the rules might still be on its way.
                assert upstream.connections == 5

        bounded(main)

    def test_head_tells_the_length_that_get_would_have(self) -> None:
        async def main() -> None:
            async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 123\r\n\r\n") as (client, _):
                assert (await client.ask(method="HEAD")).header("Content-Length") == "123"

        bounded(main)

    @pytest.mark.parametrize("status", ["204", "304"])
    def test_204_and_304_have_no_body(self, status: str) -> None:
        async def main() -> None:
            async with echoing() as (client, upstream, _):
                for _ in range(3):
                    answer = await client.ask(f"/status?code={status}")
                    assert (answer.status, answer.header("Content-Length")) == (int(status), None)
                    assert answer.header("Transfer-Encoding") is None
                assert upstream.connections == 1

        bounded(main)

    @pytest.mark.parametrize("status", [b"304 Not Modified", b"204 No Content"])
    def test_a_body_where_none_may_be_costs_the_connection(self, status: bytes) -> None:
        """S53: it is never taken for the next answer."""

        async def main() -> None:
            evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            bad = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(evil), evil)
            good = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
            async with answering(bad, good) as (client, application):
                assert (await client.ask()).body == b""
                assert (await client.ask()).body == b"good"
                assert application.upstream_server.connections == 2  # type: ignore[attr-defined]

        bounded(main)

    @pytest.mark.parametrize("target", ["/close", "/http10"])
    def test_an_answer_up_to_the_close_is_chunked(self, target: str) -> None:
        async def main() -> None:
            async with echoing() as (client, _, _):
                for _ in range(2):
                    answer = await client.ask(target)
                    assert answer.header("Transfer-Encoding") == "chunked"
                    assert answer.json()["target"] == target

        bounded(main)

    @pytest.mark.parametrize("target", ["/close", "/http10", "/chunked"])
    def test_for_http_10_an_unknown_length_ends_with_the_connection(self, target: str) -> None:
        async def main() -> None:
            async with echoing() as (client, _, _):
                client.send(f"GET {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
                answer = await client.answer()
                assert answer.header("Transfer-Encoding") is None
                assert answer.header("Connection") == "close"
                assert answer.json()["target"] == target

        bounded(main)

    def test_http_10_may_keep_its_connection(self) -> None:
        async def main() -> None:
            async with echoing() as (client, _, _):
                for target in ("/a", "/refused", "/b"):
                    client.send(f"GET {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
                    assert (await client.answer()).header("Connection") == "keep-alive"
                client.send(b"GET /a HTTP/1.0\r\n\r\n")
                assert (await client.answer()).header("Connection") == "close"
                assert await client.is_closed()

        bounded(main)

    def test_chunk_extensions_and_trailers_are_dropped(self) -> None:
        async def main() -> None:
            async with echoing() as (client, _, _):
                client.get("/chunked")
                client.send(b"GET /refused HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                data = await client.reader.read()
                assert b"ext=1" not in data
                assert b"evil" not in data
                assert data.endswith(b"refused\n")

        bounded(main)

    def test_a_missing_date_is_added_and_a_given_one_passes(self) -> None:
        """RFC 9110 §6.6.1."""

        async def main() -> None:
            dated = b"HTTP/1.1 200 OK\r\nDate: Mon, 24 Nov 2025 19:41:00 GMT\r\nContent-Length: 0\r\n\r\n"
            plain = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            async with answering(dated, plain) as (client, _):
                assert (await client.ask()).header("Date") == "Mon, 24 Nov 2025 19:41:00 GMT"
                assert (await client.ask()).header("Date") == "Fri, 15 Jan 2027 08:00:00 GMT"

        bounded(main)

    def test_close_is_told_and_done(self) -> None:
        async def main() -> None:
            async with echoing() as (client, upstream, _):
                answer = await client.ask("/a", "Connection: close")
                assert answer.header("Connection") == "close"
                assert await client.is_closed()
                # The downstream's wish is none of the upstream's business.
                assert upstream.requests[0].header("Connection") is None

        bounded(main)


BROKEN = {
    "not HTTP": b"<html>hello</html>",
    "HTTP/0.9": b"hello\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length beside chunked": CHUNKED[:-2] + b"Content-Length: 1\r\n\r\n0\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 0\r\n\r\n",
    "response splitting": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "too large": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000,
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "endless 1xx": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40,
    "a first chunk that is none": CHUNKED + b"xyz\r\n",
    "a second chunk that is none": CHUNKED + b"5\r\nhello\r\nxyz\r\n",
}


class TestBroken:
    @pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
    def test_what_is_no_answer_is_502(self, answer: bytes) -> None:
        """S53: and its connection is never used again."""

        async def main() -> None:
            good = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
            async with answering(answer, good) as (client, application):
                assert (await client.ask()).status == 502
                note = application.observer.done[0][2]
                assert (note.reason, bool(note.detail)) == ("upstream_broken", True)
                assert (await client.ask()).body == b"good"
                assert application.upstream_server.connections == 2  # type: ignore[attr-defined]

        bounded(main)

    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"])
    def test_closing_before_the_head_is_complete_is_502(self, answer: bytes) -> None:
        async def main() -> None:
            async with answering(answer, closes=True) as (client, _):
                assert (await client.ask()).status == 502
                assert (await client.ask("/refused")).status == 403

        bounded(main)

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            CHUNKED + b"5\r\nhello\r\n",
            CHUNKED + b"5\r\nhello",
            CHUNKED + b"5\r\nhello\r\n0\r\n",
        ],
    )
    @pytest.mark.parametrize("version", ["1.1", "1.0"])
    def test_an_answer_that_breaks_off_is_broken_off(self, answer: bytes, version: str) -> None:
        """Never half an answer: no last chunk, no clean end, and for HTTP/1.0 a reset."""

        async def main() -> None:
            async with answering(answer, closes=True) as (client, application):
                client.send(f"GET / HTTP/{version}\r\nHost: test\r\n\r\n".encode())
                found = await broken(client)
                assert not found.is_complete
                assert application.observer.done[0][1] == 0
                assert application.observer.done[0][2].reason == "upstream_broken"

        bounded(main)

    def test_chunks_that_break_later_are_broken_off(self) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(CHUNKED + b"5\r\nhello\r\n")
            await go.wait()
            writer.write(b"5\r\nhelloXX")
            await reader.read()

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.get()
                    await client.read_head()
                    assert await anext(client.chunks()) == b"hello"
                    go.set()
                    assert not (await broken(client)).is_complete

        go = asyncio.Event()
        bounded(main)

    def test_an_answer_up_to_the_close_that_ends_in_a_reset_is_broken_off(self) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
            await writer.drain()
            sock = writer.get_extra_info("socket")
            await go.wait()
            sock.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # SO_LINGER: close with a reset
            writer.transport.abort()

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.get()
                    status, _ = await client.read_head()
                    assert status == 200
                    assert await anext(client.chunks()) == b"hello"
                    go.set()
                    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                        await anext(client.chunks())

        go = asyncio.Event()
        bounded(main)


# In a process of its own: within ours the order of events would be too orderly.
RUDE = """
import socket, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    peer, _ = listener.accept()
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += peer.recv(4096)
    time.sleep(0.0005)
    peer.sendall(b"HTTP/1.1 413 Too Large\\r\\nContent-Length: 5\\r\\n\\r\\nlarge")
    peer.close()
"""


def count_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def send_for_ever(client: RawClient) -> None:
    while True:
        client.send(b"10000\r\n" + bytes(65536) + b"\r\n")
        await client.writer.drain()


async def broken(client: RawClient) -> Answer:
    try:
        return await client.answer()
    except (ConnectionResetError, asyncio.IncompleteReadError):
        return Answer(status=0, headers=[], body=b"", is_complete=False)


class TestInformational:
    """RFC 9110 §15.2."""

    def test_early_hints_pass_with_what_they_are_for(self) -> None:
        """RFC 8297; a cookie in one would pass by the core's word on answers."""

        async def main() -> None:
            async with echoing() as (client, upstream, _):
                client.get("/early")
                assert await client.read_head() == (103, [("Link", "</a.css>; rel=preload")])
                assert (await client.answer()).body == b"hello"
                assert (await client.ask("/a")).status == 200
                # S53: after a 1xx the connection is not used again.
                assert upstream.connections == 2

        bounded(main)

    def test_http_10_gets_none(self) -> None:
        async def main() -> None:
            async with echoing() as (client, _, _):
                client.send(b"GET /early HTTP/1.0\r\n\r\n")
                assert (await client.read_head())[0] == 200

        bounded(main)

    def test_100_is_swallowed(self) -> None:
        async def main() -> None:
            late = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            async with answering(late) as (client, _):
                client.get()
                assert (await client.read_head())[0] == 200

        bounded(main)


class TestExpect:
    """RFC 9110 §10.1.1."""

    HEAD = b"POST /%b HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"

    def test_100_comes_after_the_decision_and_expect_is_not_passed_on(self) -> None:
        async def main() -> None:
            async with echoing() as (client, upstream, _):
                client.send(self.HEAD % b"a")
                assert await client.read_head() == (100, [])
                client.send(b"hello")
                assert (await client.answer()).status == 200
                assert upstream.requests[0].header("Expect") is None
                assert upstream.requests[0].body == b"hello"

        bounded(main)

    def test_a_refused_request_gets_no_100(self) -> None:
        async def main() -> None:
            async with echoing() as (client, _, _):
                client.send(self.HEAD % b"refused")
                assert (await client.read_head())[0] == 403

        bounded(main)

    def test_a_body_that_is_here_already_needs_no_100(self) -> None:
        async def main() -> None:
            async with echoing() as (client, _, _):
                client.send(self.HEAD % b"a" + b"hello")
                assert (await client.read_head())[0] == 200

        bounded(main)


class TestEarlyAnswers:
    """S53: an upstream that answers before it has the whole body."""

    def test_the_answer_passes_and_both_connections_end(self) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
            ended.append(await reader.read())

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\nhello")
                    answer = await client.answer()
                    assert (answer.status, answer.body) == (413, b"large")
                    assert answer.header("Connection") == "close"
                    await until(lambda: ended)
                    assert ended == [b"hello"]
                    client.send(b"x" * 100_000)
                    assert await client.is_closed()

        ended: list[bytes] = []
        bounded(main)

    def test_a_client_that_writes_all_before_it_reads_still_gets_the_answer(self) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge")
            await writer.drain()

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server:
                    for _ in range(20):
                        async with await RawClient.connect(server.address) as client:
                            size = 4_000_000
                            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size)
                            client.send(b"x" * size)
                            await client.writer.drain()
                            assert (await client.answer()).status == 413

        bounded(main)

    def test_an_answer_before_a_reset_is_not_lost(self) -> None:
        """An upstream that answers 413 and closes with the body unread resets us while we write."""

        async def main(port: int) -> None:
            application = PlainApplication(upstream_at(f"127.0.0.1:{port}"))
            async with serving(application) as server:
                for _ in range(30):
                    async with await RawClient.connect(server.address) as client:
                        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2000000\r\n\r\n")
                        client.send(bytes(2_000_000))
                        await client.writer.drain()
                        statuses.append((await client.answer()).status)

        statuses: list[int] = []
        before = count_open_files()
        with subprocess.Popen([sys.executable, "-c", RUDE], stdout=subprocess.PIPE, text=True) as rude:
            assert rude.stdout is not None
            port = int(rude.stdout.readline())
            bounded(lambda: main(port))
            rude.kill()
        assert count_open_files() <= before
        # A kernel that paces may drop an answer that was not sent when its socket closed: rare, and not ours.
        assert statuses.count(413) > 20

    def test_an_upstream_may_answer_while_it_reads(self) -> None:
        """Both directions at once: each piece comes back before the next is sent."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(CHUNKED)
            while (size := int(await reader.readuntil(b"\r\n"), 16)) > 0:
                piece = (await reader.readexactly(size + 2))[:-2]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            writer.write(b"0\r\n\r\n")

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
                    assert (await client.read_head())[0] == 200
                    for number in range(10):
                        client.send(b"1\r\n%d\r\n" % number)
                        assert await anext(client.chunks()) == b"%d" % number
                    client.send(b"0\r\n\r\n")
                    assert [chunk async for chunk in client.chunks()] == []

        bounded(main)


class TestRefusals:
    """An answer of ours to a request with a body that nobody will read."""

    @pytest.mark.parametrize("size", [10, 100_000, 8_000_000])
    def test_the_answer_can_be_read(self, size: int) -> None:
        """A 401 to a POST reaches clients that write everything before they read, instead of a reset."""

        async def main() -> None:
            async with echoing() as (client, _, _):
                client.send(b"POST /refused HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size)
                client.send(b"x" * size)
                await client.writer.drain()
                answer = await client.answer()
                assert (answer.status, answer.body) == (403, b"refused\n")
                if answer.header("Connection") == "close":
                    assert await client.is_closed()

        bounded(main)

    def test_a_small_body_that_is_here_costs_nothing(self) -> None:
        async def main() -> None:
            async with echoing() as (client, _, _):
                for _ in range(2):
                    client.send(b"POST /refused HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello")
                    answer = await client.answer()
                    assert (answer.status, answer.header("Connection")) == (403, None)

        bounded(main)

    def test_an_endless_body_is_cut(self) -> None:
        async def main() -> None:
            async with echoing() as (client, _, application):
                client.send(b"POST /refused HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
                assert (await client.answer()).status == 403
                with pytest.raises(ConnectionError):
                    await send_for_ever(client)
                assert application.observer.done[0][1] == 403

        bounded(main)

    def test_an_answer_to_head_has_no_body(self) -> None:
        async def main() -> None:
            async with echoing() as (client, _, _):
                answer = await client.ask("/refused", method="HEAD")
                assert (answer.status, answer.header("Content-Length")) == (403, "8")
                assert (await client.ask("/nothing")).header("Content-Length") is None

        bounded(main)


def test_each_request_is_reported_once() -> None:
    async def main() -> None:
        async with echoing() as (client, _, application):
            targets = ["/a", "/refused", "/chunked", "/http10", "/status?code=304", "/nothing"]
            for target in targets:
                await client.ask(target)
            observer = application.observer
            assert [done[0] for done in observer.done] == targets
            assert [done[1] for done in observer.done] == [200, 403, 200, 200, 304, 204]
            assert all(seconds >= upstream >= 0 for seconds, upstream in observer.seconds)
            assert all(size > 0 for size in observer.sent)
            assert observer.opened == 1

    bounded(main)


def test_limits_are_those_of_the_configuration() -> None:
    async def main() -> None:
        application = PlainApplication()
        async with (
            serving(application, limits=Limits(max_headers=2)) as server,
            await RawClient.connect(server.address) as client,
        ):
            assert (await client.ask("/refused", "A: b", "C: d")).status == 431

    bounded(main)


def test_no_request_s_id_is_the_beginning_of_another_s() -> None:
    """An error page shows it, and somebody searches the log for it."""

    async def main() -> None:
        async with echoing() as (client, _, application):
            for _ in range(20):
                await client.ask("/refused")
            ids = [head.request_id for head in application.heads]
            assert len(set(ids)) == len(ids) == 20
            assert len({len(name) for name in ids}) == 1

    bounded(main)
