"""The upstream's side: what is told apart, what is tried anew, what is given up."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from sidecar.core.runtime import Limits, UpstreamTls
from tests.blackbox.certificates import make_certificate
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

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"


def test_upstreams_at_one_address_keep_their_own_tls(tmp_path: Path) -> None:
    """S40: a connection that one's rules accept is none for the other's."""
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        upstream = EchoUpstream()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        await upstream.start(ssl=context)

        async with upstream:
            right = UpstreamTls(ca_file=str(certificate.certificate), server_name="localhost")
            wrong = UpstreamTls(ca_file=str(certificate.certificate), server_name="other.test")
            untrusted = UpstreamTls(server_name="localhost")
            application = PlainApplication()
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                for rules, status in (
                    (right, 200),
                    (wrong, 502),
                    (untrusted, 502),
                    (right, 200),
                    (wrong, 502),
                ):
                    application.upstream = upstream_at(upstream.address, scheme="https", tls=rules)
                    assert (await client.ask("/a")).status == status
            assert len(upstream.requests) == 2
            assert [done[2].reason for done in application.observer.done].count("upstream_broken") == 3

    bounded(main)


def test_a_tls_handshake_that_hangs_is_504(tmp_path: Path) -> None:
    async def main() -> None:
        async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()
            await asyncio.Event().wait()

        async with ScriptedUpstream(script) as silent:
            where = upstream_at(silent.address, scheme="https", connect_seconds=0.1)
            application = PlainApplication(where)
            async with (
                serving(application, tmp_path, sweep_seconds=0.05) as server,
                await RawClient.connect(server.address) as client,
            ):
                assert (await client.ask("/a")).status == 504
                assert application.observer.done[0][2].reason == "upstream_timeout"

    bounded(main)


def test_an_upstream_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    """mitmproxy would go on with the failure for as long as the client's connection lasts."""

    async def main() -> None:
        async with EchoUpstream() as upstream:
            address = upstream.address
        application = PlainApplication(upstream_at(address))
        async with (
            serving(application, tmp_path) as server,
            await RawClient.connect(server.address) as client,
        ):
            assert (await client.ask("/a")).status == 503
            again = await asyncio.start_server(_good, *address.split(":"))
            async with again:
                assert (await client.ask("/a")).status == 200
            note = application.observer.done[0][2]
            assert note.reason == "upstream_unavailable"
            assert str(note.detail).startswith("test: ")

    bounded(main)


async def _good(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(GOOD)
    await writer.drain()
    writer.close()


def test_connections_that_are_over_are_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedUpstream(_good) as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application, tmp_path) as server,
                await RawClient.connect(server.address) as client,
            ):
                for _ in range(20):
                    assert (await client.ask("/a")).body == b"good"
                (handler,) = server.master.addons.get("proxyserver").connections.values()
                await until(lambda: len(handler.transports) == 1)
                assert (await client.ask("/a")).body == b"good"
                assert len(handler.layer.context.layers[-1].connections) <= 3
            assert upstream.connections == 21

    bounded(main)


def test_a_connection_in_use_is_not_idle(tmp_path: Path) -> None:
    """S56: requests that come and go between two looks count too."""

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application, tmp_path, limits=Limits(idle_seconds=0.5), sweep_seconds=0.1) as server,
                await RawClient.connect(server.address) as client,
            ):
                for _ in range(10):
                    assert (await client.ask("/a")).status == 200
                    await asyncio.sleep(0.15)
                assert await client.is_closed()

    bounded(main)
