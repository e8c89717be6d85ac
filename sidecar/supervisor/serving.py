"""The assembly of one serving process: gate, engine, readiness, drain.

Used as it is for one worker, and inside each worker of several.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.core.revocation import RevocationList
from sidecar.core.sessioncache import SessionCache
from sidecar.core.state import State, Surroundings
from sidecar.effects import Runner
from sidecar.engines import express
from sidecar.gateapplication import GateApplication
from sidecar.observe import AccessLog, Meters, Observation
from sidecar.observe.logs import build_event_log
from sidecar.supervisor.extauthz import serve_envoy

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from sidecar.coordination import Coordinator
    from sidecar.core.runtime import Provider, Runtime
    from sidecar.engines.extauthz import ExtAuthzServer
    from sidecar.observe import Snapshot
    from sidecar.observe.logs import EventLog

__all__ = ["Engine", "Serving", "build_state", "build_surroundings", "settle"]

_SESSION_MEMORY_BYTES: Final = 64 << 20


def build_surroundings() -> Surroundings:
    """Return the real clock and the operating system's randomness."""
    return Surroundings(clock=time.time, entropy=os.urandom)


def build_state(surroundings: Surroundings, session_memory_bytes: int = _SESSION_MEMORY_BYTES) -> State:
    """Return the empty memory of a process; opened sessions take up to about `session_memory_bytes`."""
    return State(
        surroundings=surroundings,
        sessions=SessionCache(session_memory_bytes),
        revocations=RevocationList(),
    )


class Engine(Protocol):
    """What is used of a running engine."""

    @property
    def address(self) -> str:
        """Return the first address."""

    async def drain(self, seconds: float) -> None:
        """Stop accepting, let what runs end within `seconds`, then close what is left."""

    def close(self) -> None:
        """End everything at once."""


def settle() -> None:
    """Take what start-up has made out of the garbage collector's sight.

    Code and configuration live as long as the process. Looking through them takes 80 ms, and would come
    with every collection of what has become old, in the middle of requests.
    """
    gc.collect()
    gc.freeze()


class Serving:
    """Serves one runtime on its public listener until told to drain."""

    def __init__(
        self,
        runtime: Runtime,
        state: State,
        coordinator: Coordinator,
        *,
        write_access: Callable[[bytes], object] | None = None,
        event_log: EventLog | None = None,
    ) -> None:
        clock = state.surroundings.clock
        self.runtime = runtime
        self.state = state
        self.meters = Meters()
        self.events = event_log or build_event_log(
            sys.stderr, clock, style=runtime.log_format, level=runtime.log_level
        )
        self._loop = asyncio.get_running_loop()
        access = None
        if runtime.access_log:
            access = AccessLog(
                write_access or self._write_access, self._loop.call_later, clock, style=runtime.log_format
            )
        self.observation = Observation(self.meters, self.events, access)
        self.runner = Runner(coordinator, {}, state.surroundings, self.observation)
        self.application = GateApplication(runtime, state, self.runner, self.observation, coordinator.touched)
        self.server: Engine | None = None
        self.authorizer: ExtAuthzServer | None = None
        self._preparing: list[asyncio.Task[None]] = []
        self._is_draining = False

    def _write_access(self, lines: bytes) -> None:
        """Write to standard output. Whoever reads it may be gone: that must not end what is served."""
        try:
            os.write(sys.stdout.fileno(), lines)
        except OSError:
            self.meters.access_lines_lost += lines.count(b"\n")

    async def start(self, *, reuse_port: bool = False, sock: socket.socket | None = None) -> None:
        """Listen (on `sock` where it is given), and begin to load what each provider tells of itself.

        `reuse_port` is the public listener's; Envoy's is shared whenever there are several workers.

        Raises OSError when the address can't be had.
        """
        if self.runtime.engine == "interception":
            from sidecar.supervisor.interception import (
                intercept,
            )  # mitmproxy is large, and only this needs it

            self.server = await intercept(self.application, self.runtime)
        else:
            self.server = await express.serve(
                self.application,
                self.runtime.listen,
                self.runtime.limits,
                tls=self.runtime.tls,
                reuse_port=reuse_port,
                sock=sock,
            )
        self.authorizer = await serve_envoy(self.application, self.runtime)
        self._preparing = [
            self._loop.create_task(self.runner.prepare(provider), name=f"prepare {provider.key}")
            for provider in self._providers()
        ]

    def _providers(self) -> Iterator[Provider]:
        for site in self.runtime.sites:
            yield from site.providers.values()

    def when_ready(self, tell: Callable[[], None]) -> None:
        """Call `tell` once every provider has been reached once."""
        waiting = asyncio.gather(*self._preparing)
        waiting.add_done_callback(lambda done: None if done.cancelled() or done.exception() else tell())

    def not_ready(self) -> list[str]:
        """Return what readiness waits for; once ready, a provider never makes us unready (S70)."""
        if self._is_draining:
            return ["draining"]
        return [f"provider {p.key}" for p in self._providers() if not self.runner.is_ready(p)]

    def snapshot(self) -> Snapshot:
        """Return this process's metrics; revocations that are over are forgotten on this occasion."""
        self.state.revocations.sweep(self.state.surroundings.clock())
        self.meters.gauges.update(
            revocations=float(len(self.state.revocations)),
            revocation_floor=self.state.revocations.floor,
            access_lines_lost=float(self.meters.access_lines_lost),
            sessions_cached=float(len(self.state.sessions)),
            sessions_cached_bytes=float(self.state.sessions.bytes_used),
            ready=float(not self.not_ready()),
            workers=1.0,
        )
        return self.meters.snapshot()

    async def drain(self) -> None:
        """Stop accepting, let what runs end within the deadline, close everything."""
        self._is_draining = True
        for task in self._preparing:
            task.cancel()
        await asyncio.gather(*self._preparing, return_exceptions=True)
        seconds = self.runtime.limits.drain_seconds
        draining = [part.drain(seconds) for part in (self.server, self.authorizer) if part is not None]
        await asyncio.gather(*draining)
        if self.server is not None:
            self.server.close()
        await self.runner.close()
        if self.observation.access is not None:
            self.observation.access.flush()
