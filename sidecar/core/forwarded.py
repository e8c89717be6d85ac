"""Where a request comes from: believed of trusted proxies only, told to the upstream anew (S48, S49).

Theory of operation. The direct TCP peer is the only address that can't be invented. If it is no trusted
proxy, it is the user agent's, and whatever forwarded headers came along are its inventions. If it is one, the
last address that it appended to X-Forwarded-For is the one it saw, and so on while the addresses are trusted
proxies themselves: the rightmost address that is not trusted is the user agent's. What stands left of that
was written by the user agent, so it is neither read nor passed on.

Scheme, host and port never come from a request: they are those of the site's `public_url`. X-Forwarded-Proto
and -Host of a trusted proxy are only looked at for signs of an attack that it passed through.

`Forwarded` (RFC 7239) is written, not read. A proxy that writes only that would leave every client's own
X-Forwarded-For in place, to be believed here; so a trusted proxy's request that has a `Forwarded` but no
X-Forwarded-For is refused, and the operator sees it before an attacker does.

What goes upstream is made once for each chain of addresses and remembered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sidecar.core.decision import Edits
from sidecar.core.errors import BadRequest
from sidecar.core.hosts import parse_authority
from sidecar.core.http import header_values
from sidecar.core.peers import Address, Peers, parse_address

if TYPE_CHECKING:
    from sidecar.core.http import HeaderPair
    from sidecar.core.runtime import Network, Origin

__all__ = ["SET_NAMES", "Forwarded", "ForwardedTable", "check_scheme"]

SET_NAMES: Final = (
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Real-IP",
    "Forwarded",
)

_MAX_REMEMBERED: Final = 4096  # addresses or chains, some 700 bytes each
_MAX_CHAIN: Final = 32  # a chain of more trusted proxies than this is a loop or an attack
_MAX_CHAIN_BYTES: Final = 2048

_SCHEMES: Final = frozenset({b"http", b"https", b"ws", b"wss"})
# RFC 7239 §4: a value that is no token is quoted.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Some proxies append the port: 192.0.2.1:4711, [2001:db8::1]:4711, 2001:db8::1.
_NODE: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?|(?P<bare>[0-9A-Fa-f:.]+)"
)


class Forwarded:
    """What is known of one chain of addresses: the user agent's, and the fields that tell the upstream.

    A plain slots class, compared by identity on the hot path. `is_trusted`: the direct peer is a trusted
    proxy.
    """

    __slots__ = ("client_ip", "edits", "is_trusted")

    def __init__(self, client_ip: str, edits: Edits, *, is_trusted: bool) -> None:
        """Keep the parts."""
        self.client_ip = client_ip
        self.edits = edits
        self.is_trusted = is_trusted


class ForwardedTable:
    """The forwarded headers of one site, by where a request comes from.

    `direct` holds what is known of direct peers by their text; None stands for a trusted proxy, whose
    headers must be read: `find` does it all.
    """

    __slots__ = ("_chains", "_origin", "_trusted", "direct")

    def __init__(self, origin: Origin, networks: Sequence[Network], *, trusts_unix: bool) -> None:
        """Prepare for a site with public URL `origin`; `networks` hold the trusted proxies."""
        self._origin = origin
        self._trusted = Peers(networks, has_unix=trusts_unix)
        self._chains: dict[tuple[str, bytes], Forwarded] = {}
        self.direct: dict[str, Forwarded | None] = {}

    def find(self, peer: str, headers: Sequence[HeaderPair]) -> Forwarded:
        """Return what is known of a request from `peer`.

        Raises BadRequest("invalid_forwarded") when a trusted proxy's forwarded headers make no sense.
        """
        if peer not in self.direct:
            if len(self.direct) >= _MAX_REMEMBERED:
                self.direct.clear()
            is_trusted = self._trusted.holds(peer)
            self.direct[peer] = None if is_trusted else self._build((peer,), is_trusted=False)
        known = self.direct[peer]
        return self._find_chain(peer, headers) if known is None else known

    def _find_chain(self, peer: str, headers: Sequence[HeaderPair]) -> Forwarded:
        _check_scheme_and_host(headers)
        chain = b",".join(header_values(headers, b"x-forwarded-for"))
        if not chain and header_values(headers, b"forwarded"):
            raise BadRequest("invalid_forwarded", "Forwarded without X-Forwarded-For from a trusted proxy")
        return self.behind(peer, chain)

    def behind(self, peer: str, chain: bytes) -> Forwarded:
        """Return what is known of a request that `peer`, which is believed, says to come by `chain`.

        Raises BadRequest("invalid_forwarded") when the chain holds something that is no address.
        """
        key = (peer, chain)
        known = self._chains.get(key)
        if known is None:
            known = self._build(self._verified_chain(peer, chain), is_trusted=True)
            if len(self._chains) >= _MAX_REMEMBERED:
                self._chains.clear()
            if len(chain) <= _MAX_CHAIN_BYTES:
                self._chains[key] = known
        return known

    def _verified_chain(self, peer: str, chain: bytes) -> tuple[str, ...]:
        """Return the addresses from the user agent's to the peer's, by the rightmost-untrusted rule."""
        addresses = [peer]
        elements = chain.decode("latin-1").split(",") if chain else []
        for element in reversed(elements):
            address = _parse_node(element.strip(" \t"))
            if len(addresses) > _MAX_CHAIN:
                raise BadRequest("invalid_forwarded", "X-Forwarded-For has too many trusted addresses")
            addresses.append(str(address))
            if not self._trusted.holds_address(address):
                break
        return tuple(reversed(addresses))

    def _build(self, chain: tuple[str, ...], *, is_trusted: bool) -> Forwarded:
        """Write the fields for a chain of addresses, the user agent's first."""
        scheme, authority, port = self._origin.scheme, self._origin.authority, self._origin.port
        told = [_plain(address) for address in chain if address != "unix"]
        fields = [("X-Forwarded-For", ", ".join(told)), ("X-Real-IP", told[0])] if told else []
        fields += [
            ("X-Forwarded-Proto", scheme),
            ("X-Forwarded-Host", authority),
            ("X-Forwarded-Port", str(port)),
        ]
        nodes = [f"for={_node(_plain(address))}" for address in chain]
        nodes[0] += f";host={_quoted(authority)};proto={scheme}"
        fields.append(("Forwarded", ", ".join(nodes)))
        pairs = tuple((name.encode("ascii"), value.encode("ascii")) for name, value in fields)
        return Forwarded(_plain(chain[0]), Edits.of(pairs), is_trusted=is_trusted)


def check_scheme(value: bytes) -> None:
    """Refuse an X-Forwarded-Proto that no honest proxy sends: BadRequest("invalid_forwarded") (S49)."""
    if value not in _SCHEMES and not _SCHEMES.issuperset(
        scheme.strip(b" \t").lower() for scheme in value.split(b",")
    ):
        raise BadRequest("invalid_forwarded", "X-Forwarded-Proto is no scheme that we know")


def _check_scheme_and_host(headers: Sequence[HeaderPair]) -> None:
    """Refuse what no honest proxy sends: `evil@host`, a list of hosts, an unknown scheme (S49)."""
    for value in header_values(headers, b"x-forwarded-proto"):
        check_scheme(value)
    hosts = header_values(headers, b"x-forwarded-host")
    if len(hosts) > 1:
        raise BadRequest("invalid_forwarded", "X-Forwarded-Host is there twice")
    for host in hosts:
        try:
            parse_authority(host)
        except BadRequest as error:
            raise BadRequest("invalid_forwarded", "X-Forwarded-Host is not one host") from error


def _parse_node(text: str) -> Address:
    found = _NODE.fullmatch(text)
    address = parse_address(found["six"] or found["four"] or found["bare"]) if found else None
    if address is None:
        raise BadRequest("invalid_forwarded", "X-Forwarded-For holds something that is no address")
    return address


def _plain(peer: str) -> str:
    """Return a peer's address in its shortest form; a peer without one stays what it is."""
    address = parse_address(peer)
    return peer if address is None else str(address)


def _node(address: str) -> str:
    """Return a node as RFC 7239 §6 writes it: IPv6 in brackets and quotes, a peer without address unknown."""
    if parse_address(address) is None:
        return "unknown"
    return f'"[{address}]"' if ":" in address else address


def _quoted(value: str) -> str:
    return value if _TOKEN.fullmatch(value) else f'"{value}"'
