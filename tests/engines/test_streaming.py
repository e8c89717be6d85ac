"""Bodies of any size, piece by piece, in both directions, with bounded memory."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

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

MIB = 1024 * 1024


def resident_bytes() -> int:
    """Return how much memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class TestPieces:
    @pytest.mark.parametrize(("target", "text"), [("/drip", b"piece %d\n"), ("/sse", b"data: %d\n\n")])
    def test_each_piece_arrives_before_the_next_is_made(self, target: str, text: bytes) -> None:
        """A generator's output and an event stream are not gathered."""

        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.get(f"{target}?pieces=5")
                    assert (await client.read_head())[0] == 200
                    for number in range(5):
                        upstream.step.release()
                        assert await anext(client.chunks()) == text % number
                    assert [chunk async for chunk in client.chunks()] == []
                    assert (await client.ask("/a")).status == 200

        bounded(main)

    @pytest.mark.parametrize("framing", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
    def test_each_piece_of_an_upload_arrives_before_the_next_is_sent(self, framing: bytes) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            while seen != b"xxx" and not seen.endswith(b"0\r\n\r\n"):
                seen.extend(await reader.read(100))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.send(b"POST / HTTP/1.1\r\nHost: test\r\n" + framing + b"\r\n\r\n")
                    for number in (1, 2, 3):
                        client.send(b"x" if b"Length" in framing else b"1\r\nx\r\n")
                        await until(lambda n=number: seen.count(b"x") == n)  # type: ignore[misc]
                    if b"Length" not in framing:
                        client.send(b"0\r\n\r\n")
                    assert (await client.answer()).status == 200

        seen = bytearray()
        bounded(main)

    def test_an_answer_that_begins_late_still_arrives(self) -> None:
        """The limits on idle clients and slow heads do not count while the upstream thinks."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            await go.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
            await reader.read()

        async def main() -> None:
            limits = Limits(idle_seconds=0.03, head_seconds=0.03, body_grace_seconds=0.03)
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with (
                    serving(application, limits=limits, sweep_seconds=0.01) as server,
                    await RawClient.connect(server.address) as client,
                    await RawClient.connect(server.address) as idle,
                ):
                    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi")
                    # An idle connection that came later is gone: more time than the limits has passed.
                    assert await idle.is_closed()
                    go.set()
                    assert (await client.answer()).body == b"late"

        go = asyncio.Event()
        bounded(main)


class TestSize:
    @pytest.mark.slow
    @pytest.mark.parametrize("framing", ["length", "chunked"])
    def test_a_large_upload_grows_nothing(self, framing: str) -> None:
        """A 256 MiB upload to a slow upstream: at most 16 MiB more than before."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            received = 0
            while piece := await reader.read(262144):
                received += len(piece)
                peaks.append(resident_bytes())
                if piece.endswith(b"0\r\n\r\n") or received == size:
                    break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    block = bytes(65536)
                    head = b"POST / HTTP/1.1\r\nHost: test\r\n"
                    is_chunked = framing == "chunked"
                    client.send(
                        head
                        + (b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % size)
                        + b"\r\n\r\n"
                    )
                    before = resident_bytes()
                    for _ in range(size // len(block)):
                        client.send(b"10000\r\n" + block + b"\r\n" if is_chunked else block)
                        await client.writer.drain()
                    if is_chunked:
                        client.send(b"0\r\n\r\n")
                    assert (await client.answer()).status == 200
                    assert max(peaks) - before < 16 * MIB

        size = 256 * MIB
        peaks: list[int] = []
        bounded(main)

    @pytest.mark.slow
    def test_a_large_download_past_a_slow_reader_grows_nothing(self) -> None:
        """256 MiB, taken in small bites: at most 16 MiB more than before."""

        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with (
                    serving(application) as server,
                    await RawClient.connect(server.address, limit=65536) as client,
                ):
                    size = 256 * MIB
                    client.get(f"/huge?bytes={size}")
                    await client.read_head()
                    before = resident_bytes()
                    peak = 0
                    left = size
                    while left:
                        left -= len(await client.reader.readexactly(min(left, 50_000)))
                        peak = max(peak, resident_bytes())
                    assert peak - before < 16 * MIB
                    assert (await client.ask("/a")).status == 200

        bounded(main)

    def test_a_client_that_takes_nothing_stops_the_upstream(self) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                written.append(65536)

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with (
                    serving(application) as server,
                    await RawClient.connect(server.address, limit=1000) as client,
                ):
                    client.get()
                    last = -1
                    while last != len(written):
                        last = len(written)
                        await asyncio.sleep(0.1)
                    # Sockets between the three hold some; the engine holds no more than a read.
                    assert sum(written) < 32 * MIB
                    assert not application.observer.done
                    client.reset()

        written: list[int] = []
        bounded(main)

    @pytest.mark.parametrize("target", ["/huge?bytes=9000000", "/huge?bytes=0", "/huge?bytes=65536"])
    def test_every_byte_arrives_once_and_in_order(self, target: str) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    for _ in range(3):
                        answer = await client.ask(target)
                        assert answer.body == bytes(int(target.partition("=")[2]))
                    assert upstream.connections == 1

        bounded(main)

    @pytest.mark.parametrize("chunk", [1, 1000, 70_000])
    def test_an_upload_arrives_as_it_was_sent(self, chunk: int) -> None:
        async def main() -> None:
            body = hashlib.shake_128(b"seed").digest(chunk * 7)
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for at in range(0, len(body), chunk):
                        client.send(b"%X\r\n%b\r\n" % (chunk, body[at : at + chunk]))
                    client.send(b"0\r\n\r\n")
                    assert (await client.answer()).status == 200
                    client.send(b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body))
                    client.send(body)
                    assert (await client.answer()).status == 200
                    assert [request.body for request in upstream.requests] == [body, body]

        bounded(main)


class TestHalfClose:
    """RFC 9112 §9.6."""

    def test_a_client_that_sends_no_more_gets_its_answers(self) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    for target in ("/a", "/refused", "/b"):
                        client.get(target)
                    client.half_close()
                    assert (await client.answer()).json()["target"] == "/a"
                    assert (await client.answer()).status == 403
                    assert (await client.answer()).json()["target"] == "/b"
                    assert await client.is_closed()

        bounded(main)

    def test_a_stream_goes_on(self) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.get("/sse")
                    client.half_close()
                    for _ in range(3):
                        upstream.step.release()
                    assert (await client.answer()).body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"

        bounded(main)

    def test_a_client_that_has_gone_altogether_is_given_up(self) -> None:
        """It looks the same until something is written; it does not keep its upstream busy for ever."""

        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                limits = Limits(head_seconds=0.05)
                async with serving(application, limits=limits, sweep_seconds=0.02) as server:
                    client = await RawClient.connect(server.address)
                    client.get("/sse")
                    await until(lambda: upstream.requests)
                    client.abort()
                    await until(lambda: application.observer.done)
                    assert application.observer.done[0][2].reason == "client_gone"
                    await until(lambda: server.connections == 0)

        bounded(main)
