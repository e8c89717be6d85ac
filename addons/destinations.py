"""Where a request goes, as mitmproxy's connections carry it: an address that knows its upstream.

mitmproxy tells connections apart by address. Two upstreams may have one address and differ in all else: the
name and authority that are expected there, our certificate, the time-outs. So theirs are different addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from mitmproxy.connection import Server
from mitmproxy.proxy.layers.http import GetHttpConnection

if TYPE_CHECKING:
    from mitmproxy.connection import Connection

    from sidecar.core.runtime import Upstream

__all__ = ["Destination", "ToUpstream", "destination_of"]


class Destination(tuple[str, int]):  # noqa: SLOT001  a tuple has no room for slots
    """Host and port of `upstream`. `fate` is how a connection to it has failed, as reason and status."""

    upstream: Upstream
    fate: tuple[str, int] | None

    def __new__(cls, upstream: Upstream) -> Self:
        """Make the address of an upstream."""
        made = super().__new__(cls, (upstream.host, upstream.port))
        made.upstream = upstream
        made.fate = None
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Destination) and (
            self.upstream is other.upstream or self.upstream == other.upstream
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


def destination_of(connection: Connection) -> Destination | None:
    """Return where a connection leads to, None when it is none to an upstream of ours."""
    address = connection.address if isinstance(connection, Server) else None
    return address if isinstance(address, Destination) else None


class ToUpstream(GetHttpConnection):
    """Asks for a connection to an upstream. One that has failed is none: mitmproxy would go on with it."""

    needs_fresh = False

    def connection_spec_matches(self, connection: Connection) -> bool:
        """Tell whether a connection will do: same upstream, not failed, and unused where that is needed."""
        return not self.needs_fresh and not connection.error and super().connection_spec_matches(connection)
