"""One mitmproxy in the running loop: start, drain, end."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mitmproxy import options
from mitmproxy.addons import core, dns_resolver, next_layer, tlsconfig
from mitmproxy.master import Master
from mitmproxy.utils import asyncio_utils

from addons.authenticate import OPTIONS, Authenticate
from addons.gate import Gate
from addons.orders import EndNow
from sidecar.engines.mitm.asking import ask_sparingly
from sidecar.engines.mitm.listening import BoundProxyserver
from sidecar.engines.mitm.modes import end_redirector, parse_mode, refusal
from sidecar.engines.mitm.tls import ListenerAddon

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from mitmproxy.addons import proxyserver

    from sidecar.application import Application, Observer
    from sidecar.core.decision import Lease
    from sidecar.core.runtime import Limits, ListenerTls, Upstream

__all__ = ["MitmServer", "serve"]

_logger: Final = logging.getLogger("mitmproxy")
# Without any handler Python would write what it says to standard error, between our own lines.
_logger.addHandler(logging.NullHandler())
_CLOSING_SECONDS: Final = 2.0
_TURN_SECONDS: Final = 0.01


class _Defects(logging.Handler):
    """Tells the observer of what mitmproxy logs as an error: a defect, ours or its own."""

    def __init__(self, observer: Observer) -> None:
        super().__init__(logging.ERROR)
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on with its exception."""
        error = record.exc_info[1] if record.exc_info else None
        try:
            _raise(error or RuntimeError(record.getMessage()))
        except BaseException:  # noqa: BLE001  it is not ours to handle, only to tell
            self._observer.defect("mitmproxy", "")


def _raise(error: BaseException) -> None:
    raise error


class MitmServer:
    """A mitmproxy that runs. `addresses` are where it listens, with the real ports."""

    def __init__(
        self, master: Master, gate: Gate, authenticate: Authenticate, surroundings: ExitStack
    ) -> None:
        self._master = master
        self._gate = gate
        self._authenticate = authenticate
        self._surroundings = surroundings
        self._proxy: proxyserver.Proxyserver = master.addons.get("proxyserver")
        self.addresses = [f"{_bracketed(a[0])}:{a[1]}" for a in self._proxy.listen_addrs()]

    @property
    def address(self) -> str:
        """Return the first address."""
        return self.addresses[0]

    @property
    def connections(self) -> int:
        """Count the open connections."""
        return len(self._proxy.connections)

    @property
    def requests(self) -> int:
        """Count the requests under way, WebSockets among them."""
        return len(self._gate.open)

    @property
    def master(self) -> Master:
        """Return mitmproxy's master, for whoever adds an addon to it."""
        return self._master

    def end_leases(self, predicate: Callable[[Lease], bool]) -> int:
        """End each tunnel and running answer whose lease the predicate names; return how many."""
        due: list[EndNow] = []
        for flow, verdict in tuple(self._gate.open.items()):
            lease = verdict.forward.lease if verdict.forward is not None else None
            if lease is not None and predicate(lease):
                verdict.ended_by = "session_revoked"
                due.append(EndNow(flow))
        asyncio.get_running_loop().create_task(self._end(due))
        return len(due)

    async def _end(self, due: list[EndNow]) -> None:
        for event in due:
            handler = self._proxy.connections.get(event.flow.client_conn.id)
            if handler is not None:
                await handler.server_event(event)

    async def drain(self, seconds: float) -> None:
        """Stop accepting, let what runs end within `seconds`, then close what is left."""
        self._gate.is_draining = True
        foreign = [server for server in self._servers() if not isinstance(server, asyncio.Server)]
        await self._proxy.servers.update([])
        await end_redirector()
        await self._end([EndNow(flow) for flow in tuple(self._gate.open) if flow.websocket is not None])
        busy = {flow.client_conn.id for flow in self._gate.open}
        for name, handler in tuple(self._proxy.connections.items()):
            if name not in busy:
                self._close(handler)
        await self._wait_empty(seconds)
        self.close()
        # What was cancelled is to be over before the loop is.
        await self._wait_empty(_CLOSING_SECONDS)
        # UDP's have threads of their own: one that still ends when Python does, crashes it.
        closed = [asyncio.ensure_future(server.wait_closed()) for server in foreign]
        if closed:
            await asyncio.wait(closed, timeout=_CLOSING_SECONDS)
        await self._master.done()
        await asyncio.sleep(_TURN_SECONDS)

    async def _wait_empty(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._proxy.connections and time.monotonic() < deadline:  # noqa: ASYNC110  mitmproxy's own
            await asyncio.sleep(_TURN_SECONDS)

    def _servers(self) -> list[Any]:
        """Return mitmproxy's listeners: asyncio's for TCP, its own for UDP."""
        return [server for instance in self._proxy.servers for server in getattr(instance, "_servers", ())]

    def close(self) -> None:
        """End everything at once."""
        for server in self._servers():
            server.close()
        for handler in tuple(self._proxy.connections.values()):
            self._close(handler)
        self._authenticate.done()
        self._surroundings.close()

    @staticmethod
    def _close(handler: object) -> None:
        transports = getattr(handler, "transports", {})
        for transport in tuple(transports.values()):
            if transport.handler is not None:
                transport.handler.cancel("closed")


async def serve(
    application: Application,
    listen: str,
    limits: Limits,
    *,
    mode: str = "reverse",
    tls: ListenerTls | None = None,
    sock: socket.socket | None = None,
    keys: Path | None = None,
    is_ours: Callable[[str], bool] | None = None,
    hosts: Sequence[str] = (),
    upstreams: Sequence[Upstream] = (),
    clock: Callable[[], float] = time.time,
    sweep_seconds: float = 1.0,
    addons: Sequence[object] = (),
) -> MitmServer:
    """Serve `application` in the running loop by mitmproxy, on `listen` or on a socket that listens already.

    `mode` is one of mitmproxy's: reverse, transparent, regular, local, socks5, wireguard. `keys` is the
    folder of the certificate authority (made with 0700). `is_ours` and `hosts` (patterns of "host:port") say
    what the capturing modes gate; `upstreams` can't be reached past the gate in them. Time-outs are kept to
    about `sweep_seconds`.

    Raises OSError when the address can't be had, ConfigurationError when the mode can't be started,
    ValueError when `listen` is no address: the operator's fault.
    """
    host, port = _split(listen) if sock is None else sock.getsockname()[:2]
    spec = parse_mode(_mode_spec(mode, has_tls=tls is not None)).full_spec
    gate = Gate(application, limits, is_ours, clock, upstreams)
    listener = ListenerAddon(tls, application.observer)
    authenticate = Authenticate(gate, has_tls=tls is not None, sweep_seconds=sweep_seconds)
    folder = prepare_folder(keys or _default_folder())
    surroundings = ExitStack()
    master = Master(options.Options(confdir=str(folder)), asyncio.get_running_loop())
    ask_sparingly(master)
    master.addons.add(
        core.Core(),
        listener,
        authenticate,
        *addons,
        BoundProxyserver(listen, sock),
        dns_resolver.DnsResolver(),
        next_layer.NextLayer(),
        tlsconfig.TlsConfig(),
    )
    master.options.update(
        **OPTIONS, mode=[spec], listen_host=host, listen_port=port, allow_hosts=list(hosts), http2=True
    )
    surroundings.enter_context(asyncio_utils.set_eager_task_factory())
    try:
        await master.addons.get("proxyserver").setup_servers()
    except Exception as error:
        surroundings.close()
        await master.done()
        if isinstance(error, OSError):
            raise OSError(error.errno, os.strerror(error.errno or 0), listen) from error
        raise refusal(mode, error) from error
    _watch(surroundings, application.observer)
    await master.running()
    return MitmServer(master, gate, authenticate, surroundings)


def _watch(surroundings: ExitStack, observer: Observer) -> None:
    handler = _Defects(observer)
    _logger.addHandler(handler)
    surroundings.callback(_logger.removeHandler, handler)


def _mode_spec(mode: str, *, has_tls: bool) -> str:
    """Return mitmproxy's name of a mode. Where a reverse proxy sends things is the gate's word."""
    if mode != "reverse":
        return mode
    # "https" makes mitmproxy listen on UDP too, for HTTP/3.
    return f"reverse:{'https' if has_tls else 'http'}://doorward.invalid"


def _default_folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "doorward" / "interception"


def prepare_folder(folder: Path) -> Path:
    """Return `folder`, made for us alone: the authority's key in it can vouch for any name."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


def _split(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"not an address to listen on: {listen!r} (host:port or [::1]:port)")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  ":8080" says so


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
