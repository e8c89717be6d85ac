"""Real peers for engine tests: an application, a client that speaks bytes, upstreams of every temper.

Nothing here is a mock of our code: `PlainApplication` is one more application, the upstreams are servers of
their own with sockets of their own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sidecar.application import AnswerHead, WireResponse
from sidecar.core.decision import Edits, Finish, Flow, Forward, Lease, Note, Respond
from sidecar.core.http import HeaderPair, RequestHead, Response
from sidecar.core.runtime import Limits, ListenerTls, Upstream
from sidecar.engines import express

if TYPE_CHECKING:
    from sidecar.application import BodyReader

__all__ = [
    "Answer",
    "EchoUpstream",
    "PlainApplication",
    "RawClient",
    "Recorder",
    "Request",
    "ScriptedUpstream",
    "bounded",
    "read_request",
    "respond",
    "serving",
    "until",
    "upstream_at",
]

type Field = str | int | float | None
type Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BOUND_SECONDS = 20.0
NOTE = Note(site="test", reason="allowed")
FINISH = Finish(own_cookie_names=frozenset())
HANDSHAKE = Finish(own_cookie_names=frozenset(), is_websocket=True)

# RFC 9110 §7.6.1, and what the engine writes itself.
_HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding"),
        *(b"upgrade", b"content-length", b"expect"),
    )
)


def bounded[T](main: Callable[[], Awaitable[T]]) -> T:
    """Run a test's coroutine on uvloop; one that hangs fails."""

    async def within() -> T:
        async with asyncio.timeout(BOUND_SECONDS):
            return await main()

    return express.run(within())


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another peer brings about; the bound is the test's own."""
    while not condition():  # noqa: ASYNC110  the other peer is a socket, not an event
        await asyncio.sleep(0.002)


@dataclass
class Recorder:
    """An observer that remembers. `done` holds (target, status, reason, note) in the order of their ends."""

    done: list[tuple[str, int, Note]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    seconds: list[tuple[float, float]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    events: list[tuple[str, dict[str, Field]]] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    opened: int = 0
    closed: int = 0

    def request_done(
        self,
        head: RequestHead,
        note: Note,
        status: int,
        sent_bytes: int,
        seconds: float,
        upstream_seconds: float,
    ) -> None:
        self.done.append((head.target.decode("latin-1"), status, note))
        self.sent.append(sent_bytes)
        self.seconds.append((seconds, upstream_seconds))

    def malformed(self, peer: str, reason: str, detail: str) -> None:
        self.refused.append((reason, detail))

    def connection_opened(self) -> None:
        self.opened += 1

    def connection_closed(self) -> None:
        self.closed += 1

    def event(self, name: str, fields: Sequence[tuple[str, Field]]) -> None:
        self.events.append((name, dict(fields)))

    def defect(self, where: str, request_id: str) -> None:
        self.defects.append(where)

    def provider_call(self, provider: str, operation: str, outcome: str, seconds: float) -> None:
        raise NotImplementedError


class PlainApplication:
    """Forwards everything to one upstream, but for what its tests ask of it by path.

    `/refused` is answered 403 with a body, `/nothing` 204, `/page` by `run` after reading a form; WebSocket
    handshakes may become tunnels. Each request goes up with an X-Request-Id of ours.
    """

    def __init__(self, upstream: Upstream | None = None) -> None:
        self.observer = Recorder()
        self.upstream = upstream
        self.lease: Lease | None = None
        self.revoked: set[str] = set()
        self.touched: list[str] = []
        self.heads: list[RequestHead] = []
        self.flow: Callable[[RequestHead, BodyReader], Awaitable[Respond | Forward]] | None = None

    def decide(self, head: RequestHead) -> Respond | Forward | Flow:
        self.heads.append(head)
        path = head.target.partition(b"?")[0]
        if path == b"/refused":
            return respond(403, b"refused\n")
        if path == b"/nothing":
            return respond(204, b"")
        if path == b"/defect":
            raise RuntimeError("a defect that the test wants")
        if path.startswith(b"/flow"):
            return Flow("flow", iter(()), head, None)  # type: ignore[arg-type]  # `run` looks at the head alone
        return self.forward(head)

    def forward(self, head: RequestHead) -> Forward:
        assert self.upstream is not None
        named = {name.lower(): value for name, value in head.headers}
        kept = [pair for pair in head.headers if pair[0].lower() not in _HOP_BY_HOP]
        edits = Edits.of(((b"X-Request-Id", head.request_id.encode()),))
        is_handshake = named.get(b"upgrade", b"").lower() == b"websocket"
        return Forward(
            self.upstream,
            head.method,
            head.target,
            kept,
            (edits,),
            HANDSHAKE if is_handshake else FINISH,
            self.lease,
            NOTE,
        )

    async def run(self, flow: Flow, body: BodyReader) -> Respond | Forward:
        assert self.flow is not None
        return await self.flow(flow.head, body)

    def finish(self, finish: Finish, status: int, headers: list[HeaderPair]) -> AnswerHead:
        kept = [pair for pair in headers if pair[0].lower() not in _HOP_BY_HOP]
        return AnswerHead(headers=kept, is_tunnel=status == 101 and finish.is_websocket)

    def refuse(self, reason: str, status: int, request_id: str, head: RequestHead | None) -> Respond:
        return respond(status, f"{reason} {request_id}\n".encode(), reason)

    def render(self, response: Response, request_id: str) -> WireResponse:
        return WireResponse(response.status, response.headers, b"page " + request_id.encode())

    def touch(self, session_id: str) -> None:
        self.touched.append(session_id)

    def is_revoked(self, session_id: str) -> bool:
        return session_id in self.revoked


def respond(status: int, body: bytes, reason: str = "denied") -> Respond:
    headers = ((b"Content-Type", b"text/plain"),) if body else ()
    return Respond(Response(status=status, headers=headers, body=body), Note(site="test", reason=reason))


def upstream_at(address: str, **facts: object) -> Upstream:
    """Return an Upstream for "host:port" or "unix:/path"."""
    host, _, port = address.rpartition(":")
    place: dict[str, object] = {"host": host.strip("[]"), "port": int(port)} if host != "unix" else {}
    if address.startswith("unix:"):
        place = {"host": "localhost", "port": 0, "unix_path": address.removeprefix("unix:")}
    values = {"name": "test", "scheme": "http", **place, **facts}
    return Upstream(**values)  # type: ignore[arg-type]  # facts are Upstream's own fields


@contextlib.asynccontextmanager
async def serving(
    application: PlainApplication,
    *,
    listen: str = "127.0.0.1:0",
    limits: Limits | None = None,
    tls: ListenerTls | None = None,
    sweep_seconds: float = 1.0,
    clock: Callable[[], float] = lambda: 1_800_000_000.0,
    allows_defects: bool = False,
) -> AsyncIterator[express.ExpressServer]:
    """Serve `application` while the block runs; a defect of the engine fails the test."""
    server = await express.serve(
        application, listen, limits or Limits(), tls=tls, sweep_seconds=sweep_seconds, clock=clock
    )
    try:
        yield server
    finally:
        server.close()
    assert allows_defects or not application.observer.defects


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as it came. `is_complete` False: broken off, or ended by a reset."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    is_complete: bool = True

    def header(self, name: str) -> str | None:
        """Return the only value of `name`, None if there is none."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, values
        return values[0] if values else None

    def json(self) -> dict[str, object]:
        """Return the body as EchoUpstream wrote it."""
        found: dict[str, object] = json.loads(self.body)
        return found


class RawClient:
    """A client that sends the bytes it is given, and reads answers strictly."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        self.reader = reader
        self.writer = writer
        self.address = address

    @classmethod
    async def connect(cls, address: str, **options: object) -> Self:
        """Connect to "host:port" or "unix:/path"."""
        if address.startswith("unix:"):
            return cls(*await asyncio.open_unix_connection(address.removeprefix("unix:")), address)
        host, _, port = address.rpartition(":")
        pair = await asyncio.open_connection(host.strip("[]"), int(port), **options)  # type: ignore[arg-type]
        return cls(*pair, address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def get(self, target: str = "/", *fields: str, method: str = "GET") -> None:
        """Send a request without a body."""
        lines = "".join(f"{line}\r\n" for line in fields)
        self.send(f"{method} {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode("latin-1"))

    async def ask(self, target: str = "/", *fields: str, method: str = "GET") -> Answer:
        """Send a request without a body, and read its answer."""
        self.get(target, *fields, method=method)
        return await self.answer(is_head=method == "HEAD")

    async def exchange(self, data: bytes) -> Answer:
        """Send bytes and read one answer."""
        self.send(data)
        return await self.answer()

    async def read_head(self) -> tuple[int, list[tuple[str, str]]]:
        """Read one head, a 1xx too."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        return int(status), [(n, v) for n, _, v in (line.partition(": ") for line in lines)]

    async def answer(self, *, is_head: bool = False) -> Answer:
        """Read one whole answer, or what there is of it; 1xx heads before it are skipped."""
        status, headers = await self.read_head()
        while status < 200 and status != 101:
            status, headers = await self.read_head()
        named = {name.lower(): value for name, value in headers}
        if is_head or status in {101, 204, 304}:
            return Answer(status=status, headers=headers, body=b"")
        body = b""
        try:
            if "content-length" in named:
                body = await self.reader.readexactly(int(named["content-length"]))
            elif named.get("transfer-encoding") == "chunked":
                async for chunk in self.chunks():
                    body += chunk
            else:
                body = await self.reader.read()
        except asyncio.IncompleteReadError as error:
            return Answer(status=status, headers=headers, body=body + error.partial, is_complete=False)
        except ConnectionResetError:
            return Answer(status=status, headers=headers, body=body, is_complete=False)
        return Answer(status=status, headers=headers, body=body)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the chunks of a chunked body as they were sent."""
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            chunk = (await self.reader.readexactly(size + 2))[:-2]
            if not size:
                return
            yield chunk

    async def is_closed(self) -> bool:
        """Wait for the end of the connection; False when bytes come instead."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    def half_close(self) -> None:
        self.writer.write_eof()

    def abort(self) -> None:
        """Close as a browser does that loses interest: the server sees an end, and can't tell which."""
        self.writer.transport.abort()

    def reset(self) -> None:
        """Close so that the server knows at once."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self.writer.wait_closed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as an upstream received it. `connection` counts connections from 1."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, values
        return values[0] if values else None


class ScriptedUpstream:
    """A server whose behaviour is a coroutine of the test's, one call for each connection."""

    def __init__(self, script: Script | None = None) -> None:
        self.connections = 0
        self._script = script
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    async def __aenter__(self) -> Self:
        return self if self._server is not None else await self.start()

    async def start(self, path: Path | None = None, **options: object) -> Self:
        """Listen on a free port, or on a socket file."""
        if path is not None:
            self._server = await asyncio.start_unix_server(self._serve, str(path))
            self.address = f"unix:{path}"
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, **options)  # type: ignore[arg-type]
            self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.serve(reader, writer)
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(Exception):
                writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._script is not None
        await self._script(reader, writer)


async def read_request(reader: asyncio.StreamReader, connection: int = 0) -> Request:
    """Read one request with its body, as strictly as a test needs."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    named = {name.lower(): value for name, value in headers}
    body = b""
    if "content-length" in named:
        assert "transfer-encoding" not in named
        body = await reader.readexactly(int(named["content-length"]))
    elif "transfer-encoding" in named:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        assert await reader.readexactly(2) == b"\r\n"
    return Request(method=method, target=target, headers=headers, body=body, connection=connection)


class EchoUpstream(ScriptedUpstream):
    """Answers each request with a JSON document that tells how it arrived; `requests` keeps them.

    By path: `/close` ends its body by closing, `/http10` answers as HTTP/1.0, `/chunked` in chunks, `/early`
    sends a 103 first, `/drip?pieces=3` sends pieces as `step` is set, `/sse` the same as an event stream,
    `/huge?bytes=N` sends N bytes, `/status?code=304` just that, `/once` closes after its answer,
    `/upload?bytes=N` counts a body without keeping it, `/ws` echoes the bytes of a tunnel.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self.step = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        while not writer.is_closing():
            request = await read_request(reader, number)
            self.requests.append(request)
            path, _, query = request.target.partition("?")
            values = dict(urllib.parse.parse_qsl(query))
            variant = getattr(self, f"_{path.strip('/').replace('/', '_') or 'echo'}", self._echo)
            await variant(request, values, reader, writer)
            await writer.drain()

    @staticmethod
    def describe(request: Request) -> bytes:
        """Return what `/` answers: the request as JSON."""
        return json.dumps(
            {
                "method": request.method,
                "target": request.target,
                "headers": request.headers,
                "body": base64.b64encode(request.body).decode(),
                "connection": request.connection,
            }
        ).encode()

    async def _echo(
        self, request: Request, values: dict[str, str], _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        body = self.describe(request)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + (b"" if request.method == "HEAD" else body))

    async def _close(self, request: Request, *rest: object) -> None:
        writer = _writer(rest)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + self.describe(request))
        writer.close()

    async def _http10(self, request: Request, *rest: object) -> None:
        writer = _writer(rest)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + self.describe(request))
        writer.close()

    async def _once(self, request: Request, *rest: object) -> None:
        writer = _writer(rest)
        body = self.describe(request)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    async def _chunked(self, request: Request, *rest: object) -> None:
        body = self.describe(request)
        chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(p), p) for p in (body[:7], body[7:]))
        _writer(rest).write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\nX-Forwarded-User: evil\r\n\r\n"
            % chunks
        )

    async def _early(self, request: Request, *rest: object) -> None:
        _writer(rest).write(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nSet-Cookie: a=b\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        )

    async def _status(self, request: Request, values: dict[str, str], *rest: object) -> None:
        _writer(rest).write(f"HTTP/1.1 {values['code']} Some Phrase\r\n\r\n".encode())

    async def _drip(self, request: Request, values: dict[str, str], *rest: object) -> None:
        await self._pieces(_writer(rest), int(values.get("pieces", "3")), b"text/plain", b"piece %d\n")

    async def _sse(self, request: Request, values: dict[str, str], *rest: object) -> None:
        pieces = int(values.get("pieces", "3"))
        await self._pieces(_writer(rest), pieces, b"text/event-stream", b"data: %d\n\n")

    async def _pieces(self, writer: asyncio.StreamWriter, pieces: int, kind: bytes, text: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % kind)
        for number in range(pieces):
            await self.step.acquire()
            piece = text % number
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")

    async def _huge(self, request: Request, values: dict[str, str], *rest: object) -> None:
        writer = _writer(rest)
        left = int(values["bytes"])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
        block = bytes(65536)
        while left:
            writer.write(block[:left])
            left -= min(left, len(block))
            await writer.drain()

    async def _ws(
        self,
        request: Request,
        values: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


def _writer(rest: Iterable[object]) -> asyncio.StreamWriter:
    """Return the writer among a variant's further arguments."""
    return next(each for each in rest if isinstance(each, asyncio.StreamWriter))
