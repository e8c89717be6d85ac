"""The parts of `doorward dev`, started and ended together on one loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.coordination import LocalCoordinator
from sidecar.core.errors import ConfigurationError
from sidecar.demo.narrator import Unheard
from sidecar.dev.application import DevApplication
from sidecar.dev.configuration import Built, DevSecrets, build, build_client, issuer_url, public_url
from sidecar.dev.documents import one_line
from sidecar.dev.observer import DevObserver
from sidecar.dev.persona import Persona
from sidecar.dev.recording import Recorder
from sidecar.dev.watching import watch
from sidecar.devidp import DevIdentityProvider
from sidecar.devidp import serve as serve_provider
from sidecar.effects import Runner
from sidecar.engines import express
from sidecar.supervisor.serving import build_state
from sidecar.supervisor.single import wait_for_signal

if TYPE_CHECKING:
    from sidecar.application import Application, Observer
    from sidecar.core.decision import Lease
    from sidecar.core.runtime import Limits
    from sidecar.core.state import Surroundings
    from sidecar.demo.narrator import Narrator
    from sidecar.dev.options import Options
    from sidecar.effects.calls import ProviderCalls

__all__ = ["DevGate", "Inspection", "Serve", "Server", "run_dev", "serve_express", "serve_interception"]

_DRAIN_SECONDS: Final = 1.0
_LAST_PORT: Final = 65535


class Server(Protocol):
    """What an engine gives for a listener."""

    def end_leases(self, predicate: Callable[[Lease], bool]) -> int:
        """End tunnels and running answers."""

    async def drain(self, seconds: float) -> None:
        """Stop accepting, wait for what runs."""

    def close(self) -> None:
        """End the rest."""


type Serve = Callable[[Application, str, Limits, socket.socket], Awaitable[Server]]
"""How an engine begins: application, "host:port", limits, and the socket that is bound there."""


async def serve_express(application: Application, listen: str, limits: Limits, sock: socket.socket) -> Server:
    """Serve with the express engine."""
    return await express.serve(application, listen, limits, sock=sock)


async def serve_interception(
    application: Application, listen: str, limits: Limits, sock: socket.socket
) -> Server:
    """Serve with mitmproxy. Raises ConfigurationError when it can't."""
    from sidecar.engines import mitm

    try:
        return await mitm.serve(application, listen, limits, sock=sock)
    except OSError as error:
        raise ConfigurationError(f"doorward dev: can't listen on {listen}: {error.strerror}.") from error


class Inspection(Protocol):
    """What shows more than an engine sees (`sidecar.dev.inspecting`)."""

    def calls(self, observer: Observer) -> ProviderCalls:
        """Return calls to providers that are shown."""

    def visits(self, narrator: Narrator, issuer: str) -> Observer:
        """Return an observer of the embedded provider that shows its pages."""


class DevGate:
    """The gate of one run; `url` is where it is once it serves."""

    def __init__(
        self,
        options: Options,
        observer: DevObserver,
        surroundings: Surroundings,
        environment: Mapping[str, str],
        serve: Serve = serve_express,
        *,
        inspection: Inspection | None = None,
    ) -> None:
        """Bind the parts; nothing is opened yet."""
        self._options = options
        self._observer = observer
        self._surroundings = surroundings
        self._environment = environment
        self._serve = serve
        self._inspection = inspection
        entropy = surroundings.entropy
        self._secrets = DevSecrets(session_key=entropy(32), client_secret=entropy(24).hex())
        self._port = self._issuer_port = 0
        self.url = ""
        self.issuer = ""
        self.view_url: str | None = None

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Built]:
        """Serve while the block runs. Raises ConfigurationError."""
        async with contextlib.AsyncExitStack() as stack:
            sock = _bind(*self._options.listen)
            stack.callback(sock.close)
            provider_socket = _bind("127.0.0.1", 0)
            stack.callback(provider_socket.close)
            self._port, self._issuer_port = sock.getsockname()[1], provider_socket.getsockname()[1]
            self.url = public_url(self._options, self._port)
            self.issuer = issuer_url(self._issuer_port)
            built = self._build()
            await self._start(stack, built, sock, provider_socket)
            yield built

    def _build(self) -> Built:
        return build(self._options, self._secrets, self._environment, port=self._port, issuer=self.issuer)

    async def _start(
        self,
        stack: contextlib.AsyncExitStack,
        built: Built,
        sock: socket.socket,
        provider_socket: socket.socket,
    ) -> None:
        state = build_state(self._surroundings)
        if self._options.record is not None:
            recorder = self._observer.recorder = Recorder(self._options.record, state, self._observer.say)
            stack.callback(recorder.close)
        if self._options.provider is None:
            await self._start_provider(stack, provider_socket)
        else:
            provider_socket.close()
        coordinator = LocalCoordinator(state.revocations.add, self._surroundings.clock)
        shown = self._inspection
        calls = None if shown is None else shown.calls(self._observer)
        runner = Runner(coordinator, {}, self._surroundings, self._observer, calls)
        stack.push_async_callback(runner.close)
        persona = None
        if self._options.persona is not None:
            persona = Persona(self._options.persona, built.runtime, state)
        application = DevApplication(
            built.runtime, state, runner, self._observer, persona, self._observer.recorder
        )
        application.set_constants(built.constants)
        server = await self._serve(application, built.runtime.listen, built.runtime.limits, sock)
        _close_after(stack, server)
        self.view_url = getattr(server, "view_url", None)
        for party in built.runtime.sites[0].providers.values():
            # Served at once: a real provider may be far away, and public paths need none.
            _cancel_after(stack, asyncio.create_task(runner.prepare(party)))
        if self._options.rules_file is not None:
            reload = _Reload(self._options, self._observer, application, server, self._build)
            _cancel_after(stack, asyncio.create_task(watch(self._options.rules_file, reload)))

    async def _start_provider(self, stack: contextlib.AsyncExitStack, sock: socket.socket) -> None:
        unheard, shown = Unheard(self._observer), self._inspection
        provider = DevIdentityProvider(
            issuer=self.issuer,
            clients=[build_client(self._options, self._secrets, self._port)],
            surroundings=self._surroundings,
            observer=unheard if shown is None else shown.visits(self._observer, self.issuer),
            development=True,
        )
        stack.push_async_callback(provider.close)
        _close_after(stack, await serve_provider(provider, f"127.0.0.1:{self._issuer_port}", sock=sock))


class _Reload:
    """Brings changed rules into force; what is broken is told, and the rules before it stay."""

    def __init__(
        self,
        options: Options,
        observer: DevObserver,
        application: DevApplication,
        server: Server,
        build: Callable[[], Built],
    ) -> None:
        self._options = options
        self._observer = observer
        self._application = application
        self._server = server
        self._build = build

    def __call__(self) -> None:
        try:
            built = self._build()
        except ConfigurationError as error:
            self._observer.say(f"{one_line(error)}; the rules before it stay")
            return
        self._application.runtime = built.runtime
        self._application.set_constants(built.constants)
        # Whatever was let in under the rules before it asks again (S73).
        self._server.end_leases(lambda _lease: True)
        count = len(built.runtime.sites[0].rules.rules)
        self._observer.say(f"{self._options.rules_file}: {count} rules now in force")


async def run_dev(
    options: Options,
    observer: DevObserver,
    surroundings: Surroundings,
    environment: Mapping[str, str],
    serve: Serve = serve_express,
    *,
    inspection: Inspection | None = None,
) -> None:
    """Serve until a signal says to stop. Raises ConfigurationError when it can't."""
    gate = DevGate(options, observer, surroundings, environment, serve, inspection=inspection)
    # From the beginning: Ctrl-C while the parts still start ends as cleanly as later.
    stop = asyncio.create_task(wait_for_signal(asyncio.current_task()))
    await asyncio.sleep(0)
    async with gate.serving() as built:
        for line in _introduction(options, gate, built):
            observer.say(line)
        await stop
        observer.say()


def _introduction(options: Options, gate: DevGate, built: Built) -> list[str]:
    lines = [f"Doorward is open at {gate.url} for {options.upstream}   (Ctrl-C ends it)"]
    if options.persona is not None:
        groups = ", ".join(options.persona.groups) or "none"
        lines.append(f"You are {options.persona.sub} ({options.persona.email}), groups: {groups}")
    elif options.provider is None:
        lines.append("Sign in as anybody: the embedded provider asks for no password")
    else:
        lines.extend(
            f"Sign in at {party.issuer}; redirect URI there: {gate.url}{party.redirect_path}"
            for party in built.runtime.sites[0].providers.values()
        )
    if gate.view_url is not None:
        lines.append(f"Every step is shown at {gate.view_url}")
    if options.record is not None:
        lines.append(f"Recording to {options.record}, without cookies, tokens and bodies")
    return [*lines, *(f"Note: {warning}" for warning in built.warnings), ""]


def _bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ConfigurationError, one line with a mend."""
    address = host.strip("[]")
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        # Listening at once: another process that binds the same port without listening is noticed here.
        sock.listen(1024)
    except OSError as error:
        sock.close()
        why = "another process is there" if error.errno == errno.EADDRINUSE else str(error.strerror)
        other = port + 1 if 0 < port < _LAST_PORT else 8080
        raise ConfigurationError(
            f"doorward dev: can't listen on {host}:{port}: {why}. Choose another port: --listen {other}"
        ) from error
    sock.setblocking(False)
    return sock


def _close_after(stack: contextlib.AsyncExitStack, server: Server) -> None:
    async def drain() -> None:
        await server.drain(_DRAIN_SECONDS)
        server.close()

    stack.push_async_callback(drain)


def _cancel_after(stack: contextlib.AsyncExitStack, task: asyncio.Task[None]) -> None:
    async def cancel() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(cancel)
