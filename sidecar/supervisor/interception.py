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
    """Return patterns of "host:port" for the sites' hosts, with the root's dot too, and nothing else."""
    patterns: list[str] = []
    for site in runtime.sites:
        for host in sorted(site.hosts):
            port = re.search(r":[0-9]+$", host)
            name = host if port is None else host[: port.start()]
            patterns.append(rf"^{re.escape(name)}\.?{':(80|443)' if port is None else port[0]}$")
    return patterns
