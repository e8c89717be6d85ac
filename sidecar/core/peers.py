"""Direct peers by their addresses: which of them the operator has listed."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.core.runtime import Network

__all__ = ["Address", "Peers", "parse_address"]

type Address = IPv4Address | IPv6Address

_MAX_REMEMBERED: Final = 4096  # addresses


def parse_address(text: str) -> Address | None:
    """Return the address, IPv4-mapped ones as IPv4 and without a zone; None when it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Peers:
    """A list of networks, and of whoever connects to our unix socket where `has_unix`."""

    __slots__ = ("_has_unix", "_known", "_networks")

    def __init__(self, networks: Sequence[Network], *, has_unix: bool) -> None:
        """Nothing is remembered yet."""
        self._networks = tuple(networks)
        self._has_unix = has_unix
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        """Tell whether anybody is listed."""
        return bool(self._networks) or self._has_unix

    def holds(self, peer: str) -> bool:
        """Tell whether a direct peer, an address as text or "unix", is listed."""
        known = self._known.get(peer)
        if known is None:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            address = parse_address(peer)
            known = self._has_unix if peer == "unix" else address is not None and self.holds_address(address)
            self._known[peer] = known
        return known

    def holds_address(self, address: Address) -> bool:
        """Tell whether one of the networks holds an address."""
        return any(address.version == network.version and address in network for network in self._networks)
