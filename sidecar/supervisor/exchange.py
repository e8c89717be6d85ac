"""What workers share, kept by the supervisor: revocations, one-time claims, results of shared work.

Sans-I/O: `Exchange` is told messages of workers and returns messages for them, so that its rules are tested
without a process. Each worker's request carries a number `n`; the answer carries it back.

    worker -> exchange            exchange -> worker
    revoke  n id until            revoke n id until (to all others), ack n once each has acknowledged
    acked   n
    claim   n key until           claimed n is_first
    once    n key keep            run n (this worker is to do the work), or result n value|error
    done    key value|error       result to all who wait
    touched id at                 touched to all others
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar.core.revocation import RevocationList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.supervisor.channel import Message

__all__ = ["Exchange"]

_MAX_CLAIMS: Final = 100_000
_MAX_REVOKED: Final = 100_000
_MAX_RESULT_BYTES: Final = 32 << 20

type Outgoing = tuple[int, Message]
"""Worker number and message."""


@dataclass(slots=True)
class _Work:
    """Work under way: who does it, who waits (worker, n), how long a success is kept."""

    leader: int
    keep_seconds: float
    waiting: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Spread:
    """A revocation on its way: who asked, and which workers have not acknowledged yet."""

    asked_by: int
    n: int
    missing: set[int]


class Exchange:
    """The shared knowledge of all workers. `clock` is seconds since the epoch."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_revoked: int = _MAX_REVOKED,
        max_result_bytes: int = _MAX_RESULT_BYTES,
    ) -> None:
        self._clock = clock
        self._workers: set[int] = set()
        self._revoked = RevocationList(max_revoked)
        self._max_result_bytes = max_result_bytes
        self._result_bytes = 0
        self._claims: OrderedDict[str, float] = OrderedDict()
        self._results: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._work: dict[str, _Work] = {}
        self._spreads: dict[int, _Spread] = {}
        self._next_spread = 0

    def joined(self, worker: int) -> list[Outgoing]:
        """Greet a new worker with everything that is revoked."""
        self._revoked.sweep(self._clock())
        self._workers.add(worker)
        revoked, floor = self._revoked.items(), self._revoked.floor
        return [(worker, {"op": "welcome", "revoked": revoked, "floor": floor})]

    def left(self, worker: int) -> list[Outgoing]:
        """Forget a worker: its work goes to another who waits, its acknowledgements are not waited for."""
        self._workers.discard(worker)
        out: list[Outgoing] = []
        for number in list(self._spreads):
            out += self._acknowledged(worker, number)
        for key, work in list(self._work.items()):
            work.waiting = [(w, n) for w, n in work.waiting if w != worker]
            if work.leader != worker:
                continue
            if work.waiting:
                work.leader, n = work.waiting.pop(0)
                out.append((work.leader, {"op": "run", "n": n}))
            else:
                del self._work[key]
        return out

    def told(self, worker: int, message: Message) -> list[Outgoing]:
        """Take a message of `worker`; return what goes out. An unknown operation is a defect: ValueError."""
        match message["op"]:
            case "revoke":
                return self._revoke(worker, message)
            case "acked":
                return self._acknowledged(worker, message["n"])
            case "claim":
                return [(worker, {"op": "claimed", "n": message["n"], "is_first": self._claim(message)})]
            case "once":
                return self._once(worker, message)
            case "touched":
                return [(other, message) for other in self._workers if other != worker]
            case "done":
                return list(self._done(message))
            case other:
                raise ValueError(f"a worker sent the unknown operation {other!r}")

    def _revoke(self, worker: int, message: Message) -> list[Outgoing]:
        session_id, until = message["id"], message["until"]
        self._revoked.add(session_id, until)
        others = self._workers - {worker}
        if not others:
            return [(worker, {"op": "ack", "n": message["n"]})]
        number = self._next_spread
        self._next_spread += 1
        self._spreads[number] = _Spread(worker, message["n"], set(others))
        return [(other, {"op": "revoke", "n": number, "id": session_id, "until": until}) for other in others]

    def _acknowledged(self, worker: int, number: int) -> list[Outgoing]:
        spread = self._spreads.get(number)
        if spread is None:
            return []
        spread.missing.discard(worker)
        if spread.missing:
            return []
        del self._spreads[number]
        return [(spread.asked_by, {"op": "ack", "n": spread.n})]

    def _claim(self, message: Message) -> bool:
        now = self._clock()
        key = message["key"]
        known = self._claims.get(key)
        if known is not None and known > now:
            return False
        while self._claims and (len(self._claims) >= _MAX_CLAIMS or next(iter(self._claims.values())) <= now):
            self._claims.popitem(last=False)
        self._claims[key] = message["until"]
        self._claims.move_to_end(key)
        return True

    def _once(self, worker: int, message: Message) -> list[Outgoing]:
        key, n = message["key"], message["n"]
        kept = self._results.get(key)
        if kept is not None:
            if kept[0] > self._clock():
                return [(worker, {"op": "result", "n": n, "value": kept[1]})]
            self._forget(key)
        work = self._work.get(key)
        if work is None:
            self._work[key] = _Work(worker, message["keep"])
            return [(worker, {"op": "run", "n": n})]
        work.waiting.append((worker, n))
        return []

    def _done(self, message: Message) -> Iterator[Outgoing]:
        work = self._work.pop(message["key"], None)
        if work is None:
            return
        value = message.get("value")
        if value is not None:
            self._keep(message["key"], value, work.keep_seconds)
        for worker, n in work.waiting:
            answer = {"op": "result", "n": n}
            if value is not None:
                answer["value"] = value
            else:
                answer["error"] = message["error"]
            yield worker, answer

    @property
    def kept_results(self) -> int:
        """Count the results that are kept."""
        return len(self._results)

    def _keep(self, key: str, value: str, seconds: float) -> None:
        """Keep a result; those that are over make room, and the oldest where the bound asks for it."""
        self._forget(key)
        now = self._clock()
        self._results[key] = (now + seconds, value)
        self._result_bytes += len(key) + len(value)
        while self._results:
            oldest, (until, _) = next(iter(self._results.items()))
            if self._result_bytes <= self._max_result_bytes and until > now:
                return
            self._forget(oldest)

    def _forget(self, key: str) -> None:
        kept = self._results.pop(key, None)
        if kept is not None:
            self._result_bytes -= len(key) + len(kept[1])
