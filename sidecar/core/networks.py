"""The condition that asks where a request comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, override

from sidecar.core.errors import ConfigurationError
from sidecar.core.identity import Identity
from sidecar.core.verdict import Condition, Verdict, enumerate_values, keep, no, require_list, unknown, yes

__all__ = ["Networks"]


@dataclass(frozen=True, slots=True)
class Networks(Condition):
    """Admits requests from these networks, whoever makes them. An IPv4-mapped IPv6 address is IPv4."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    _masks: tuple[tuple[int, int, frozenset[int]], ...] = field(init=False, repr=False, compare=False)
    _yes: Verdict = field(init=False, repr=False, compare=False)
    _no: Verdict = field(init=False, repr=False, compare=False)
    _missing: Verdict = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the networks by version and length of the prefix, so that many cost no more than few."""
        require_list("networks", self.networks)
        prefixes: dict[tuple[int, int], set[int]] = {}
        for network in map(_unmapped_network, self.networks):
            shift = network.max_prefixlen - network.prefixlen
            prefixes.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)
        listed = enumerate_values(map(str, self.networks))
        keep(
            self,
            _masks=tuple((*key, frozenset(values)) for key, values in sorted(prefixes.items())),
            _yes=yes(f"from one of the networks {listed}"),
            _no=no(f"from none of the networks {listed}"),
            _missing=unknown(f"from no known address, so from none of the networks {listed}"),
        )

    @classmethod
    def of(cls, texts: Iterable[str]) -> Networks:
        """Parse networks such as "10.0.0.0/8" or single addresses; raises `ConfigurationError`."""
        return cls(tuple(map(_parse_network, texts)))

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Look for the address's prefixes."""
        address = _parse_address(client_ip)
        if address is None:
            return self._missing
        version, number = address
        for mask_version, shift, prefixes in self._masks:
            if mask_version == version and number >> shift in prefixes:
                return self._yes
        return self._no


def _unmapped_network(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


_MAPPED_BITS: Final = 96  # RFC 4291 §2.5.5.2: ::ffff:0:0/96 holds the IPv4 addresses


def _parse_network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ConfigurationError(
            f"networks: {text!r} is no network ({error}); write it as 10.0.0.0/8 or 2001:db8::/32."
        ) from error


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> tuple[int, int] | None:
    """Return version and number of an address, an IPv4-mapped one as IPv4, without a zone; else None."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)
