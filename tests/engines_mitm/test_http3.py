"""HTTP/3 in front of a reverse proxy, by aioquic, which mitmproxy brings."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

from sidecar.core.runtime import ListenerTls
from tests.blackbox.certificates import make_certificate
from tests.engines.harness import EchoUpstream, PlainApplication, upstream_at
from tests.engines_mitm.mitmharness import bounded, serving

if TYPE_CHECKING:
    from aioquic.quic.events import QuicEvent

type Fields = list[tuple[bytes, bytes]]


class _Client(QuicConnectionProtocol):
    """Sends a request, and waits for its whole answer."""

    http: H3Connection | None = None

    def prepare(self) -> None:
        self.http = H3Connection(self._quic)
        self.answers: dict[int, tuple[Fields, bytes]] = {}
        self.ended: dict[int, asyncio.Event] = {}

    async def ask(
        self, fields: Fields, body: bytes = b"", *, seconds: float = 10, ends: bool = True
    ) -> tuple[int, bytes]:
        assert self.http is not None
        stream = self._quic.get_next_available_stream_id()
        self.answers[stream] = ([], b"")
        self.ended[stream] = asyncio.Event()
        self.http.send_headers(stream, fields, end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=ends)
        self.transmit()
        await asyncio.wait_for(self.ended[stream].wait(), seconds)
        headers, received = self.answers[stream]
        return int(dict(headers)[b":status"]), received

    def quic_event_received(self, event: QuicEvent) -> None:
        if self.http is not None:
            for found in self.http.handle_event(event):
                self._take(found)

    def _take(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived | DataReceived) and event.stream_id in self.answers:
            headers, body = self.answers[event.stream_id]
            if isinstance(event, HeadersReceived):
                headers += event.headers
            else:
                body += event.data
            self.answers[event.stream_id] = (headers, body)
            if event.stream_ended:
                self.ended[event.stream_id].set()


def _head(path: bytes, method: bytes = b"GET", *fields: tuple[bytes, bytes]) -> Fields:
    pseudo = [(b":method", method), (b":scheme", b"https"), (b":authority", b"test"), (b":path", path)]
    return [*pseudo, *fields]


def test_requests_by_http_3_are_decided_and_reach_an_http_1_upstream(tmp_path: Path) -> None:
    """S55: a head that HTTP/1.1 could not carry is refused here too."""
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            files = ListenerTls(certificate_file=str(certificate.certificate), key_file=str(certificate.key))
            async with serving(application, tmp_path, tls=files) as server:
                configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN)
                configuration.load_verify_locations(str(certificate.certificate))
                configuration.server_name = "localhost"
                port = int(server.address.rpartition(":")[2])
                async with connect(
                    "127.0.0.1", port, configuration=configuration, create_protocol=_Client
                ) as client:
                    assert isinstance(client, _Client)
                    client.prepare()
                    assert (await client.ask(_head(b"/a")))[0] == 200
                    assert (await client.ask(_head(b"/b", b"POST"), b"hello"))[0] == 200
                    assert await client.ask(_head(b"/refused")) == (403, b"refused\n")
                    await asyncio.sleep(1.2)  # longer than a sweep, which must not disturb it
                    assert (await client.ask(_head(b"/c")))[0] == 200
                    illegal = _head(b"/a", b"GET", (b"x-a", b"1\r\nX-Forwarded-User: root"))
                    # aioquic refuses it before anybody else can: by ending the connection.
                    with contextlib.suppress(TimeoutError):
                        assert (await client.ask(illegal, seconds=1.0))[0] == 400
            assert [request.target for request in upstream.requests] == ["/a", "/b", "/c"]
            assert upstream.requests[0].header("Host") == "test"
            assert upstream.requests[1].body == b"hello"

    bounded(main)


@pytest.mark.parametrize("declared", [b"0", b"3"])
def test_a_body_longer_than_declared_by_http_3_becomes_no_request(tmp_path: Path, declared: bytes) -> None:
    """S55: aioquic compares when all of it has come; an upstream of HTTP/1 would read a second request."""
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            files = ListenerTls(certificate_file=str(certificate.certificate), key_file=str(certificate.key))
            async with serving(application, tmp_path, tls=files) as server:
                configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN)
                configuration.load_verify_locations(str(certificate.certificate))
                configuration.server_name = "localhost"
                port = int(server.address.rpartition(":")[2])
                async with connect(
                    "127.0.0.1", port, configuration=configuration, create_protocol=_Client
                ) as client:
                    assert isinstance(client, _Client)
                    client.prepare()
                    smuggled = b"GET /secret HTTP/1.1\r\nHost: test\r\nX-Forwarded-User: root\r\n\r\n"
                    head = _head(b"/a", b"POST", (b"content-length", declared))
                    asked = client.ask(head, b"a" * int(declared) + smuggled, ends=False)
                    assert (await asked)[0] == 400
                    assert (await client.ask(_head(b"/b")))[0] == 200
            assert not [request for request in upstream.requests if request.target == "/secret"]

    bounded(main)
