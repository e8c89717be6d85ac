"""`workers: 1`: one process that serves and has the admin listener itself."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from sidecar.coordination import LocalCoordinator
from sidecar.engines import express
from sidecar.supervisor.admin import AdminApplication
from sidecar.supervisor.extauthz import tell_grpc
from sidecar.supervisor.serving import Serving, build_state, build_surroundings, settle

if TYPE_CHECKING:
    from sidecar.core.runtime import Runtime
    from sidecar.observe import Snapshot

__all__ = ["serve_alone", "wait_for_signal"]


async def wait_for_signal(serving: asyncio.Task[object] | None) -> None:
    """Return at the first SIGTERM or SIGINT; a second SIGINT then cancels `serving`, and with it the drain.

    Cancelled in its own turn: a KeyboardInterrupt would be raised in whatever callback happens to run.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    if serving is not None:
        loop.add_signal_handler(signal.SIGINT, serving.cancel)


def _engine(runtime: Runtime) -> dict[str, str]:
    """Say which engine runs, and why; and where Envoy asks."""
    told = tell_grpc(runtime)
    if runtime.engine == "express":
        return {"engine": "express", **told}
    return {"engine": "interception", "mode": runtime.mode, "why": "engine: interception", **told}


async def serve_alone(runtime: Runtime) -> None:
    """Serve until a signal says to stop, then drain. Raises OSError when an address can't be had."""
    state = build_state(build_surroundings(), runtime.limits.session_memory_bytes)
    coordinator = LocalCoordinator(state.revocations.add, state.surroundings.clock)
    serving = Serving(runtime, state, coordinator)
    await serving.start()
    admin = None
    if runtime.admin is not None:

        async def snapshot() -> Snapshot:
            return serving.snapshot()

        application = AdminApplication(serving.not_ready, snapshot, runtime.sites[0])
        admin = await express.serve(application, runtime.admin, runtime.limits)
    serving.events.info(
        "listening", listen=runtime.listen, admin=runtime.admin, workers=1, **_engine(runtime)
    )
    settle()
    await wait_for_signal(asyncio.current_task())
    serving.events.info("draining", seconds=runtime.limits.drain_seconds)
    await serving.drain()
    if admin is not None:
        await admin.drain(1.0)
        admin.close()
    serving.events.info("stopped")
