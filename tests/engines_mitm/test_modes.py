"""The ways to meet requests: only hosts of ours are gated where others pass."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import httpx
import pytest

from sidecar.core.runtime import Limits
from sidecar.engines import mitm
from tests.blackbox.certificates import make_certificate
from tests.engines.harness import EchoUpstream, PlainApplication, RawClient, upstream_at
from tests.engines_mitm.mitmharness import bounded, serving


def is_ours(host: str) -> bool:
    return host.removesuffix(":80").removesuffix(":443") == "app.test"


HOSTS = (r"^app\.test:(80|443)$",)


def test_a_regular_proxy_gates_our_hosts_and_passes_others_untouched(tmp_path: Path) -> None:
    """Plain HTTP: `http://app.test/` is decided, another host's fields arrive as they were sent."""

    async def main() -> None:
        async with EchoUpstream() as ours, EchoUpstream() as other:
            application = PlainApplication(upstream_at(ours.address))
            async with (
                serving(application, tmp_path, mode="regular", is_ours=is_ours, hosts=HOSTS) as server,
                await RawClient.connect(server.address) as client,
            ):
                asked = b"GET http://%b/x HTTP/1.1\r\nHost: %b\r\nX-Forwarded-User: me\r\n\r\n"
                host = other.address.encode()
                assert (await client.exchange(asked % (host, host))).status == 200
                assert (await client.exchange(asked % (b"app.test", b"app.test"))).status == 200
            assert [head.target for head in application.heads] == [b"http://app.test/x"]
            assert other.requests[0].header("X-Forwarded-User") == "me"
            assert other.requests[0].target == "/x"
            assert len(ours.requests) == 1

    bounded(main)


def test_a_regular_proxy_opens_tls_of_our_hosts_alone(tmp_path: Path) -> None:
    """CONNECT: our host shows the authority's certificate, another keeps its own, unopened."""
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        async with EchoUpstream() as ours:
            other = EchoUpstream()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            await other.start(ssl=context)
            application = PlainApplication(upstream_at(ours.address))
            async with (
                other,
                serving(application, tmp_path, mode="regular", is_ours=is_ours, hosts=HOSTS) as server,
            ):
                proxy = f"http://{server.address}"
                authority = ssl.create_default_context(
                    cafile=str(tmp_path / "authority/mitmproxy-ca-cert.pem")
                )
                async with httpx.AsyncClient(proxy=proxy, verify=authority) as client:
                    answer = await client.get("https://app.test/x")
                    assert answer.status_code == 200
                    assert (await client.get("https://app.test/refused")).status_code == 403
                async with httpx.AsyncClient(proxy=proxy, verify=certificate.trust) as client:
                    port = other.address.rpartition(":")[2]
                    assert (await client.get(f"https://localhost:{port}/y")).status_code == 200
                    await asyncio.sleep(1.2)  # longer than a sweep: an unopened tunnel is left alone by it
                    assert (await client.get(f"https://localhost:{port}/z")).status_code == 200
            assert [head.target for head in application.heads] == [b"/x", b"/refused"]
            assert [request.target for request in other.requests] == ["/y", "/z"]
            assert (tmp_path / "authority").stat().st_mode & 0o777 == 0o700

    bounded(main)


def test_bytes_that_look_like_no_http_do_not_pass_to_our_host(tmp_path: Path) -> None:
    """S55: an empty line before the request would make mitmproxy tunnel it, past the gate."""

    async def main() -> None:
        async with EchoUpstream() as ours:
            application = PlainApplication(upstream_at(ours.address))
            host = ours.address.encode()
            async with (
                serving(
                    application,
                    tmp_path,
                    mode="regular",
                    is_ours=lambda name: name == ours.address,
                    hosts=(".",),
                ) as server,
                await RawClient.connect(server.address) as client,
            ):
                client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (host, host))
                assert (await client.read_head())[0] == 200
                client.send(b"\r\nGET /refused HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
                assert (await client.answer()).status == 403
            assert not ours.requests

    bounded(main)


def test_socks5_gates_our_host(tmp_path: Path) -> None:
    async def main() -> None:
        async with EchoUpstream() as ours, EchoUpstream() as other:
            application = PlainApplication(upstream_at(ours.address))

            async with serving(application, tmp_path, mode="socks5", is_ours=is_ours, hosts=HOSTS) as server:
                for name, port, path in (
                    (b"app.test", 80, b"/refused"),
                    (b"127.0.0.1", int(other.address.rpartition(":")[2]), b"/o"),
                ):
                    async with await RawClient.connect(server.address) as client:
                        client.send(b"\x05\x01\x00")
                        assert await client.reader.readexactly(2) == b"\x05\x00"
                        client.send(b"\x05\x01\x00\x03%c%b%b" % (len(name), name, port.to_bytes(2)))
                        assert (await client.reader.readexactly(10))[:2] == b"\x05\x00"
                        answer = await client.exchange(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path, name))
                        assert answer.status == (403 if name == b"app.test" else 200)
            assert [head.target for head in application.heads] == [b"/refused"]
            assert [request.target for request in other.requests] == ["/o"]
            assert not ours.requests

    bounded(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "0.0.0.0", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("tunnels", [False, True])
def test_an_upstream_is_not_reached_past_the_gate(tmp_path: Path, host: str, *, tunnels: bool) -> None:
    """S40: a proxy's client asks for the upstream's own address, with an identity that it made up."""

    async def main() -> None:
        async with EchoUpstream() as ours:
            upstream = upstream_at(ours.address)
            application = PlainApplication(upstream)
            async with serving(
                application, tmp_path, mode="regular", is_ours=is_ours, hosts=HOSTS, upstreams=(upstream,)
            ) as server:
                client = await RawClient.connect(server.address)
                async with client:
                    there = f"{host}:{upstream.port}".encode()
                    if tunnels:
                        client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (there, there))
                        assert (await client.read_head())[0] == 200
                    target = b"/" if tunnels else b"http://%b/" % there
                    client.send(b"GET %b HTTP/1.1\r\nHost: %b\r\n" % (target, there))
                    client.send(b"X-Forwarded-User: admin\r\n\r\n")
                    if tunnels:
                        assert await client.is_closed()
                    else:
                        assert (await client.answer()).status == 502
                    client.abort()
                # By way of the gate it is.
                async with await RawClient.connect(server.address) as client:
                    asked = b"GET http://app.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n"
                    assert (await client.exchange(asked)).status == 200
            assert [request.header("X-Forwarded-User") for request in ours.requests] == [None]

    bounded(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_a_proxy_that_is_asked_for_itself_does_not_ask_itself(tmp_path: Path, host: str) -> None:
    """It would, until no connection is left: one request of anybody's would be enough."""

    async def main() -> None:
        application = PlainApplication()
        with socket.create_server(("0.0.0.0", 0)) as sock:
            server = await mitm.serve(
                application,
                "",
                Limits(),
                sock=sock,
                mode="regular",
                is_ours=is_ours,
                hosts=HOSTS,
                keys=tmp_path / "authority",
            )
            try:
                async with await RawClient.connect(server.address.replace("0.0.0.0", "127.0.0.1")) as client:
                    there = f"{host}:{sock.getsockname()[1]}".encode()
                    asked = b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (there, there)
                    assert (await client.exchange(asked)).status == 502
            finally:
                await server.drain(0)
        assert application.observer.opened <= 2

    bounded(main)
