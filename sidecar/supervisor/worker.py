"""One worker of several: `python -m sidecar.supervisor.worker FD`, started by the supervisor only.

The configuration's text comes over the channel, so that a worker that is started anew serves what its
siblings serve, whatever has become of the file.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.supervisor.apart import compile_apart
from sidecar.supervisor.channel import open_channel
from sidecar.supervisor.remote import RemoteCoordinator
from sidecar.supervisor.serving import Serving, build_state, build_surroundings, settle

if TYPE_CHECKING:
    from sidecar.supervisor.channel import Channel

__all__ = ["main"]


async def _serve(channel: Channel) -> None:
    start = await channel.receive()
    if start is None:
        return
    runtime = compile_apart(start["text"], Path(start["path"]), os.environ)
    state = build_state(build_surroundings(), runtime.limits.session_memory_bytes)
    coordinator = RemoteCoordinator(channel, state)
    serving = Serving(runtime, state, coordinator)
    channel.send({"op": "hello"})
    is_listening = False
    # A worker listens only after the welcome: it must know what is revoked before its first request.
    while (message := await channel.receive()) is not None:
        if coordinator.told(message):
            if not is_listening and message["op"] == "welcome":
                shared = socket.socket(fileno=start["fd"]) if "fd" in start else None
                await serving.start(reuse_port=shared is None, sock=shared)
                is_listening = True
                channel.send({"op": "listening"})
                settle()
                serving.when_ready(lambda: channel.send({"op": "ready"}))
        elif message["op"] == "state":
            channel.send({"op": "state", "n": message["n"], "snapshot": serving.snapshot()})
        elif message["op"] == "drain":
            break
        else:
            raise ValueError(f"the supervisor sent the unknown operation {message['op']!r}")
    listener = asyncio.get_running_loop().create_task(_keep_listening(channel, coordinator))
    await serving.drain()
    listener.cancel()


async def _keep_listening(channel: Channel, coordinator: RemoteCoordinator) -> None:
    """Go on hearing of revocations and results while answers under way end."""
    while (message := await channel.receive()) is not None:
        coordinator.told(message)


def main() -> int:
    """Serve until the supervisor says to drain, or is gone."""
    import signal

    import uvloop

    # Ctrl-C reaches the whole process group: the supervisor decides what follows from it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=int(sys.argv[1]))

    async def run() -> None:
        channel = await open_channel(sock)
        await _serve(channel)
        channel.close()

    uvloop.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
