"""WebSockets: the handshake, the bytes, the lease, the orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from sidecar.core.decision import Lease
from sidecar.engines import express
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

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWEEP = 0.02


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Return an unmasked frame."""
    size = len(payload)
    length = bytes((size,)) if size < 126 else b"\x7f" + size.to_bytes(8)
    return bytes(((0x80 if fin else 0) | opcode,)) + length + payload


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@asynccontextmanager
async def proxied(
    server: Server, application: PlainApplication, **options: object
) -> AsyncIterator[tuple[str, express.ExpressServer]]:
    """An engine in front of a websockets server; yields the URL."""
    port = server.sockets[0].getsockname()[1]
    application.upstream = upstream_at(f"127.0.0.1:{port}")
    async with serving(application, sweep_seconds=SWEEP, **options) as express_server:  # type: ignore[arg-type]
        yield f"ws://{express_server.address}/chat", express_server


class TestHandshake:
    def test_a_tunnel_opens_only_after_101(self) -> None:
        """S54: the handshake goes up with fields that the engine wrote, and bytes flow after the answer."""

        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.send(HANDSHAKE)
                    answer = await client.answer()
                    assert answer.status == 101
                    assert (answer.header("Connection"), answer.header("Upgrade")) == ("Upgrade", "websocket")
                    request = upstream.requests[0]
                    assert (request.header("Connection"), request.header("Upgrade")) == (
                        "Upgrade",
                        "websocket",
                    )
                    client.send(frame(2, b"hello"))
                    assert await client.reader.readexactly(7) == frame(2, b"hello")
                    assert application.observer.done[0][:2] == ("/ws", 101)
                    assert server.connections == 1
                await until(lambda: application.observer.closed == 1)

        bounded(main)

    def test_bytes_that_came_with_the_heads_are_not_lost(self) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(SWITCH + frame(1, b"from server"))
            seen.append(await reader.readexactly(13))
            await reader.read()

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.send(HANDSHAKE + frame(1, b"from client"))
                    assert (await client.answer()).status == 101
                    assert await client.reader.readexactly(13) == frame(1, b"from server")
                    await until(lambda: seen)
                    assert seen == [frame(1, b"from client")]

        seen: list[bytes] = []
        bounded(main)

    def test_without_a_101_what_follows_is_a_request_and_judged_as_one(self) -> None:
        """S54: bytes behind a handshake that failed never reach the upstream unseen."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                seen.append((await read_request(reader)).target)
                writer.write(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.send(HANDSHAKE + b"GET /refused HTTP/1.1\r\nHost: test\r\n\r\n")
                    assert (await client.answer()).status == 426
                    assert (await client.answer()).status == 403
                    assert seen == ["/ws"]
                    assert [head.target for head in application.heads] == [b"/ws", b"/refused"]

        seen: list[str] = []
        bounded(main)

    def test_a_101_that_the_core_does_not_accept_is_502(self) -> None:
        async def main() -> None:
            class Strict(PlainApplication):
                def finish(self, finish, status, headers):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
                    answer = super().finish(finish, status, headers)
                    answer.is_tunnel = False
                    return answer

            async with EchoUpstream() as upstream:
                application = Strict(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.send(HANDSHAKE + frame(1, b"hello"))
                    assert (await client.answer()).status == 502

        bounded(main)


class TestBytes:
    @pytest.mark.parametrize("compression", ["deflate", None])
    def test_messages_pass_in_both_directions(self, compression: str | None) -> None:
        async def main() -> None:
            async with serve_websockets(
                echo, "127.0.0.1", 0, compression=compression, max_size=None
            ) as server:
                application = PlainApplication()
                async with (
                    proxied(server, application) as (url, _),
                    connect(url, compression=compression, max_size=None, proxy=None) as client,
                ):
                    for message in ("text", b"bytes", "", "ä" * 70_000, b"\x00" * 3_000_000):
                        await client.send(message)
                        assert await client.recv() == message
                    await client.send(["frag", "ment", "ed"])
                    assert await client.recv() == "fragmented"
                    await (await client.ping())

        bounded(main)

    def test_a_close_and_its_code_pass(self) -> None:
        async def main() -> None:
            async def bye(connection: ServerConnection) -> None:
                await connection.close(4001, "bye")

            async with serve_websockets(bye, "127.0.0.1", 0) as server:
                application = PlainApplication()
                async with (
                    proxied(server, application) as (url, express_server),
                    connect(url, proxy=None) as client,
                ):
                    with pytest.raises(websockets.ConnectionClosed):
                        await client.recv()
                    assert (client.close_code, client.close_reason) == (4001, "bye")
                    await until(lambda: express_server.connections == 0)

        bounded(main)

    def test_a_reader_that_stands_still_stops_the_writer(self) -> None:
        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(SWITCH)
            while True:
                writer.write(frame(2, bytes(65536)))
                await writer.drain()
                written.append(1)

        async def main() -> None:
            async with ScriptedUpstream(flood) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server:
                    client = await RawClient.connect(server.address, limit=1000)
                    client.send(HANDSHAKE)
                    last = -1
                    while last != len(written):
                        last = len(written)
                        await asyncio.sleep(0.1)
                    assert len(written) < 500
                    # It reads on, and so does everybody else.
                    await client.reader.readexactly(40_000_000)
                    assert len(written) > last
                    client.reset()

        written: list[int] = []
        bounded(main)

    def test_either_side_may_vanish(self) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server:
                    for leave in (RawClient.reset, RawClient.abort, RawClient.half_close):
                        client = await RawClient.connect(server.address)
                        client.send(HANDSHAKE)
                        assert (await client.answer()).status == 101
                        leave(client)
                        await until(lambda: server.connections == 0)
                        client.abort()
                assert application.observer.opened == application.observer.closed == 3

        bounded(main)


class TestLease:
    """S54: a socket is closed at the end of its session or at its logout."""

    LEASE = Lease(session_id="s1", user="u", not_after=2000.0, idle_seconds=60.0)

    @asynccontextmanager
    async def open(
        self, application: PlainApplication, now: list[float]
    ) -> AsyncIterator[tuple[ClientConnection, express.ExpressServer]]:
        async with serve_websockets(echo, "127.0.0.1", 0) as server:
            application.lease = application.lease or self.LEASE
            async with (
                proxied(server, application, clock=lambda: now[0]) as (url, express_server),
                connect(url, proxy=None) as client,
            ):
                await client.send("hello")
                assert await client.recv() == "hello"
                yield client, express_server

    async def assert_going_away(self, client: ClientConnection) -> None:
        with pytest.raises(websockets.ConnectionClosed):
            await client.recv()
        assert client.close_code == 1001

    @pytest.mark.parametrize("how", ["revoked", "expired", "named"])
    def test_the_socket_ends_with_its_session(self, how: str) -> None:
        """S54: revocation reaches open WebSockets, by a close frame."""

        async def main() -> None:
            now = [1000.0]
            application = PlainApplication()
            async with self.open(application, now) as (client, server):
                if how == "revoked":
                    application.revoked.add("s1")
                elif how == "expired":
                    now[0] = 2000.0
                else:
                    assert server.end_leases(lambda lease: lease.session_id == "other") == 0
                    assert server.end_leases(lambda lease: lease.session_id == "s1") == 1
                await self.assert_going_away(client)
                await until(lambda: server.connections == 0)

        bounded(main)

    def test_traffic_is_activity_and_silence_ends_it(self) -> None:
        async def main() -> None:
            application = PlainApplication()
            application.lease = Lease(session_id="s2", user="u", not_after=2e9, idle_seconds=0.2)
            async with self.open(application, [1000.0]) as (client, _):
                for _ in range(40):
                    await client.send("still here")
                    assert await client.recv() == "still here"
                    await asyncio.sleep(0.01)
                assert set(application.touched) == {"s2"}
                # At most once for each sweep, however much traffic.
                assert len(application.touched) < 40
                await self.assert_going_away(client)

        bounded(main)

    def test_without_a_lease_nobody_is_asked(self) -> None:
        async def main() -> None:
            async with serve_websockets(echo, "127.0.0.1", 0) as server:
                application = PlainApplication()
                async with proxied(server, application) as (url, _), connect(url, proxy=None) as client:
                    for _ in range(10):
                        await client.send("hello")
                        await client.recv()
                        await asyncio.sleep(0.01)
                    assert not application.touched

        bounded(main)


class TestEnd:
    """S70: an end of ours is 1001 in both directions, at a frame boundary (RFC 6455 §5.4, §5.5.1, §7.4.1)."""

    def test_both_sides_are_told(self) -> None:
        async def main() -> None:
            codes: list[int | None] = []

            async def keep(connection: ServerConnection) -> None:
                async for _ in connection:
                    await connection.send("ok")
                codes.append(connection.close_code)

            async with serve_websockets(keep, "127.0.0.1", 0) as server:
                application = PlainApplication()
                async with (
                    proxied(server, application) as (url, express_server),
                    connect(url, proxy=None) as client,
                ):
                    await client.send("hello")
                    assert await client.recv() == "ok"
                    await express_server.drain(5)
                    with pytest.raises(websockets.ConnectionClosed):
                        await client.recv()
                    assert client.close_code == 1001
                    await until(lambda: codes)
                    assert codes == [1001]

        bounded(main)

    @pytest.mark.parametrize("cut", ["between fragments", "within a fragment"])
    def test_a_fragmented_message_of_10_mib_is_interrupted_at_a_boundary(self, cut: str) -> None:
        """A control frame may stand between the fragments of a message, never within one."""
        size = 1024 * 1024
        fragments = [frame(2 if not n else 0, bytes(size), fin=n == 9) for n in range(10)]
        half = b"".join(fragments[:5])
        if cut == "within a fragment":
            half += fragments[5][: size // 2]

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(SWITCH + half)
            await writer.drain()
            await go.wait()
            writer.write(b"".join(fragments)[len(half) :])
            close = await reader.readexactly(8)
            # Masked, as frames towards a server are.
            assert close[:2] == b"\x88\x82"
            assert bytes(a ^ b for a, b in zip(close[6:], close[2:4], strict=True)) == b"\x03\xe9"
            writer.write(frame(8, b"\x03\xe9"))
            told.append(await reader.read())

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with (
                    serving(application) as server,
                    await RawClient.connect(server.address, limit=2**24) as client,
                ):
                    client.send(HANDSHAKE)
                    assert (await client.answer()).status == 101
                    received = await client.reader.readexactly(len(half))
                    draining = asyncio.create_task(server.drain(5))
                    await until(lambda: told_to_end(server))
                    go.set()
                    client.send(b"\x88\x82\x00\x00\x00\x00\x03\xe9")
                    received += await client.reader.read()
                    await draining
                    whole = 5 if cut == "between fragments" else 6
                    assert received == b"".join(fragments[:whole]) + b"\x88\x02\x03\xe9"
                    await until(lambda: told)
                    assert told == [b""]

        go = asyncio.Event()
        told: list[bytes] = []
        bounded(main)

    def test_a_peer_that_has_closed_is_not_told_again(self) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.send(HANDSHAKE)
                    assert (await client.answer()).status == 101
                    # The echo sends it back: both sides have closed, and wait for the other's TCP end.
                    client.send(b"\x88\x02\x03\xe8")
                    assert await client.reader.readexactly(4) == b"\x88\x02\x03\xe8"
                    await server.drain(5)
                    assert await client.is_closed()

        bounded(main)

    def test_peers_that_do_not_answer_are_cut_off(self) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    client.send(HANDSHAKE)
                    assert (await client.answer()).status == 101
                    await server.drain(0.05)
                    assert await client.reader.readexactly(4) == b"\x88\x02\x03\xe9"
                    assert await client.is_closed()

        bounded(main)


def told_to_end(server: express.ExpressServer) -> bool:
    return all(tunnel.is_ending for tunnel in server._context.tunnels)
