"""A gate for an addon that is loaded by hand: a whole process's parts, made of a configuration file."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from addons.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sidecar.core.runtime import Runtime, Upstream

__all__ = ["build_gate", "host_matcher", "upstreams_of"]

_DEFAULT_PORTS = (":443", ":80")


def build_gate(path: Path, environment: Mapping[str, str]) -> Gate:
    """Return a gate for the file at `path`. Raises ConfigurationError: the operator's fault."""
    from sidecar.config import load
    from sidecar.coordination import LocalCoordinator
    from sidecar.core.revocation import RevocationList
    from sidecar.core.sessioncache import SessionCache
    from sidecar.core.state import State, Surroundings
    from sidecar.effects import Runner
    from sidecar.gateapplication import GateApplication
    from sidecar.observe import Meters, Observation
    from sidecar.observe.logs import build_event_log

    runtime = load(path, environment)
    surroundings = Surroundings(clock=time.time, entropy=os.urandom)
    state = State(surroundings=surroundings, sessions=SessionCache(), revocations=RevocationList())
    coordinator = LocalCoordinator(state.revocations.add, surroundings.clock)
    events = build_event_log(sys.stderr, surroundings.clock, style="console", level=runtime.log_level)
    observation = Observation(Meters(), events, None)
    runner = Runner(coordinator, {}, surroundings, observation)
    application = GateApplication(runtime, state, runner, observation, coordinator.touched)
    return Gate(application, runtime.limits, host_matcher(runtime), upstreams=upstreams_of(runtime))


def host_matcher(runtime: Runtime) -> Callable[[str], bool]:
    """Return what tells whether a host, with or without a default port, is one of the sites'.

    So is one with the root's dot behind it: to a resolver it is the same name, and the gate refuses it.
    """
    hosts = frozenset(host for site in runtime.sites for host in site.hosts)

    def is_ours(named: str) -> bool:
        name, colon, number = named.lower().partition(":")
        host = named.lower() if named.startswith("[") else f"{name.removesuffix('.')}{colon}{number}"
        for port in _DEFAULT_PORTS:
            if host.endswith(port):
                return host in hosts or host.removesuffix(port) in hosts
        return host in hosts

    return is_ours


def upstreams_of(runtime: Runtime) -> tuple[Upstream, ...]:
    """Return each upstream of the sites."""
    return tuple({route.upstream: None for site in runtime.sites for route in site.routes})
