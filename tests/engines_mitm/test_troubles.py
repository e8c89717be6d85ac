"""What mitmproxy does not do by itself, or does wrong: each a test of its name."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.decision import Lease
from sidecar.core.runtime import Limits
from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import upstream_application
from tests.engines.harness import (
    EchoUpstream,
    PlainApplication,
    RawClient,
    ScriptedUpstream,
    read_request,
    until,
    upstream_at,
)
from tests.engines_mitm.mitmharness import bounded, serving

LEASE = Lease(session_id="s", user="ann", not_after=1_800_000_100.0, idle_seconds=0.0)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
# RFC 6455 §1.3's own example.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
)


def test_a_refused_upload_gets_no_100_continue_and_ends_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        application = PlainApplication(upstream_at("127.0.0.1:9"))
        async with (
            serving(application, tmp_path) as server,
            await RawClient.connect(server.address) as client,
        ):
            fields = ("Content-Length: 100000000", "Expect: 100-continue")
            client.get("/refused", *fields, method="POST")
            status, headers = await client.read_head()
            assert status == 403
            assert ("Connection", "close") in headers
            assert await client.reader.readexactly(8) == b"refused\n"
            assert await client.is_closed()

    bounded(main)


def test_a_body_that_is_wanted_is_asked_for_and_streams(tmp_path: Path) -> None:
    async def main() -> None:
        seen = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(5) == b"first"
            seen.set()
            assert await reader.readexactly(6) == b"second"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await reader.read()

        async with ScriptedUpstream(script) as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                client.get("/a", "Content-Length: 11", "Expect: 100-continue", method="POST")
                assert (await client.read_head())[0] == 100
                client.send(b"first")
                await seen.wait()
                client.send(b"second")
                assert (await client.answer()).status == 200

    bounded(main)


@pytest.mark.parametrize(("target", "text"), [("/drip", b"piece %d\n"), ("/sse", b"data: %d\n\n")])
def test_pieces_arrive_as_they_come(tmp_path: Path, target: str, text: bytes) -> None:
    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                client.get(target + "?pieces=3")
                assert (await client.read_head())[0] == 200
                chunks = client.chunks()
                for number in range(3):
                    upstream.step.release()
                    assert await anext(chunks) == text % number

    bounded(main)


def test_an_interim_answer_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                assert (await client.ask("/early")).status == 200
                assert (await client.ask("/a")).status == 200

    bounded(main)


def test_trailers_of_an_upstream_end_its_answer_and_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await read_request(reader)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"
                )

        async with ScriptedUpstream(script) as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                for _ in range(2):
                    answer = await client.ask("/a")
                    assert (answer.status, answer.body, answer.is_complete) == (200, b"ok", True)

    bounded(main)


def test_an_answer_that_breaks_off_is_broken_off(tmp_path: Path) -> None:
    """S53."""

    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
            await writer.drain()
            writer.close()

        async with ScriptedUpstream(script) as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                answer = await client.ask("/a")
                assert not answer.is_complete
            assert application.observer.done[0][1] == 0

    bounded(main)


@pytest.mark.parametrize(
    "answer", [b"", b"NONSENSE\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
)
def test_an_upstream_that_does_not_answer_properly_is_502(tmp_path: Path, answer: bytes) -> None:
    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()
            writer.close()

        async with ScriptedUpstream(script) as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                found = await client.ask("/a")
                assert found.status == 502
                assert found.body.startswith(b"upstream_broken ")
                assert (await client.ask("/refused")).status == 403

    bounded(main)


def test_a_stream_ends_with_its_lease(tmp_path: Path) -> None:
    """S36."""

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            application.lease = LEASE
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                client.get("/sse?pieces=3")
                assert (await client.read_head())[0] == 200
                upstream.step.release()
                await anext(client.chunks())
                application.revoked.add("s")
                assert await client.is_closed()
                await until(lambda: application.observer.done)
            assert application.observer.done[0][2].reason == "session_revoked"

    bounded(main)


def test_a_websocket_ends_with_its_lease_by_a_close_frame(tmp_path: Path) -> None:
    """S54, S36: 1001 on both sides; traffic before counts as activity."""

    async def main() -> None:
        closed: list[bytes] = []

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(SWITCHED)
            await reader.readexactly(8)
            writer.write(b"\x81\x02hi")
            closed.append(await reader.read(100))

        async with ScriptedUpstream(script) as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            application.lease = LEASE
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                assert (await client.ask("/ws", *UPGRADE)).status == 101
                client.send(b"\x81\x82\x00\x00\x00\x00hi")
                assert await client.reader.readexactly(4) == b"\x81\x02hi"
                await until(lambda: application.touched)
                application.revoked.add("s")
                assert (await client.reader.readexactly(4)) == b"\x88\x02\x03\xe9"
                assert await client.is_closed()
                await until(lambda: closed)
                assert closed[0].startswith(b"\x88\x82")

    bounded(main)


def test_a_broken_frame_ends_a_websocket_on_both_sides(tmp_path: Path) -> None:
    """S54: 1002."""

    async def main() -> None:
        closed: list[bytes] = []

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(SWITCHED)
            closed.append(await reader.read(100))

        async with ScriptedUpstream(script) as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                assert (await client.ask("/ws", *UPGRADE)).status == 101
                client.send(b"\x83\x80\x00\x00\x00\x00")
                close = await client.reader.read()
                assert (close[:1], close[2:4]) == (b"\x88", b"\x03\xea")
                await until(lambda: closed)

    bounded(main)


def test_more_connections_than_allowed_are_closed(tmp_path: Path) -> None:
    """S56."""

    async def main() -> None:
        application = PlainApplication(upstream_at("127.0.0.1:9"))
        async with (
            serving(application, tmp_path, limits=Limits(max_connections=1)) as server,
            await RawClient.connect(server.address) as first,
        ):
            assert (await first.ask("/refused")).status == 403
            async with await RawClient.connect(server.address) as second:
                assert await second.is_closed()
            assert (await first.ask("/refused")).status == 403

    bounded(main)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /sse?pieces=9 HTTP/1.1\r\nHost: test\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhello",
        b"POST /refused HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhello",
        b"GET /ws HTTP/1.1\r\nHost: test\r\n" + "\r\n".join(UPGRADE).encode() + b"\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n" * 3,
        b"GET /a HTTP/1.1\r\nHo",
    ],
)
def test_a_client_that_leaves_leaves_nothing_behind(tmp_path: Path, request_bytes: bytes) -> None:
    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with serving(application, tmp_path) as server:
                for _ in range(3):
                    client = await RawClient.connect(server.address)
                    client.send(request_bytes)
                    await asyncio.sleep(0.1)
                    client.reset()
                await until(lambda: not server.connections and not server.requests)
                assert application.observer.opened == application.observer.closed == 3

    bounded(main)


def test_an_upstream_that_takes_too_long_is_504(tmp_path: Path) -> None:
    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            await reader.read()

        async with ScriptedUpstream(script) as upstream:
            application = PlainApplication(upstream_at(upstream.address, response_seconds=0.5))
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                assert (await client.ask("/a")).status == 504

    bounded(main)


def test_a_head_that_comes_too_slowly_is_408(tmp_path: Path) -> None:
    """S56."""

    async def main() -> None:
        application = PlainApplication(upstream_at("127.0.0.1:9"))
        limits = Limits(head_seconds=0.5, idle_seconds=0.5)
        async with (
            serving(application, tmp_path, limits=limits) as server,
            await RawClient.connect(server.address) as client,
            await RawClient.connect(server.address) as idle,
        ):
            client.send(b"GET / HTTP/1.1\r\n")
            assert (await client.answer()).status == 408
            assert await idle.is_closed()

    bounded(main)


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


@pytest.mark.slow
class TestRunning:
    """`doorward run` with `engine: interception`, as a process."""

    @staticmethod
    def doorward(
        folder: Path, provider: ScriptedProvider, upstreams: dict[str, str], **more: Any
    ) -> Doorward:
        return Doorward(
            folder,
            provider=provider.settings(),
            upstreams=upstreams,
            engine="interception",
            authority_folder=str(folder / "authority"),
            **more,
        )

    def test_a_refused_upload_costs_no_memory(self, tmp_path: Path) -> None:
        """119 MiB grew mitmproxy from 72 to 191; at most 16 may remain."""
        with ScriptedProvider().running() as provider, upstream_application() as application:
            assert isinstance(provider, ScriptedProvider)
            with self.doorward(tmp_path, provider, application.upstreams) as doorward:
                before = _resident_mib(doorward.process.pid)
                for _ in range(3):
                    with socket.create_connection(("127.0.0.1", doorward.port)) as raw:
                        host = f"localhost:{doorward.port}"
                        raw.sendall(
                            f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 125000000\r\n\r\n".encode()
                        )
                        started = time.monotonic()
                        with contextlib.suppress(OSError):
                            for _ in range(1000):
                                raw.sendall(b"x" * 125_000)
                        assert time.monotonic() - started < 10
                assert _resident_mib(doorward.process.pid) - before < 16
                assert (tmp_path / "authority").stat().st_mode & 0o777 == 0o700

    def test_sigterm_ends_it_in_the_middle_of_a_refused_stream(self, tmp_path: Path) -> None:
        with ScriptedProvider().running() as provider, upstream_application() as application:
            assert isinstance(provider, ScriptedProvider)
            limits = {"drain": "1s"}
            with (
                self.doorward(tmp_path, provider, application.upstreams, limits=limits) as doorward,
                socket.create_connection(("127.0.0.1", doorward.port)) as raw,
            ):
                host = f"localhost:{doorward.port}"
                raw.sendall(f"POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
                raw.sendall(b"5\r\nhello\r\n")
                assert raw.recv(100).startswith(b"HTTP/1.1 ")
                raw.sendall(b"5\r\nhello\r\n")
                doorward.process.send_signal(signal.SIGTERM)
                assert doorward.process.wait(5) == 0

    def test_a_websocket_keeps_no_messages(self, tmp_path: Path) -> None:
        """100,000 of them cost no memory."""
        with ScriptedProvider().running() as provider, socket.create_server(("127.0.0.1", 0)) as listener:
            assert isinstance(provider, ScriptedProvider)
            upstreams = {"/": f"http://127.0.0.1:{listener.getsockname()[1]}"}
            access = [{"allow": "anyone"}]
            with (
                self.doorward(tmp_path, provider, upstreams, access=access) as doorward,
                socket.create_connection(("127.0.0.1", doorward.port), timeout=20) as raw,
            ):
                lines = ("GET / HTTP/1.1", f"Host: localhost:{doorward.port}", f"Origin: {doorward.url}")
                raw.sendall("\r\n".join((*lines, *UPGRADE, "", "")).encode())
                taken, _ = listener.accept()
                with taken:
                    taken.settimeout(20)
                    taken.recv(65536)
                    taken.sendall(SWITCHED[:-2] + b"Sec-WebSocket-Accept: %b\r\n\r\n" % ACCEPT)
                    assert raw.recv(65536).startswith(b"HTTP/1.1 101 ")
                    _pour(raw, taken, 2_000)
                    before = _resident_mib(doorward.process.pid)
                    _pour(raw, taken, 98_000)
                    assert _resident_mib(doorward.process.pid) - before < 16


def _pour(source: socket.socket, target: socket.socket, count: int) -> None:
    """Send small messages, a thousand at a time, and see as many arrive: a frame of a client is 8 bytes."""
    frames = b"\x81\x82\x00\x00\x00\x00hi" * 1_000
    for _ in range(count // 1_000):
        source.sendall(frames)
        left = len(frames)
        while left:
            left -= len(target.recv(left))
