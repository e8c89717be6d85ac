"""Which site a Host field means (S40, S49): from configured names only, whatever the request says.

A name is compared in lower case, its port only where that is needed to tell sites apart: a container's
published port or a load balancer's inner one reaches Host with another number than `public_url` has, and no
URL that we write is ever made from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from sidecar.core.errors import BadRequest

__all__ = ["HostTable", "is_loopback_name", "parse_authority"]

# Host = uri-host [ ":" port ] (RFC 9110 §7.2), without the sub-delims, escapes and user information that a
# reg-name may have by its grammar and no host has in practice (S49: `evil@host`, `a,b`).
_AUTHORITY: Final = re.compile(
    r"(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)

_MAX_HOST_CHARACTERS: Final = 253  # RFC 1035 §2.3.4, as text and without the root's dot


def parse_authority(value: bytes) -> tuple[str, str | None]:
    """Return host (lower case, IPv6 in brackets) and port, None when it has none.

    Raises BadRequest("invalid_request") when it is not a host: the downstream's fault.
    """
    found = _AUTHORITY.fullmatch(value.decode("latin-1"))
    if found is None or len(found["host"]) > _MAX_HOST_CHARACTERS:
        raise BadRequest("invalid_request", "Host is not a host")
    return found["host"].lower(), found["port"]


def is_loopback_name(host: str) -> bool:
    """Tell whether a host names this machine: 127.0.0.0/8, ::1, localhost, *.localhost (RFC 6761 §6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class HostTable[T]:
    """Sites by Host. `exact` answers for a value that is spelled as configured, which is nearly every one."""

    __slots__ = ("_by_authority", "_by_host", "exact")

    def __init__(self, sites: Iterable[tuple[T, Iterable[str]]]) -> None:
        """Take each site with its authorities, in lower case and without default ports."""
        self._by_authority: dict[str, T] = {}
        self._by_host: dict[str, T | None] = {}
        for site, authorities in sites:
            for authority in authorities:
                self._by_authority[authority] = site
                host, _ = parse_authority(authority.encode("ascii"))
                # Two sites on one name, told apart by port: then the port must fit.
                is_shared = self._by_host.get(host, site) is not site
                self._by_host[host] = None if is_shared else site
        self.exact = {authority.encode("ascii"): site for authority, site in self._by_authority.items()}

    def find(self, value: bytes) -> T | None:
        """Return the site, or None when no site has this host. Raises BadRequest when it is no host."""
        host, port = parse_authority(value)
        for authority in (f"{host}:{port}" if port else host, host if port in {"80", "443"} else ""):
            if authority in self._by_authority:
                return self._by_authority[authority]
        return self._by_host.get(host)
