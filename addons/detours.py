"""Ways past the gate that lead through us.

Who uses us as a proxy chooses where we connect to, and we stand where upstreams can be reached: asked for an
upstream's own address, we would carry forged identity headers there ourselves. Asked for our own address, we
would ask ourselves, and again, until nothing is left. Judged by where a connection has come out, so that no
spelling of an address and no name matters.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any

from addons.destinations import destination_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitmproxy.connection import Server

    from sidecar.core.runtime import Upstream

    type _Address = ipaddress.IPv4Address | ipaddress.IPv6Address

__all__ = ["is_detour"]


async def is_detour(server: Server, upstreams: Iterable[Upstream], own: Iterable[tuple[Any, ...]]) -> bool:
    """Tell whether an open connection, which no verdict asked for, leads to an upstream or to us.

    `own` are the addresses at which we listen. Raises OSError when an upstream's address can't be told.
    """
    if destination_of(server) is not None or server.peername is None or server.sockname is None:
        return False
    there, port, here = _plain(server.peername[0]), server.peername[1], _plain(server.sockname[0])
    own_ips = {_plain(address[0]) for address in own if address[1] == port}
    if there in own_ips or (_is_here(there, here) and any(ip.is_unspecified for ip in own_ips)):
        return True
    for upstream in upstreams:
        if upstream.unix_path is None and upstream.port == port:
            found = await asyncio.get_running_loop().getaddrinfo(upstream.host, port)
            ips = {_plain(known[4][0]) for known in found}
            if there in ips or (_is_here(there, here) and any(_is_here(ip, here) for ip in ips)):
                return True
    return False


def _is_here(there: _Address, here: _Address) -> bool:
    """Tell whether an address is this machine's: then the connection to it begins where it ends."""
    return there.is_loopback or there == here


def _plain(text: object) -> _Address:
    address = ipaddress.ip_address(str(text).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
