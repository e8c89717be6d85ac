"""Connections to upstreams: reuse, retry, and never another's answer."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path

import pytest

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

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"


class TestReuse:
    def test_one_connection_serves_many_requests(self) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server:
                    for _ in range(5):
                        async with await RawClient.connect(server.address) as client:
                            assert (await client.ask("/a")).status == 200
                    assert upstream.connections == 1

        bounded(main)

    def test_idle_connections_are_few(self) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address, max_idle_connections=2))
                async with serving(application) as server:
                    clients = [await RawClient.connect(server.address) for _ in range(6)]
                    for client in clients:
                        client.get("/sse")
                    await until(lambda: len(upstream.requests) == 6)
                    for _ in range(18):
                        upstream.step.release()
                    for client in clients:
                        assert (await client.answer()).is_complete
                    for client in clients:
                        client.get("/sse")
                    await until(lambda: len(upstream.requests) == 12)
                    assert upstream.connections == 10

        bounded(main)

    def test_old_connections_are_let_go_before_the_upstream_does(self) -> None:
        """Node closes after 5 s: nothing idles longer than the upstream's keepalive_seconds."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(GOOD)
            ended.append(await reader.read())

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address, keepalive_seconds=0.1))
                async with (
                    serving(application, sweep_seconds=0.02) as server,
                    await RawClient.connect(server.address) as client,
                ):
                    await client.ask()
                    await until(lambda: ended)
                    assert (await client.ask()).body == b"good"
                    assert upstream.connections == 2

        ended: list[bytes] = []
        bounded(main)

    @pytest.mark.parametrize(
        "surplus", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"\r\n", b"0\r\n\r\n"]
    )
    def test_surplus_bytes_cost_the_connection(self, surplus: bytes) -> None:
        """S53: an answer that nobody asked for is nobody's."""

        async def main() -> None:
            async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                request = await read_request(reader)
                writer.write(GOOD + surplus if request.target == "/first" else GOOD)
                await reader.read()

            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    assert (await client.ask("/first")).body == b"good"
                    assert (await client.ask("/second")).body == b"good"
                    assert upstream.connections == 2

        bounded(main)

    def test_surplus_bytes_that_come_later_cost_the_connection(self) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(GOOD)
            await go.wait()
            writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            ended.append(await reader.read())

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    await client.ask()
                    go.set()
                    await until(lambda: ended)
                    assert (await client.ask()).body == b"good"
                    assert upstream.connections == 2

        go = asyncio.Event()
        ended: list[bytes] = []
        bounded(main)

    def test_an_equal_upstream_of_a_later_configuration_shares_the_pool(self) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    for _ in range(30):
                        application.upstream = upstream_at(upstream.address)
                        assert (await client.ask("/a")).status == 200
                    assert upstream.connections == 1

        bounded(main)


class TestRetry:
    """RFC 9112 §9.3.1, RFC 9110 §9.2.2."""

    @staticmethod
    async def ask_a_dying_connection(data: bytes) -> tuple[int, list[str]]:
        """Ask over a pooled connection that the upstream closes as the request arrives."""
        seen: list[str] = []

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for number in range(3):
                request = await read_request(reader)
                seen.append(request.method)
                if number == 1:
                    return
                writer.write(GOOD)
                await writer.drain()

        async with ScriptedUpstream(script) as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                await client.ask()
                answer = await client.exchange(data)
                return answer.status, seen

    @pytest.mark.parametrize("method", [b"GET", b"OPTIONS"])
    def test_a_safe_request_is_sent_again_once_on_a_fresh_connection(self, method: bytes) -> None:
        async def main() -> None:
            found = await self.ask_a_dying_connection(method + b" / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert found == (200, ["GET", method.decode(), method.decode()])

        bounded(main)

    @pytest.mark.parametrize(
        "data",
        [
            b"POST / HTTP/1.1\r\nHost: test\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\na",
            b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
            b"DELETE / HTTP/1.1\r\nHost: test\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\na",
        ],
    )
    def test_anything_else_is_never_sent_twice(self, data: bytes) -> None:
        async def main() -> None:
            status, seen = await self.ask_a_dying_connection(data)
            assert status == 502
            assert len(seen) == 2

        bounded(main)

    def test_not_when_an_answer_has_begun(self) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(GOOD)
            await read_request(reader)
            writer.write(b"HTTP/1.1 2")
            await writer.drain()

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    await client.ask()
                    assert (await client.ask()).status == 502
                    assert upstream.connections == 1

        bounded(main)

    def test_not_on_a_fresh_connection(self) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)

        async def main() -> None:
            async with ScriptedUpstream(script) as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    assert (await client.ask()).status == 502
                    assert upstream.connections == 1

        bounded(main)


class TestUnreachable:
    def test_a_refused_connection_is_503(self) -> None:
        async def main() -> None:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                port = unused.getsockname()[1]
                application = PlainApplication(upstream_at(f"127.0.0.1:{port}"))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    for _ in range(2):
                        answer = await client.ask()
                        assert answer.status == 503
                        assert answer.body.startswith(b"upstream_unavailable ")
                    note = application.observer.done[0][2]
                    assert note.reason == "upstream_unavailable"
                    assert application.upstream is not None
                    assert str(note.detail).startswith(f"{application.upstream.name}: ConnectionRefused")

        bounded(main)

    def test_a_connection_that_does_not_come_is_504(self) -> None:
        async def main() -> None:
            # A listener whose backlog is full answers no SYN.
            with socket.socket() as full, socket.socket() as filler, socket.socket() as another:
                full.bind(("127.0.0.1", 0))
                full.listen(0)
                for each in (filler, another):
                    each.setblocking(False)
                    each.connect_ex(full.getsockname())
                where = f"127.0.0.1:{full.getsockname()[1]}"
                application = PlainApplication(upstream_at(where, connect_seconds=0.1))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    assert (await client.ask()).status == 504
                    assert application.observer.done[0][2].reason == "upstream_timeout"

        bounded(main)

    def test_a_missing_socket_file_is_503(self, tmp_path: Path) -> None:
        async def main() -> None:
            application = PlainApplication(upstream_at(f"unix:{tmp_path}/none"))
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                assert (await client.ask()).status == 503

        bounded(main)

    def test_an_upstream_may_be_a_socket_file(self, tmp_path: Path) -> None:
        async def main() -> None:
            upstream = EchoUpstream()
            await upstream.start(tmp_path / "up")
            async with upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    assert (await client.ask("/a")).json()["target"] == "/a"
                    client.abort()

        bounded(main)


class TestCancelled:
    def test_a_client_that_leaves_takes_its_connection_with_it(self) -> None:
        """S53: what is still to come for it must not meet the next request."""

        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application) as server:
                    client = await RawClient.connect(server.address)
                    client.get("/sse")
                    await until(lambda: upstream.requests)
                    client.reset()
                    await until(lambda: application.observer.done)
                    target, status, note = application.observer.done[0]
                    assert (target, status, note.reason) == ("/sse", 0, "client_gone")
                    async with await RawClient.connect(server.address) as other:
                        assert (await other.ask("/a")).json()["target"] == "/a"
                    assert upstream.connections == 2

        bounded(main)

    def test_a_client_that_leaves_while_we_connect_ends_that(self) -> None:
        async def main() -> None:
            with socket.socket() as full, socket.socket() as filler, socket.socket() as another:
                full.bind(("127.0.0.1", 0))
                full.listen(0)
                for each in (filler, another):
                    each.setblocking(False)
                    each.connect_ex(full.getsockname())
                application = PlainApplication(upstream_at(f"127.0.0.1:{full.getsockname()[1]}"))
                async with serving(application) as server:
                    client = await RawClient.connect(server.address)
                    client.get()
                    await until(lambda: application.heads)
                    client.reset()
                    await until(lambda: application.observer.done)
                    assert application.observer.done[0][1] == 0
                    assert server.connections == 0

        bounded(main)


class _Moody:
    """An upstream of bad manners; each body begins with the target that it answers."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    async def script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        goes_on = True
        while goes_on:
            request = await read_request(reader)
            body = request.target.encode() + b" " + b"x" * self.chance.randrange(3000)
            goes_on = await self.answer(writer, body)
            await writer.drain()

    async def answer(self, writer: asyncio.StreamWriter, body: bytes) -> bool:
        """Answer in one of many ways; False when the connection ends."""
        sized = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        match self.chance.randrange(12):
            case 0:
                writer.write(sized + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n/evil")
            case 1:
                head = b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(body)
                writer.write(head + body)
            case 2:
                writer.write(sized[: len(sized) // 2])
                return False
            case 3:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + body)
                return False
            case 4:
                return False
            case 5:
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" + sized)
            case 6:
                for at in range(0, len(sized), 400):
                    writer.write(sized[at : at + 400])
                    await writer.drain()
                    await asyncio.sleep(0)
            case 7 | 8:
                head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                writer.write(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            case _:
                writer.write(sized)
        return True


class _Hasty:
    """A client that pipelines, and often leaves before its answers are there."""

    def __init__(self, chance: random.Random, address: str, number: int) -> None:
        self.chance = chance
        self.address = address
        self.number = number
        self.checked = 0

    async def run(self) -> None:
        for turn in range(6):
            client = await RawClient.connect(self.address)
            try:
                await self.take_turn(client, [f"/{self.number}.{turn}.{n}" for n in range(5)])
            except (ConnectionError, asyncio.IncompleteReadError):
                continue
            finally:
                (client.abort if self.chance.random() < 0.5 else client.reset)()

    async def take_turn(self, client: RawClient, targets: list[str]) -> None:
        for target in targets:
            if self.chance.random() < 0.3:
                body = b"y" * self.chance.randrange(2000)
                head = b"POST %b HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
                client.send(head % (target.encode(), len(body)) + body)
            else:
                client.get(target)
        if self.chance.random() < 0.3:
            await asyncio.sleep(0)
            return
        for target in targets:
            answer = await client.answer()
            assert answer.status in {200, 304, 502}
            if answer.status == 200 and answer.body:
                found = answer.body.split(b" ")[0].decode()
                assert found == target or (not answer.is_complete and target.startswith(found))
                self.checked += 1


@pytest.mark.parametrize("seed", range(6))
def test_no_answer_reaches_another(seed: int) -> None:
    """S53: under pipelining, aborts and bad manners each answer carries the name of its request."""

    async def main() -> None:
        chance = random.Random(seed)
        async with ScriptedUpstream(_Moody(chance).script) as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with serving(application) as server:
                clients = [_Hasty(chance, server.address, number) for number in range(12)]
                await asyncio.gather(*(client.run() for client in clients))
            await until(lambda: server.connections == 0)
            assert sum(client.checked for client in clients) > 30
            assert len(application.observer.done) == len(application.heads)

    bounded(main)
