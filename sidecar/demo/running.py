"""The demo's parts, started and ended together on one loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Final

from sidecar.coordination import LocalCoordinator
from sidecar.core.errors import ConfigurationError
from sidecar.demo.application import DemoApplication
from sidecar.demo.configuration import DemoPorts, build_client, build_runtime, issuer_url
from sidecar.demo.narrator import Narrator, Unheard
from sidecar.demo.ticker import Ticker
from sidecar.devidp import PEOPLE, DevIdentityProvider
from sidecar.devidp import serve as serve_provider
from sidecar.effects import Runner
from sidecar.engines import express
from sidecar.gateapplication import GateApplication
from sidecar.supervisor.serving import build_state, build_surroundings
from sidecar.supervisor.single import wait_for_signal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.core.runtime import Limits
    from sidecar.core.state import Surroundings

__all__ = ["Demo", "run_demo"]

_READY_SECONDS: Final = 10.0
_DRAIN_SECONDS: Final = 2.0
_LOOPBACK: Final = "127.0.0.1"
_LAST_PORT: Final = 65535


class Demo:
    """Gate, provider, application and ticker."""

    def __init__(self, narrator: Narrator, surroundings: Surroundings) -> None:
        self._narrator = narrator
        self._surroundings = surroundings
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        """Serve while the block runs, on `port` (0: a free one). Raises ConfigurationError."""
        # The gate's port first: it is the one that can be taken, and then nothing else must have begun.
        sockets = [bind_loopback(port), *(bind_loopback(0) for _ in range(3))]
        ports = DemoPorts(
            **dict(zip(("gate", "provider", "application", "ticker"), map(_port, sockets), strict=True))
        )
        self.url = f"http://localhost:{ports.gate}"
        async with contextlib.AsyncExitStack() as stack:
            for sock in sockets:
                stack.callback(sock.close)
            await self._start(stack, sockets, ports)
            yield

    async def _start(
        self, stack: contextlib.AsyncExitStack, sockets: list[socket.socket], ports: DemoPorts
    ) -> None:
        entropy = self._surroundings.entropy
        secret = entropy(24).hex()
        runtime = build_runtime(ports, secret, entropy)
        gate_socket, provider_socket, application_socket, ticker_socket = sockets
        quiet = Unheard(self._narrator)

        ticker = Ticker(self._surroundings.clock)
        await ticker.start(ticker_socket)
        stack.push_async_callback(ticker.close)

        application = DemoApplication(quiet)
        _close_after(stack, await _serve(application, application_socket, runtime.limits))

        provider = DevIdentityProvider(
            issuer=issuer_url(ports),
            clients=[build_client(ports, secret)],
            surroundings=self._surroundings,
            observer=quiet,
            development=True,
        )
        stack.push_async_callback(provider.close)
        listen = f"{_LOOPBACK}:{ports.provider}"
        _close_after(stack, await serve_provider(provider, listen, sock=provider_socket))

        state = build_state(self._surroundings)
        coordinator = LocalCoordinator(state.revocations.add, self._surroundings.clock)
        runner = Runner(coordinator, {}, self._surroundings, self._narrator)
        stack.push_async_callback(runner.close)
        gate = GateApplication(runtime, state, runner, self._narrator)
        _close_after(stack, await _serve(gate, gate_socket, runtime.limits))
        async with asyncio.timeout(_READY_SECONDS):
            for site in runtime.sites:
                for party in site.providers.values():
                    await runner.prepare(party)


async def run_demo(port: int, narrator: Narrator) -> None:
    """Serve the demo until a signal says to stop. Raises ConfigurationError when it can't."""
    demo = Demo(narrator, build_surroundings())
    # From the beginning: Ctrl-C while the parts still start ends as cleanly as later.
    stop = asyncio.create_task(wait_for_signal(asyncio.current_task()))
    await asyncio.sleep(0)
    async with demo.serving(port):
        for line in _introduction(demo.url):
            narrator.say(line)
        await stop
        narrator.say()
        narrator.say("The door is closed. Nothing was kept.")


def bind_loopback(port: int) -> socket.socket:
    """Return a socket bound to `port` of 127.0.0.1. Raises ConfigurationError, one line with a mend."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((_LOOPBACK, port))
        # Listening at once: another process that binds the same port without listening is noticed here.
        sock.listen()
    except OSError as error:
        sock.close()
        why = "another process is there" if error.errno == errno.EADDRINUSE else str(error.strerror)
        other = port + 1 if 0 < port < _LAST_PORT else 8080
        raise ConfigurationError(
            f"doorward demo: can't listen on {_LOOPBACK}:{port}: {why}."
            f" Choose another port: doorward demo --port {other}"
        ) from error
    sock.setblocking(False)
    return sock


async def _serve(
    application: GateApplication | DemoApplication, sock: socket.socket, limits: Limits
) -> express.ExpressServer:
    return await express.serve(application, f"{_LOOPBACK}:{_port(sock)}", limits, sock=sock)


def _close_after(stack: contextlib.AsyncExitStack, server: express.ExpressServer) -> None:
    async def drain() -> None:
        await server.drain(_DRAIN_SECONDS)
        server.close()

    stack.push_async_callback(drain)


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _introduction(url: str) -> list[str]:
    able = {"ada": "opens every door", "ben": "reports, but not admin", "cleo": "neither of them"}
    people = [
        f"  {person.name:<14} {', '.join(person.groups):<14} {able.get(person.sub, '')}" for person in PEOPLE
    ]
    return [
        f"Doorward is open at {url}   (Ctrl-C ends it)",
        "",
        "Sign in as one of these, or type somebody else with groups and claims of your own:",
        *people,
        "",
        "Try",
        f"  {url}/          who you are, and every header that the application receives",
        f"  {url}/public/   without signing in",
        f"  {url}/reports/  for the group staff",
        f"  {url}/admin/    for the group admins",
        "",
        "What the gate decides:",
    ]
