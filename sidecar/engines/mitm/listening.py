"""mitmproxy's servers on sockets of ours: the addresses that the express engine would have, and no others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mitmproxy import ctx
from mitmproxy.addons import proxyserver
from mitmproxy.proxy.mode_servers import AsyncioServerInstance, ServerInstance
from mitmproxy.proxy.mode_specs import ProxyMode

from sidecar.engines.express.listening import open_sockets
from sidecar.engines.mitm.modes import start_instance

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from mitmproxy_rs.udp import UdpServer
    from mitmproxy_rs.wireguard import WireGuardServer

    type _Server = asyncio.Server | UdpServer | WireGuardServer

__all__ = ["BoundProxyserver"]

_BACKLOG: Final = 1024


class BoundProxyserver(proxyserver.Proxyserver):
    """mitmproxy's addon, whose servers accept on the sockets of `listen`, or on `sock`, bound already."""

    name = "proxyserver"

    def __init__(self, listen: str, sock: socket.socket | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # mitmproxy's
        self._listen = listen
        self._sock = sock

    async def setup_servers(self) -> bool:
        """Start what the mode needs. Raises what mitmproxy's server raises: OSError when it can't listen."""
        for spec in ctx.options.mode:
            mode = ProxyMode.parse(spec)
            instance: ServerInstance[ProxyMode] = ServerInstance.make(mode, self)
            if isinstance(instance, AsyncioServerInstance) and mode.transport_protocol != "udp":
                instance.listen = _Listening(instance, self._sockets)  # type: ignore[method-assign]  # its own
            await start_instance(instance, Path(ctx.options.confdir))
            self.servers._instances[mode] = instance  # noqa: SLF001  where mitmproxy looks for it
        return True

    def _sockets(self) -> list[socket.socket]:
        return open_sockets(self._listen, reuse_port=False) if self._sock is None else [self._sock]


class _Listening:
    """Listens in place of `AsyncioServerInstance.listen`, which takes no socket."""

    def __init__(
        self, instance: AsyncioServerInstance[ProxyMode], sockets: Callable[[], list[socket.socket]]
    ) -> None:
        self._instance = instance
        self._sockets = sockets

    async def __call__(self, host: str, port: int) -> list[_Server]:
        del host, port
        instance, sockets = self._instance, self._sockets()
        servers: list[_Server] = []
        try:
            for sock in sockets:
                server = await asyncio.start_server(instance.handle_stream, sock=sock, backlog=_BACKLOG)
                servers.append(server)
                if instance.mode.transport_protocol == "both":
                    address = sock.getsockname()
                    servers.append(await instance.start_udp_based_server(address[0], address[1]))
        except OSError:
            for opened in (*servers, *sockets):
                opened.close()
            raise
        return servers
