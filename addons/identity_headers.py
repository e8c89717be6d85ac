r"""Identity headers and nothing else, for a proxy behind another gate.

    mitmdump -s addons/identity_headers.py --set identity_config=doorward.yaml \
        --mode reverse:http://localhost:3000

Whoever comes has been let in by a gate in front, with sessions of the same configuration (and keys). The
session in the request's cookie becomes identity headers, whatever the client sent under such names goes, and
our cookies stay here. Nobody is sent to sign in and nobody is refused: without that other gate this lets
everybody through, as nobody. Option: `identity_config`, Doorward's configuration file. Command:
`doorward.identity` says whom a flow was taken for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mitmproxy import command, ctx, http
from mitmproxy import flow as mitmflow

from addons.authenticate import Authenticate
from addons.passing import PassingApplication, PassingGate, open_runtime
from addons.standing import build_gate, host_matcher, upstreams_of
from addons.verdicts import verdict_of
from sidecar.gateapplication import GateApplication

if TYPE_CHECKING:
    from mitmproxy.addonmanager import Loader

__all__ = ["IdentityHeaders", "addons"]


class IdentityHeaders(Authenticate):
    """The addon."""

    def load(self, loader: Loader) -> None:
        """Declare the option."""
        loader.add_option("identity_config", str, "", "Doorward's configuration file (doorward.yaml).")

    def configure(self, updated: set[str]) -> None:
        """Read the configuration; a broken one is refused and changes nothing."""
        if "identity_config" in updated:
            self.use(_build, "identity_config")

    @command.command("doorward.identity")  # type: ignore[untyped-decorator]  # mitmproxy's
    def identity(self, flows: Sequence[mitmflow.Flow]) -> Sequence[str]:
        """Say whom each flow was taken for."""
        said: list[str] = []
        for flow in flows:
            verdict = verdict_of(flow) if isinstance(flow, http.HTTPFlow) else None
            note = verdict.note if verdict is not None else None
            said.append((note.user if note is not None else None) or "nobody")
        return said


def _build() -> PassingGate:
    gate = build_gate(Path(ctx.options.identity_config), os.environ)
    known = gate.application
    if not isinstance(known, GateApplication):
        raise TypeError("not a gate")
    runtime = open_runtime(known.runtime)
    application = PassingApplication(runtime, known.state, known.runner, known.observer)
    return PassingGate(application, runtime.limits, host_matcher(runtime), upstreams=upstreams_of(runtime))


addons: list[object] = [IdentityHeaders()]
