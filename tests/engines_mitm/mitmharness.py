"""The interception engine in a test's own loop, and peers that speak HTTP/2."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import h2.config
import h2.connection
import h2.events

from sidecar.core.runtime import Limits, ListenerTls, Upstream
from sidecar.engines import mitm
from tests.engines.harness import PlainApplication

__all__ = ["H2Answer", "H2Client", "H2Server", "bounded", "serving"]

BOUND_SECONDS = 60.0
type Fields = list[tuple[bytes, bytes]]


def bounded[T](main: Callable[[], Awaitable[T]]) -> T:
    """Run a test's coroutine on the standard loop; one that hangs fails."""

    async def within() -> T:
        async with asyncio.timeout(BOUND_SECONDS):
            return await main()

    return asyncio.run(within())


@contextlib.asynccontextmanager
async def serving(
    application: PlainApplication,
    folder: Path,
    *,
    limits: Limits | None = None,
    tls: ListenerTls | None = None,
    clock: Callable[[], float] = lambda: 1_800_000_000.0,
    mode: str = "reverse",
    is_ours: Callable[[str], bool] | None = None,
    hosts: tuple[str, ...] = (),
    upstreams: tuple[Upstream, ...] = (),
    drain_seconds: float = 0.0,
    sweep_seconds: float = 1.0,
    allows_defects: bool = False,
) -> AsyncIterator[mitm.MitmServer]:
    """Serve `application` while the block runs; a defect fails the test."""
    server = await mitm.serve(
        application,
        "127.0.0.1:0",
        limits or Limits(),
        mode=mode,
        tls=tls,
        keys=folder / "authority",
        is_ours=is_ours,
        hosts=hosts,
        upstreams=upstreams,
        clock=clock,
        sweep_seconds=sweep_seconds,
    )
    try:
        yield server
    finally:
        await server.drain(drain_seconds)
    assert allows_defects or not application.observer.defects


@dataclass
class H2Answer:
    """One answer by HTTP/2. `reset` is the error code of a RST_STREAM, if one came."""

    status: int = 0
    headers: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    reset: int | None = None
    is_complete: bool = False


class H2Client:
    """An HTTP/2 client that sends the head it is given, right or wrong."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        config = h2.config.H2Configuration(
            validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding=None
        )
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.answers: dict[int, H2Answer] = {}
        self.is_ended = False
        self.flush()

    @classmethod
    async def connect(cls, address: str, trust: ssl.SSLContext) -> Self:
        trust.set_alpn_protocols(["h2"])
        host, _, port = address.rpartition(":")
        pair = await asyncio.open_connection(host, int(port), ssl=trust, server_hostname="localhost")
        return cls(*pair)

    def flush(self) -> None:
        self.writer.write(self.connection.data_to_send())

    def send(self, fields: Fields, body: bytes | None = None, *, ends: bool = True) -> int:
        """Send a request; return its stream."""
        stream = self.connection.get_next_available_stream_id()
        self.answers[stream] = H2Answer()
        self.connection.send_headers(stream, fields, end_stream=body is None and ends)
        if body is not None:
            self.connection.send_data(stream, body, end_stream=ends)
        self.flush()
        return stream

    async def answer(self, stream: int) -> H2Answer:
        """Return an answer once it is complete, reset, or the connection has ended."""
        found = self.answers[stream]
        while not found.is_complete and found.reset is None and not self.is_ended:
            await self.read()
        return found

    async def read(self) -> None:
        data = await self.reader.read(65536)
        if not data:
            self.is_ended = True
            return
        for event in self.connection.receive_data(data):
            self._take(event)
        self.flush()

    def _take(self, event: h2.events.Event) -> None:
        found = self.answers.get(getattr(event, "stream_id", 0) or 0, H2Answer())
        match event:
            case h2.events.ResponseReceived():
                fields = [(bytes(name), bytes(value)) for name, value in event.headers]
                found.status = int(dict(fields)[b":status"])
                found.headers = fields
            case h2.events.DataReceived():
                found.body += event.data
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                found.trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
            case h2.events.StreamEnded():
                found.is_complete = True
            case h2.events.StreamReset():
                found.reset = int(event.error_code)
            case h2.events.ConnectionTerminated():
                self.is_ended = True

    def close(self) -> None:
        self.writer.close()


class H2Server:
    """A gRPC-like server over TLS: answers each request with its body and a trailer."""

    def __init__(self) -> None:
        self.requests: list[tuple[Fields, bytes]] = []
        self._server: asyncio.Server | None = None
        self.address = ""

    @contextlib.asynccontextmanager
    async def running(self, certificate: str, key: str) -> AsyncIterator[Self]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["h2"])
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.address = f"localhost:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        connection.initiate_connection()
        heads: dict[int, Fields] = {}
        bodies: dict[int, bytes] = {}
        writer.write(connection.data_to_send())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    match event:
                        case h2.events.RequestReceived():
                            heads[event.stream_id] = [(bytes(n), bytes(v)) for n, v in event.headers]
                            bodies[event.stream_id] = b""
                        case h2.events.DataReceived():
                            bodies[event.stream_id] += event.data
                            connection.acknowledge_received_data(
                                event.flow_controlled_length, event.stream_id
                            )
                        case h2.events.StreamEnded():
                            stream = event.stream_id
                            self.requests.append((heads[stream], bodies[stream]))
                            connection.send_headers(
                                stream, [(b":status", b"200"), (b"content-type", b"application/grpc")]
                            )
                            connection.send_data(stream, bodies[stream])
                            connection.send_headers(
                                stream, [(b"grpc-status", b"0"), (b"grpc-message", b"ok")], end_stream=True
                            )
                writer.write(connection.data_to_send())
        writer.close()
