"""What all connections of one listener share."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from sidecar.engines.express.answerhead import AnswerParser
from sidecar.engines.express.knownheads import KnownHeads
from sidecar.engines.express.pool import Pools
from sidecar.engines.express.requesthead import RequestParser
from sidecar.engines.express.wire import build_date

if TYPE_CHECKING:
    from sidecar.application import Application
    from sidecar.core.runtime import Limits
    from sidecar.engines.express.downstream import Downstream
    from sidecar.engines.express.tunnel import Tunnel

__all__ = ["Context"]


class Context:
    """The application, the limits, the pools, the coarse clock and the open connections.

    `clock` tells seconds since the epoch. `now` is the monotonic clock as of the last sweep: good enough for
    time-outs and free to read. `date` is the Date field, made anew by each sweep.
    """

    __slots__ = (
        "_count",
        "_emptied",
        "_prefix",
        "answer_parser",
        "application",
        "clock",
        "date",
        "decide",
        "downstreams",
        "finish",
        "is_draining",
        "known_heads",
        "limits",
        "loop",
        "now",
        "observer",
        "pools",
        "request_done",
        "request_parser",
        "tunnels",
    )

    def __init__(self, application: Application, limits: Limits, clock: Callable[[], float]) -> None:
        """Belong to the running loop."""
        self.application = application
        self.observer = application.observer
        # Bound once: each is called for every request.
        self.decide = application.decide
        self.finish = application.finish
        self.request_done = application.observer.request_done
        self.limits = limits
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time()
        self.date = build_date(clock())
        self.is_draining = False
        self.downstreams: set[Downstream] = set()
        self.tunnels: set[Tunnel] = set()
        self.request_parser = RequestParser(limits)
        self.answer_parser = AnswerParser()
        self.known_heads = KnownHeads()
        self.pools = Pools(self.loop, application.observer)
        # 40 random bits tell workers and restarts apart; the rest counts. An id is a name, not a secret.
        self._prefix = secrets.token_hex(5)
        # Six digits from the first on: whoever searches the log for one id must not find ten others.
        self._count = 0xFFFFF
        self._emptied = asyncio.Event()

    def next_id(self) -> str:
        """Return a request id that no other request has."""
        self._count = count = self._count + 1
        return f"{self._prefix}{count:x}"

    @property
    def connections(self) -> int:
        """Count the open downstream connections, tunnels among them."""
        return len(self.downstreams) + len(self.tunnels)

    def connection_made(self, down: Downstream) -> None:
        """Take a connection in."""
        self.downstreams.add(down)
        self.observer.connection_opened()

    def connection_gone(self) -> None:
        """Note that a connection was taken out of its set."""
        self.observer.connection_closed()
        if self.is_draining and not self.connections:
            self._emptied.set()

    async def wait_empty(self, seconds: float) -> None:
        """Return when no connection is open, or after `seconds`."""
        if self.connections:
            try:
                async with asyncio.timeout(seconds):
                    await self._emptied.wait()
            except TimeoutError:
                return
