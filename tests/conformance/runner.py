"""Runs one case against an engine, over real sockets, with a real upstream.

Knows no engine: whoever calls says how one is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field

from sidecar.core.http import HeaderPair
from sidecar.core.hygiene import fold
from sidecar.core.runtime import Runtime, Upstream
from tests.conformance.case import Arrival, Case
from tests.conformance.setting import build_runtime, fill_in, signed_in
from tests.core.gatesetup import NOW

__all__ = ["Serve", "check"]

type Serve = Callable[[Runtime], AbstractAsyncContextManager[str]]
"""Serves a runtime whose clock stands at `gatesetup.NOW`; the context's value is "host:port"."""

BOUND_SECONDS = 5.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class _Message:
    first: bytes
    pairs: list[HeaderPair]
    body: bytes = b""


@dataclass
class _Upstream:
    """Records what arrives: whole requests, and every byte."""

    answer: bytes
    requests: list[_Message] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.requests.append(await _read_message(reader, self.seen))
                writer.write(self.answer)
        writer.close()


async def check(case: Case, serve: Serve) -> None:
    """Hold an engine against a case. Raises AssertionError for what it does otherwise."""
    async with asyncio.timeout(BOUND_SECONDS):
        upstream = _Upstream(case.upstream or ANSWER)
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        runtime = build_runtime(Upstream(name="app", scheme="http", host="127.0.0.1", port=port))
        try:
            async with serve(runtime) as address:
                await _talk(case, address, signed_in(runtime, NOW))
        finally:
            server.close()
    _check_upstream(case, upstream)


async def _talk(case: Case, address: str, cookie: bytes) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(fill_in(case.request, cookie))
        last: _Message | None = None
        for expected in case.answers:
            last = await _read_answer(reader, case.interim)
            assert _status(last) in expected, last
        assert last is not None
        pairs = {(name.lower(), value) for name, value in last.pairs}
        assert {(name.lower(), value) for name, value in case.answer_has} <= pairs
        assert not {name for name, _ in pairs} & case.answer_lacks
        if case.closes:
            with suppress(ConnectionError):
                assert await reader.read() == b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _read_answer(reader: asyncio.StreamReader, interim: tuple[int, ...]) -> _Message:
    while True:
        message = await _read_message(reader, bytearray())
        status = _status(message)
        if status >= 200 or status == 101:
            return message
        assert status in interim


async def _read_message(reader: asyncio.StreamReader, seen: bytearray) -> _Message:
    """Read a request or an answer with its body, whose every byte goes into `seen`."""
    head = await reader.readuntil(b"\r\n\r\n")
    seen += head
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    named = {name.lower(): value for name, value in pairs}
    body = b""
    if b"content-length" in named:
        body = await reader.readexactly(int(named[b"content-length"]))
        seen += body
    elif b"transfer-encoding" in named:
        body = await _read_chunks(reader, seen)
    return _Message(first, pairs, body)


async def _read_chunks(reader: asyncio.StreamReader, seen: bytearray) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        chunk = await reader.readexactly(int(line, 16) + 2)
        seen += line + chunk
        if chunk == b"\r\n":
            return body
        body += chunk[:-2]


def _status(message: _Message) -> int:
    version, status, _ = message.first.split(b" ", 2)
    assert version == b"HTTP/1.1"
    return int(status)


def _check_upstream(case: Case, upstream: _Upstream) -> None:
    assert [request.first for request in upstream.requests] == [a.line + b" HTTP/1.1" for a in case.arrives]
    for request, arrival in zip(upstream.requests, case.arrives, strict=True):
        _check_arrival(request, arrival)
    assert not [text for text in case.never if text in upstream.seen]


def _check_arrival(request: _Message, arrival: Arrival) -> None:
    for name, value in arrival.has:
        assert [v for n, v in request.pairs if n.lower() == name.lower()] == [value], name
    assert not {fold(name) for name, _ in request.pairs} & arrival.lacks
    assert request.body == arrival.body
