"""`doorward netfilter`: rules of the kernel that leave no way around the gate inside a pod.

Owns: the text of the rules. Depends on: nothing but the core's errors. Leaves to others: bringing them into
force (nft, iptables-restore), and what is decided about a connection once it has arrived at the gate.

    stranger --> application's port --(redirect)--> gate --(as its own user)--> application's port

Whatever arrives for the application's port is sent to the gate's, from outside and from inside the pod. Only
processes of the gate's user reach the application itself: by that, not by an address, the gate is known. A
packet for the application's port that has come past the redirect is dropped. While the gate is away nothing
answers: closed is how it fails.
"""

from __future__ import annotations

from sidecar.netfilter.rules import Ports, iptables_script, nft_rules

__all__ = ["Ports", "iptables_script", "nft_rules"]
