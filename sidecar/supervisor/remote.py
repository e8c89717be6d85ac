"""The Coordinator inside a worker: asks the supervisor over the channel."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from sidecar.core import errors
from sidecar.core.errors import PeerError, SurroundingsError
from sidecar.supervisor.channel import decode_bytes, encode_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.core.state import State
    from sidecar.supervisor.channel import Channel, Message

__all__ = ["RemoteCoordinator"]

_TOUCH_SECONDS: Final = 5.0
_MAX_TOLD: Final = 10_000


class RemoteCoordinator:
    """Implements `sidecar.coordination.Coordinator` for one worker of several."""

    def __init__(self, channel: Channel, state: State) -> None:
        self._channel = channel
        self._revocations = state.revocations
        self._sessions = state.sessions
        self._told_of: OrderedDict[str, float] = OrderedDict()
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._next = 0
        self._working: set[asyncio.Task[bytes]] = set()

    def told(self, message: Message) -> bool:
        """Take a message of the supervisor; return False when it is not for us."""
        match message["op"]:
            case "welcome":
                for session_id, until in message["revoked"]:
                    self._revocations.add(session_id, until)
                self._revocations.raise_floor(message["floor"])
            case "revoke":
                self._revocations.add(message["id"], message["until"])
                self._channel.send({"op": "acked", "n": message["n"]})
            case "touched":
                self._sessions.touch(message["id"], message["at"])
            case "ack" | "claimed" | "run" | "result":
                future = self._asked.pop(message["n"], None)
                if future is not None and not future.done():
                    future.set_result(message)
            case _:
                return False
        return True

    async def revoke(self, session_id: str, until: float) -> None:
        """Revoke here at once and everywhere before this returns."""
        self._revocations.add(session_id, until)
        await self._ask({"op": "revoke", "id": session_id, "until": until})

    def touched(self, session_id: str, at: float) -> None:
        """Tell the other workers, at most once in a while for each session."""
        if at - self._told_of.get(session_id, 0.0) < _TOUCH_SECONDS:
            return
        self._told_of[session_id] = at
        self._told_of.move_to_end(session_id)
        while len(self._told_of) > _MAX_TOLD:
            self._told_of.popitem(last=False)
        self._channel.send({"op": "touched", "id": session_id, "at": at})

    async def claim(self, key: bytes, until: float) -> bool:
        """Ask whether we are the first to claim `key`."""
        answer = await self._ask({"op": "claim", "key": encode_bytes(key), "until": until})
        return bool(answer["is_first"])

    async def once(self, key: bytes, work: Callable[[], Awaitable[bytes]], keep_seconds: float) -> bytes:
        """Do the work, or get its result from whoever does it. Our own cancellation does not end it."""
        task = asyncio.get_running_loop().create_task(self._once(encode_bytes(key), work, keep_seconds))
        self._working.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[bytes]) -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: whoever asked may have hung up

    async def _once(self, key: str, work: Callable[[], Awaitable[bytes]], keep_seconds: float) -> bytes:
        answer = await self._ask({"op": "once", "key": key, "keep": keep_seconds})
        if answer["op"] == "result":
            return _result(answer)
        try:
            value = await work()
        except (PeerError, SurroundingsError) as error:
            facts = {"kind": type(error).__name__, "code": error.code, "detail": error.detail}
            self._channel.send({"op": "done", "key": key, "error": facts})
            raise
        except BaseException:
            facts = {"kind": "ProviderUnavailable", "code": "work_broke_off", "detail": ""}
            self._channel.send({"op": "done", "key": key, "error": facts})
            raise
        self._channel.send({"op": "done", "key": key, "value": encode_bytes(value)})
        return value

    async def _ask(self, message: Message) -> Message:
        n = self._next
        self._next += 1
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked[n] = future
        self._channel.send({**message, "n": n})
        try:
            return await future
        finally:
            self._asked.pop(n, None)


def _result(answer: Message) -> bytes:
    if "value" in answer:
        return decode_bytes(answer["value"])
    facts = answer["error"]
    kind = getattr(errors, facts["kind"])
    raise kind(facts["code"], facts["detail"])
