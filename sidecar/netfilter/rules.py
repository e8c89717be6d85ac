"""The rules as text, for nftables and for iptables.

Both can be brought into force again and again: an init container may run twice in one network namespace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sidecar.core.errors import ConfigurationError

__all__ = ["Ports", "iptables_script", "nft_rules"]

_MAX_PORT: Final = 65535
_MAX_UID: Final = (1 << 32) - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The application's ports, the gate's port, and the user that the gate runs as."""

    application: tuple[int, ...]
    gate: int
    uid: int

    def __post_init__(self) -> None:
        if not self.application:
            raise ConfigurationError("--port: which port does the application listen on?")
        for port in (*self.application, self.gate):
            if not 0 < port <= _MAX_PORT:
                raise ConfigurationError(f"--port {port}: is no port; write one from 1 to 65535.")
        if self.gate in self.application:
            raise ConfigurationError(
                f"--to {self.gate}: is the application's port too; let Doorward listen on another one."
            )
        if self.uid == 0:
            raise ConfigurationError(
                "--uid 0: any process of root could go around the gate; run Doorward as a user of its own."
            )
        if not 0 < self.uid <= _MAX_UID:
            raise ConfigurationError(f"--uid {self.uid}: is no user; write the number of Doorward's.")


def nft_rules(ports: Ports) -> str:
    """Return rules for `nft -f -`: one table of ours, replaced as a whole."""
    wanted = ", ".join(map(str, ports.application))
    return f"""\
# Made by doorward netfilter. Everything for the application goes to the gate; only the gate's user passes.
table inet doorward
delete table inet doorward
table inet doorward {{
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport {{ {wanted} }} fib daddr type local redirect to :{ports.gate}
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        tcp dport {{ {wanted} }} fib daddr type local meta skuid != {ports.uid} redirect to :{ports.gate}
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname != "lo" tcp dport {{ {wanted} }} drop
    }}
}}
"""


def iptables_script(ports: Ports) -> str:
    """Return a script for `sh`, which sets the rules of IPv4 and IPv6, each as a whole."""
    local = "-m addrtype --dst-type LOCAL"
    others = f"-m owner ! --uid-owner {ports.uid}"
    redirect = f"-j REDIRECT --to-ports {ports.gate}"
    nat = "\n".join(
        f"-A DOORWARD_PREROUTING -p tcp --dport {port} {local} {redirect}\n"
        f"-A DOORWARD_OUTPUT -p tcp --dport {port} {local} {others} {redirect}"
        for port in ports.application
    )
    drops = "\n".join(
        f"-A DOORWARD_INPUT ! -i lo -p tcp --dport {port} -j DROP" for port in ports.application
    )
    return f"""\
#!/bin/sh
# Made by doorward netfilter. Everything for the application goes to the gate; only the gate's user passes.
set -eu
for tables in iptables ip6tables; do
    # A system without IPv6 needs none of its rules; one whose rules can't be set stops here.
    [ "$tables" = iptables ] || [ -e /proc/net/if_inet6 ] || continue
    "$tables-restore" --wait --noflush <<'RULES'
*nat
:DOORWARD_PREROUTING - [0:0]
:DOORWARD_OUTPUT - [0:0]
{nat}
COMMIT
*filter
:DOORWARD_INPUT - [0:0]
{drops}
COMMIT
RULES
    for jump in "nat PREROUTING" "nat OUTPUT" "filter INPUT"; do
        table=${{jump% *}} chain=${{jump#* }}
        "$tables" --wait -t "$table" -C "$chain" -p tcp -j "DOORWARD_$chain" 2>/dev/null ||
            "$tables" --wait -t "$table" -I "$chain" 1 -p tcp -j "DOORWARD_$chain"
    done
done
"""
