"""Serving the provider: on loopback, or not at all (S72)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sidecar.core.errors import ConfigurationError
from sidecar.core.hosts import is_loopback_name
from sidecar.core.runtime import Limits

if TYPE_CHECKING:
    from sidecar.devidp.application import DevIdentityProvider
    from sidecar.engines.express import ExpressServer

__all__ = ["check_listen", "serve"]


def check_listen(listen: str) -> None:
    """Raise ConfigurationError unless `listen` ("host:port") is an address of loopback.

    A name other than those that RFC 6761 ties to loopback is refused, wherever it may resolve to, and so is
    a unix socket, which a server in front could open to the world.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not is_loopback_name(host):
        raise ConfigurationError(
            f"The embedded provider can't listen on {listen}: everybody who reaches it may be anybody."
            " Use 127.0.0.1:PORT, [::1]:PORT or localhost:PORT."
        )


async def serve(
    provider: DevIdentityProvider,
    listen: str,
    *,
    sock: socket.socket | None = None,
    limits: Limits | None = None,
) -> ExpressServer:
    """Serve `provider`. Raises ConfigurationError when `listen` or `sock` is not on loopback."""
    from sidecar.engines import express

    check_listen(listen)
    if sock is not None:
        check_listen(":".join(map(str, sock.getsockname()[:2])))
    return await express.serve(provider, listen, limits or Limits(), sock=sock)
