"""The interception engine for a runtime: which hosts it gates, where its keys are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from addons.standing import host_matcher, upstreams_of
from sidecar.engines import mitm

if TYPE_CHECKING:
    from sidecar.application import Application
    from sidecar.core.runtime import Runtime

__all__ = ["host_patterns", "intercept"]


async def intercept(application: Application, runtime: Runtime) -> mitm.MitmServer:
    """Serve `application` by mitmproxy as the runtime says. Raises OSError when the address can't be had."""
    folder = runtime.authority_folder
    return await mitm.serve(
        application,
        runtime.listen,
        runtime.limits,
        mode=runtime.mode,
        tls=runtime.tls,
        keys=None if folder is None else Path(folder),
        is_ours=host_matcher(runtime),
        upstreams=upstreams_of(runtime),
        hosts=() if runtime.mode in {"reverse", "transparent"} else host_patterns(runtime),
    )


def host_patterns(runtime: Runtime) -> list[str]:
    """Return patterns of "host:port" that match the sites' hosts and nothing else."""
    patterns: list[str] = []
    for site in runtime.sites:
        for host in sorted(site.hosts):
            has_port = re.search(r":[0-9]+$", host) is not None
            patterns.append(f"^{re.escape(host)}{'' if has_port else ':(80|443)'}$")
    return patterns
