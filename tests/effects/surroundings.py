"""What a Runner needs, all of it real: a clock that tests move, a memory, a server that answers badly."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

from sidecar.application import Observer
from sidecar.coordination import LocalCoordinator
from sidecar.core.decision import Flow, Forward, Note, Respond, Steps
from sidecar.core.effects import Effect
from sidecar.core.errors import BadRequest
from sidecar.core.http import Response
from sidecar.core.runtime import Provider
from sidecar.core.state import Surroundings
from sidecar.effects import Runner
from tests.core.gatesetup import head, site
from tests.core.oidcsetup import provider as made_provider

__all__ = ["Bench", "Body", "Request", "Script", "reply", "serving"]

NOW = 1_700_000_000.0


@dataclass
class RecordingObserver:
    """Remembers events and calls; nothing else is asked of it here."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)

    def event(self, name: str, fields: Sequence[tuple[str, str | int | float | None]]) -> None:
        self.events.append((name, dict(fields)))

    def provider_call(self, provider: str, operation: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((provider, operation, outcome))


class Body:
    """A request's body that has arrived."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    async def read(self, max_bytes: int) -> bytes:
        if len(self.data) > max_bytes:
            raise BadRequest("too_large")
        return self.data


@dataclass
class Bench:
    """One Runner with everything around it. `now` is its clock."""

    now: float = NOW
    stores: dict[str, Any] = field(default_factory=dict)
    revoked: list[tuple[str, float]] = field(default_factory=list)
    observer: RecordingObserver = field(default_factory=RecordingObserver)

    def __post_init__(self) -> None:
        self.coordinator = LocalCoordinator(lambda *what: self.revoked.append(what), lambda: self.now)
        surroundings = Surroundings(clock=lambda: self.now, entropy=os.urandom)
        self.runner = Runner(self.coordinator, self.stores, surroundings, cast("Observer", self.observer))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.coordinator.close()
        await self.runner.close()

    async def perform(self, effect: Effect) -> Any:
        """Carry one effect out and return its result, or raise its error as the flow would see it."""
        seen: list[Any] = []

        def steps() -> Steps[Respond | Forward]:
            try:
                seen.append((yield effect))
            except Exception as error:  # noqa: BLE001  shown to the test
                seen.append(error)
            return respond("done")

        await self.run(steps())
        if isinstance(seen[0], Exception):
            raise seen[0]
        return seen[0]

    async def run(self, steps: Steps[Respond | Forward], body: bytes = b"") -> Respond | Forward:
        return await self.runner.run(flow(steps), Body(body))


def flow(steps: Steps[Respond | Forward]) -> Flow:
    return Flow("callback", steps, head=head(), site=site())


def respond(detail: str) -> Respond:
    return Respond(Response(status=200), Note(site="main", reason="own_page", detail=detail))


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


type Script = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def reply(body: bytes, status: int = 200, *fields: str, kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.asynccontextmanager
async def serving(script: Script) -> AsyncIterator[str]:
    """Serve on a free loopback port; yields the origin. Each connection is closed with the server."""
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        tasks.add(task)
        try:
            while True:
                request = await read_request(reader)
                await script(request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> Request:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


def local_provider(origin: str, **changes: Any) -> Provider:
    return made_provider(issuer=origin, **changes)
