"""The supervisor of several workers: starts them, restarts those that end, speaks for all.

Holds no session and no secret beyond the configuration's text: shared results pass through sealed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING, Final

from sidecar.engines import express
from sidecar.engines.express.listening import open_sockets
from sidecar.observe import merge_snapshots
from sidecar.observe.logs import build_event_log
from sidecar.supervisor.admin import AdminApplication
from sidecar.supervisor.channel import open_channel
from sidecar.supervisor.exchange import Exchange
from sidecar.supervisor.extauthz import grpc_address, tell_grpc
from sidecar.supervisor.serving import build_surroundings
from sidecar.supervisor.single import wait_for_signal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sidecar.core.runtime import Runtime
    from sidecar.observe import Snapshot
    from sidecar.supervisor.channel import Channel, Message

__all__ = ["Supervisor"]

_SHARED_GAUGES: Final = ("revocations", "revocation_floor")  # of a list that every worker has whole
_STATE_SECONDS: Final = 2.0  # a worker that does not tell its state within it is left out of a scrape
_RESTART_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)  # pauses between restarts of workers that end at once
# -P: nothing is imported from the working directory, which may be the application's.
_WORKER: Final = (sys.executable, "-P", "-m", "sidecar.supervisor.worker")
_STEADY_SECONDS: Final = 10.0  # a worker that lived as long starts the row of pauses anew


class _Worker:
    """A worker process and its channel."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.is_listening = False
        self.not_ready: list[str] = ["starting"]
        self.asked: dict[int, asyncio.Future[Message]] = {}


class Supervisor:
    """Runs `runtime.workers` workers from the configuration's text."""

    def __init__(self, runtime: Runtime, text: str, path: Path) -> None:
        self._runtime = runtime
        self._start: Message = {"op": "start", "text": text, "path": str(path)}
        self._surroundings = build_surroundings()
        self._exchange = Exchange(self._surroundings.clock)
        self._workers: dict[int, _Worker] = {}
        self._next = 0
        self._restarts = 0
        self._draining = asyncio.Event()
        self._shared: socket.socket | None = None
        self._all_listening = asyncio.Event()
        self._failed_start = asyncio.Event()
        self.events = build_event_log(
            sys.stderr, self._surroundings.clock, style=runtime.log_format, level=runtime.log_level
        )

    async def run(self) -> int:
        """Serve until a signal says to stop; return the exit code."""
        self._claim_address()
        admin = await self._open_admin()
        keepers = [asyncio.create_task(self._keep_worker()) for _ in range(self._runtime.workers)]
        stop = asyncio.create_task(wait_for_signal(asyncio.current_task()))
        failed = asyncio.create_task(self._failed_start.wait())
        # A keeper that ends by itself met a defect of ours: stop, and let it be seen below.
        await asyncio.wait({stop, failed, *keepers}, return_when=asyncio.FIRST_COMPLETED)
        self._draining.set()
        if self._shared is not None:
            self._shared.close()  # else who connects from now on would wait for an accept that never comes
        self.events.info("draining", seconds=self._runtime.limits.drain_seconds)
        for worker in self._workers.values():
            worker.channel.send({"op": "drain"})
        await asyncio.wait(keepers, timeout=self._runtime.limits.drain_seconds + 5.0)
        for task in (*keepers, stop, failed):
            task.cancel()
        await asyncio.gather(stop, failed, return_exceptions=True)
        for result in await asyncio.gather(*keepers, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        if admin is not None:
            admin.close()
        self.events.info("stopped")
        return 1 if self._failed_start.is_set() else 0

    def _claim_address(self) -> None:
        """Find out before any worker starts whether the addresses can be had. Raises OSError.

        With SO_REUSEPORT a second installation of the same user would silently share our port, and half of
        the connections would be its own: only a listener without that option notices the first one. A unix
        socket is not shared in that way: its one listening socket is passed on to each worker.
        """
        sockets = open_sockets(self._runtime.listen, reuse_port=False)
        if self._runtime.listen.startswith("unix:"):
            self._shared = sockets[0]
            self._start["fd"] = self._shared.fileno()
        else:
            for sock in sockets:
                sock.close()
        if (grpc := grpc_address(self._runtime)) is not None:
            for sock in open_sockets(grpc, reuse_port=False):
                sock.close()

    async def _open_admin(self) -> express.ExpressServer | None:
        if self._runtime.admin is None:
            return None
        application = AdminApplication(self.not_ready, self.snapshot, self._runtime.sites[0])
        return await express.serve(application, self._runtime.admin, self._runtime.limits)

    async def _keep_worker(self) -> None:
        """Start a worker, and another when it ends, with growing pauses while none lives long."""
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._draining.is_set():
            started = loop.time()
            code = await self._run_worker()
            if self._draining.is_set():
                return
            if not self._all_listening.is_set():
                # The first start: what keeps one worker from listening keeps all from it (a port in use).
                self.events.error("worker_did_not_start", exit_code=code)
                self._failed_start.set()
                return
            self._restarts += 1
            failures = 0 if loop.time() - started > _STEADY_SECONDS else failures + 1
            pause = _RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)]
            self.events.error("worker_ended", exit_code=code, restart_in_seconds=pause)
            await asyncio.sleep(pause)

    async def _run_worker(self) -> int:
        ours, theirs = socket.socketpair()
        passed = [theirs.fileno()] if self._shared is None else [theirs.fileno(), self._shared.fileno()]
        process = await asyncio.create_subprocess_exec(
            *_WORKER, str(theirs.fileno()),
            pass_fds=passed, stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        number = self._next
        self._next += 1
        worker = _Worker(process, await open_channel(ours))
        self._workers[number] = worker
        worker.channel.send(self._start)
        try:
            await self._talk(number, worker)
            return await process.wait()
        except asyncio.CancelledError:
            # The drain took too long, or somebody interrupted it: nobody would be left to end this one.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise

    async def _talk(self, number: int, worker: _Worker) -> None:
        try:
            await self._converse(number, worker)
        finally:
            del self._workers[number]
            self._deliver(self._exchange.left(number))
            worker.channel.close()
            for future in worker.asked.values():
                future.cancel()

    async def _converse(self, number: int, worker: _Worker) -> None:
        while (message := await worker.channel.receive()) is not None:
            match message["op"]:
                case "hello":
                    self._deliver(self._exchange.joined(number))
                case "listening":
                    worker.is_listening = True
                    self._note_listening()
                case "ready":
                    worker.not_ready = []
                case "state":
                    future = worker.asked.pop(message["n"], None)
                    if future is not None and not future.done():
                        future.set_result(message)
                case _:
                    self._deliver(self._exchange.told(number, message))

    def _note_listening(self) -> None:
        listening = sum(worker.is_listening for worker in self._workers.values())
        if listening == self._runtime.workers and not self._all_listening.is_set():
            self._all_listening.set()
            runtime = self._runtime
            self.events.info(
                "listening",
                listen=runtime.listen,
                admin=runtime.admin,
                workers=listening,
                engine="express",
                **tell_grpc(runtime),
            )

    def _deliver(self, outgoing: Iterable[tuple[int, Message]]) -> None:
        for number, message in outgoing:
            worker = self._workers.get(number)
            if worker is not None:
                worker.channel.send(message)

    async def _ask_state(self, number: int, worker: _Worker) -> Snapshot | None:
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        n = self._next
        self._next += 1
        worker.asked[n] = future
        worker.channel.send({"op": "state", "n": n})
        try:
            answer = await asyncio.wait_for(future, _STATE_SECONDS)
        except TimeoutError:
            worker.asked.pop(n, None)
            self.events.warning("worker_silent", worker=number)
            return None
        snapshot: Snapshot = answer["snapshot"]
        return snapshot

    async def snapshot(self) -> Snapshot:
        """Add the workers' metrics up."""
        asked = await asyncio.gather(
            *(self._ask_state(n, w) for n, w in list(self._workers.items()) if w.is_listening)
        )
        snapshots = [snapshot for snapshot in asked if snapshot is not None]
        total = merge_snapshots(snapshots)
        for gauge in _SHARED_GAUGES if snapshots else ():
            total["gauges"][gauge] = max(snapshot["gauges"][gauge] for snapshot in snapshots)
        total["gauges"]["worker_restarts"] = float(self._restarts)
        total["gauges"]["ready"] = float(not self.not_ready())
        return total

    def not_ready(self) -> list[str]:
        """Return what readiness waits for: every worker must listen and be ready once."""
        if self._draining.is_set():
            return ["draining"]
        listening = [w for w in self._workers.values() if w.is_listening]
        if len(listening) < self._runtime.workers and not self._all_listening.is_set():
            return [f"workers: {len(listening)} of {self._runtime.workers} listen"]
        if not listening:
            return ["workers: none listens"]
        return sorted({reason for w in listening for reason in w.not_ready})
