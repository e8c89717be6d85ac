"""A small HTTP/1.1 server in threads, for the upstreams and odd providers that black-box tests need.

It keeps what arrived exactly: field names as they were spelled, duplicates and all. It is no example of a
server: it trusts the client in front of it, which is the program under test.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Answer", "HttpServer", "Received"]

_KEPT_BODY_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_SOCKET_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it arrived. `body` holds its first MiB; length and digest speak of the whole."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    body_length: int
    body_sha256: str

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode(), keep_blank_values=True)

    def values(self, name: str) -> list[str]:
        """Return the values of a field, its name compared without regard to case, in order."""
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def described(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "method": self.method,
            "target": self.target,
            "headers": [list(pair) for pair in self.headers],
            "body_length": self.body_length,
            "body_sha256": self.body_sha256,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to answer. A body that is no bytes is sent chunked, each part as soon as it is there.

    `take_over` is given the connection instead, for as long as it likes; nothing follows on it.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Iterable[bytes] = b""
    take_over: Callable[[socket.socket], None] | None = None


class _Handler(socketserver.StreamRequestHandler):
    timeout = _SOCKET_SECONDS

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        with server.lock:
            server.connections.add(self.connection)
        while (received := _read_request(self.rfile, self.wfile)) is not None:
            with server.lock:
                server.received.append(received)
            answer = server.answer(received)
            if answer.take_over is not None:
                answer.take_over(self.connection)
                return
            _write_answer(self.wfile, received.method, answer)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, port: int, answer: Callable[[Received], Answer]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = answer
        self.lock = threading.Lock()
        self.received: list[Received] = []
        self.connections: set[socket.socket] = set()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go away are part of what is tested."""


class HttpServer:
    """Serves `answer` on a loopback port (0: a free one) from `start` to `stop`; may be started again."""

    def __init__(self, answer: Callable[[Received], Answer], port: int = 0) -> None:
        self._answer = answer
        self._server: _Server | None = None
        self.port = port
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def received(self) -> list[Received]:
        """Return what has arrived since the start, in order."""
        assert self._server is not None
        with self._server.lock:
            return list(self._server.received)

    def forget(self) -> None:
        """Forget what has arrived."""
        assert self._server is not None
        with self._server.lock:
            self._server.received.clear()

    def start(self) -> None:
        self._server = _Server(self.port, self._answer)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and reset the connections that are open."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        with server.lock:
            for connection in server.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def running(self) -> Iterator[HttpServer]:
        try:
            yield self
        finally:
            self.stop()


def _read_request(stream: BufferedIOBase, back: BufferedIOBase) -> Received | None:
    line = stream.readline()
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers: list[tuple[str, str]] = []
    while (line := stream.readline()) not in {b"\r\n", b"\n", b""}:
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip(" \t\r\n")))
    fields = {name.lower(): value for name, value in headers}
    if fields.get("expect", "").lower() == "100-continue":
        back.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        back.flush()
    digest, kept, length = hashlib.sha256(), bytearray(), 0
    for part in _read_body(stream, fields):
        digest.update(part)
        length += len(part)
        kept += part[: max(0, _KEPT_BODY_BYTES - len(kept))]
    return Received(
        method=method,
        target=target,
        headers=tuple(headers),
        body=bytes(kept),
        body_length=length,
        body_sha256=digest.hexdigest(),
    )


def _read_body(stream: BufferedIOBase, fields: dict[str, str]) -> Iterator[bytes]:
    if fields.get("transfer-encoding", "").lower() == "chunked":
        while size := int(stream.readline().split(b";")[0], 16):
            yield from _read_exactly(stream, size)
            stream.readline()
        while stream.readline() not in {b"\r\n", b"\n", b""}:
            pass
        return
    yield from _read_exactly(stream, int(fields.get("content-length", "0")))


def _read_exactly(stream: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        part = stream.read(min(size, _CHUNK_BYTES))
        if not part:
            raise ConnectionError("the request broke off")
        size -= len(part)
        yield part


def _write_answer(stream: BufferedIOBase, method: str, answer: Answer) -> None:
    head = [f"HTTP/1.1 {answer.status} x", *(f"{name}: {value}" for name, value in answer.headers)]
    is_whole = isinstance(answer.body, bytes)
    is_framed = any(name.lower() == "content-length" for name, _ in answer.headers)
    if is_whole and not is_framed:
        head.append(f"Content-Length: {len(bytes(answer.body))}")  # type: ignore[arg-type]  # bytes here
    elif not is_framed:
        head.append("Transfer-Encoding: chunked")
    stream.write("\r\n".join([*head, "", ""]).encode("latin-1"))
    if method != "HEAD":
        parts = [answer.body] if isinstance(answer.body, bytes) else answer.body
        for part in parts:
            stream.write(part if is_whole or is_framed else b"%x\r\n%b\r\n" % (len(part), part))
            stream.flush()
        if not is_whole and not is_framed:
            stream.write(b"0\r\n\r\n")
    stream.flush()
