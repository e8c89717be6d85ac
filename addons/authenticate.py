"""The gate as a mitmproxy addon: sign-in, session, rules, header hygiene, identity headers.

    mitmdump -s addons/authenticate.py --set doorward_config=doorward.yaml --mode reverse:http://localhost:3000

Every request is decided at its head. Where it goes is the configuration's word, not the mode's. Options:
`doorward_config` is the file. Command: `doorward.status` says what is gated and how much is under way.

mitmproxy logs an addon's exception and goes on. So each hook here ends in a refusal whatever happens in it,
and `addons.streams` refuses what no hook has settled. A script that can't be loaded ends mitmdump at the
start; when it is taken away, or breaks while it is edited, what it leaves behind refuses everything.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mitmproxy import command, ctx, exceptions
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy.mode_specs import LocalMode, ReverseMode, TransparentMode

from addons.destinations import destination_of
from addons.detours import is_detour
from addons.gate import Gate
from addons.stacks import ClosedLayer, build_server_stack, gated
from addons.sweeping import Sweeper, is_blocked
from addons.upstream_tls import distrust, start_upstream_tls
from addons.verdicts import Phase, verdict_of

if TYPE_CHECKING:
    from mitmproxy.addonmanager import Loader
    from mitmproxy.connection import Client
    from mitmproxy.http import HTTPFlow
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import Layer, NextLayer
    from mitmproxy.proxy.server_hooks import ServerConnectionHookData
    from mitmproxy.tls import TlsData

__all__ = ["OPTIONS", "Authenticate", "Seal", "addons"]

_logger: Final = logging.getLogger(__name__)
_AT_ONCE: Final = struct.pack("ii", 1, 0)

OPTIONS: Final[dict[str, object]] = {
    # An upstream is met when a request was let through, not when somebody connects.
    "connection_strategy": "lazy",
    "keep_host_header": True,
    "validate_inbound_headers": True,
    # Streamed from the head on by us; by size is what hangs.
    "stream_large_bodies": None,
    "store_streamed_bodies": False,
    "body_size_limit": None,
    "websocket": True,
    "rawtcp": True,
}
"""What mitmproxy must be set to for the gate to hold."""


class Authenticate:
    """The addon. With a `gate` it is part of an engine; without one it makes its own of `doorward_config`."""

    name = "doorward"

    def __init__(
        self, gate: Gate | None = None, *, has_tls: bool | None = None, sweep_seconds: float = 1.0
    ) -> None:
        """`has_tls`: whether a reverse proxy's listener speaks TLS; None goes by what a client sends.

        Time-outs are kept to about `sweep_seconds`.
        """
        self._gate = gate
        self._has_tls = has_tls
        self._sweep_seconds = sweep_seconds
        self._sweeping = Sweeper()
        self._sweeper: asyncio.Task[None] | None = None
        self._is_engine = gate is not None

    def gate(self) -> Gate:
        """Return the gate. Raises RuntimeError when there is none: then nothing passes."""
        if self._gate is None:
            raise RuntimeError("there is no gate: its configuration has not been read")
        return self._gate

    # Life.

    def load(self, loader: Loader) -> None:
        """Declare the option."""
        if not self._is_engine:
            loader.add_option("doorward_config", str, "", "Doorward's configuration file (doorward.yaml).")

    def configure(self, updated: set[str]) -> None:
        """Read the configuration; a broken one is refused and changes nothing."""
        if self._is_engine or "doorward_config" not in updated:
            return
        from addons.standing import build_gate

        self.use(lambda: build_gate(Path(ctx.options.doorward_config), os.environ), "doorward_config")

    def use(self, build: Callable[[], Gate], option: str) -> None:
        """Put a new gate in the old one's place; when it can't be built, the old one stays."""
        try:
            self._gate = build()
        except Exception as error:
            raise exceptions.OptionsError(f"{option}: {error}") from error
        # At once: mitmproxy listens before it tells an addon that it runs.
        ctx.options.update(**OPTIONS)

    def running(self) -> None:
        """Set mitmproxy as the gate needs it, and begin to watch leases."""
        if not self._is_engine:
            # mitmproxy ends when an addon fails at its start.
            self.gate()
            if ctx.master.addons.get(Seal.name) is None:
                ctx.master.addons.add(Seal())
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    def done(self) -> None:
        """Stop watching."""
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_seconds)
            with self._closed(None, "sweep"):
                await self.sweep()

    async def sweep(self) -> None:
        """End what is due, and what waits too long."""
        connections = ctx.master.addons.get("proxyserver").connections
        for due in self.gate().overdue(lambda client: is_blocked(connections.get(client.id))):
            handler = connections.get(due.flow.client_conn.id)
            if handler is not None:
                await handler.server_event(due)
        limits = self.gate().limits
        for handler in tuple(connections.values()):
            await self._sweeping.look(handler, limits, time.monotonic(), time.time())

    @command.command("doorward.status")  # type: ignore[untyped-decorator]  # mitmproxy's
    def status(self) -> Sequence[str]:
        """Say what is gated and how much is under way."""
        return [f"{len(self.gate().open)} requests under way"]

    # Failing closed.

    def _closed(self, flow: HTTPFlow | None, where: str) -> _Closed:
        return _Closed(self, flow, where)

    def close_down(self, flow: HTTPFlow | None, where: str) -> None:
        """Take the verdict away from a flow in whose hook something was raised: then the layer refuses it.

        What mitmproxy sends again (`replay.client`) has an old verdict and a layer that knows none.
        """
        verdict = None if flow is None or flow.is_replay else verdict_of(flow)
        if verdict is not None:
            verdict.phase = Phase.UNDECIDED
            verdict.is_finished = False
        elif flow is not None and flow.killable:
            flow.kill()
        self._tell(where, verdict.head.request_id if verdict is not None and verdict.head is not None else "")

    def _tell(self, where: str, request_id: str) -> None:
        try:
            self.gate().application.observer.defect(where, request_id)
        except Exception:
            _logger.exception("doorward: refused in %s %s", where, request_id)

    # Layers.

    def next_layer(self, nextlayer: NextLayer) -> None:
        """Put our HTTP layer where mitmproxy would put its own; what can't be decided is closed."""
        if nextlayer.layer is not None:
            return
        try:
            nextlayer.layer = self._choose(nextlayer)
        except Exception:  # noqa: BLE001  the outermost edge: fail closed, tell the operator
            self._tell("next_layer", "")
            nextlayer.layer = ClosedLayer(nextlayer.context)

    def _choose(self, nextlayer: NextLayer) -> Layer | None:
        context, settings = nextlayer.context, self.gate().settings
        mode = context.client.proxy_mode
        if isinstance(mode, ReverseMode | TransparentMode):
            has_tls = self._speaks_tls(context, nextlayer.data_client())
            return build_server_stack(context, settings, has_tls=has_tls)
        ctx.master.addons.get("nextlayer").next_layer(nextlayer)
        chosen = nextlayer.layer
        return None if chosen is None else gated(chosen, settings, self.gate().gates_destination)

    def _speaks_tls(self, context: Context, data: bytes) -> bool:
        if context.client.tls_established:
            return False
        if self._has_tls is not None and isinstance(context.client.proxy_mode, ReverseMode):
            return self._has_tls
        return starts_like_tls_record(data)

    # Connections.

    def client_connected(self, client: Client) -> None:
        """Count a connection; refuse it when there is no gate, or too many are open."""
        try:
            connections = ctx.master.addons.get("proxyserver").connections
            self.gate().application.observer.connection_opened()
            if len(connections) > self.gate().limits.max_connections or self.gate().is_draining:
                client.error = "too many connections"
            handler = connections.get(client.id)
            if handler is not None:
                # mitmproxy allows five at a time to one upstream, which as many event streams would use up.
                handler.max_conns = defaultdict(lambda: asyncio.Semaphore(self.gate().limits.max_connections))
        except Exception:  # noqa: BLE001  the outermost edge: fail closed, tell the operator
            client.error = "refused"
            self._tell("client_connected", "")

    def client_disconnected(self, client: Client) -> None:
        """Count it off, and whatever it has left behind."""
        with self._closed(None, "client_disconnected"):
            self.gate().forget(client)
            self.gate().application.observer.connection_closed()

    async def server_connected(self, connected: ServerConnectionHookData) -> None:
        """Cut a connection that leads past the gate, before a byte is sent on it.

        Not in local mode, where whoever asks is on this machine, and could do so without us.
        """
        if isinstance(connected.client.proxy_mode, LocalMode):
            return
        proxy, server = ctx.master.addons.get("proxyserver"), connected.server
        try:
            if not await is_detour(server, self.gate().upstreams, proxy.listen_addrs()):
                return
        except Exception:  # noqa: BLE001  the outermost edge: fail closed, tell the operator
            self._tell("server_connected", "")
        server.error = "this address is not reached through here"
        handler = proxy.connections.get(connected.client.id)
        io = None if handler is None else handler.transports.get(server)
        if io is not None and io.writer is not None:
            io.writer.close()

    def tls_start_server(self, start: TlsData) -> None:
        """Speak TLS to an upstream by its own rules."""
        try:
            start_upstream_tls(start)
        except Exception:  # noqa: BLE001  the outermost edge: fail closed, tell the operator
            distrust(start)
            self._tell("tls_start_server", "")

    def tls_failed_server(self, failed: TlsData) -> None:
        """Note that somebody answers there, but not in a way that we may trust."""
        destination = destination_of(failed.conn)
        if destination is not None:
            destination.fate = destination.fate or ("upstream_broken", 502)

    # Requests.

    async def requestheaders(self, flow: HTTPFlow) -> None:
        """Decide."""
        with self._closed(flow, "requestheaders"):
            await self.gate().decide(flow)

    async def request(self, flow: HTTPFlow) -> None:
        """Decide what has waited for the body."""
        with self._closed(flow, "request"):
            await self.gate().decide_again(flow)

    def responseheaders(self, flow: HTTPFlow) -> None:
        """Let of the upstream's answer pass what may."""
        with self._closed(flow, "responseheaders"):
            self.gate().finish(flow)

    def response(self, flow: HTTPFlow) -> None:
        """Report a request's end."""
        with self._closed(flow, "response"):
            self.gate().report(flow, flow.response.status_code if flow.response is not None else 0)

    def error(self, flow: HTTPFlow) -> None:
        """Answer for an upstream that failed, or report what broke off."""
        with self._closed(flow, "error"):
            verdict = verdict_of(flow)
            if verdict is not None:
                if verdict.is_finished and verdict.version == b"HTTP/1.0":
                    self._reset(flow.client_conn)
                self.gate().fail(flow)

    @staticmethod
    def _reset(client: Client) -> None:
        """Have a connection end in a reset: where the end of an answer is the connection's, it is no end."""
        handler = ctx.master.addons.get("proxyserver").connections.get(client.id)
        io = None if handler is None else handler.transports.get(client)
        sock = None if io is None or io.writer is None else io.writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)

    # WebSockets.

    def websocket_end(self, flow: HTTPFlow) -> None:
        """Forget it."""
        with self._closed(flow, "websocket_end"):
            self.gate().close(flow)


class _Closed:
    """Closes the gate for a flow when its block raises. `contextmanager` would take three times as long."""

    __slots__ = ("_authenticate", "_flow", "_where")

    def __init__(self, authenticate: Authenticate, flow: HTTPFlow | None, where: str) -> None:
        """Remember whom it concerns."""
        self._authenticate = authenticate
        self._flow = flow
        self._where = where

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """End; an exception, but no cancellation, ends here: the outermost edge."""
        if not isinstance(error, Exception):
            return False
        self._authenticate.close_down(self._flow, self._where)
        return True


class Seal:
    """Stays behind in mitmproxy when the script is gone, and closes what would then pass unasked."""

    name = "doorward-seal"

    def next_layer(self, nextlayer: NextLayer) -> None:
        """Close every connection that begins while there is no gate."""
        if ctx.master.addons.get(Authenticate.name) is None:
            nextlayer.layer = ClosedLayer(nextlayer.context)


addons: list[object] = [Authenticate()]
