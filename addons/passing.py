"""A gate that refuses nobody for who they are: header hygiene and an identity, to the proxy's own target.

Shared by the addons that inject an identity without deciding access. It is the core all the same, with one
rule that admits anyone, so that no spoofed field passes by another way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from addons.gate import Gate
from sidecar.core.decision import Flow, Forward, Respond
from sidecar.core.http import RequestHead, header_values
from sidecar.core.policy import Anyone
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import Runtime, Upstream
from sidecar.gateapplication import GateApplication

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow

    from sidecar.core.decision import Decision

__all__ = ["OPEN", "PassingApplication", "PassingGate", "host_of", "open_runtime"]

_ENDPOINT_REASONS: Final = frozenset(
    {"auth_endpoint", "login_failed", "login_loop", "own_page", "sign_in_page", "signed_out"}
)
OPEN: Final = RuleTable.build((Rule(name="all", path="/**", allow=Anyone()),))


def open_runtime(runtime: Runtime) -> Runtime:
    """Return the runtime with every site open to anyone; what it says of sessions and headers stays."""
    return replace(
        runtime, sites=tuple(replace(site, rules=OPEN, csrf_check=False) for site in runtime.sites)
    )


class PassingApplication(GateApplication):
    """Leaves endpoints to the gate that is trusted: here they are nobody's."""

    def decide(self, head: RequestHead) -> Decision:
        """Clean and identify; refuse what would need a login."""
        decision = super().decide(head)
        is_endpoint = isinstance(decision, Respond) and decision.note.reason in _ENDPOINT_REASONS
        if is_endpoint or (isinstance(decision, Flow) and decision.name != "refresh"):
            return self.refuse("unknown_endpoint", 404, head.request_id, head)
        return decision


class PassingGate(Gate):
    """Sends requests where the proxy's mode sends them."""

    def destination(self, flow: HTTPFlow, forward: Forward) -> Upstream:
        """Return the request's own destination."""
        request = flow.request
        return replace(
            forward.upstream,
            scheme="https" if request.scheme == "https" else "http",
            host=request.host,
            port=request.port,
            unix_path=None,
            tls=None,
        )


def host_of(head: RequestHead) -> str:
    """Return the host that a head names, or nothing when it does not name exactly one."""
    hosts = header_values(head.headers, b"host")
    return hosts[0].decode("latin-1") if len(hosts) == 1 else ""
