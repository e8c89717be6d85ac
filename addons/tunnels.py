"""A WebSocket after its 101: it keeps no messages, and ends with its lease."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import wsproto.events
import wsproto.utilities
from mitmproxy import ctx
from mitmproxy.addonmanager import traverse
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketLayer, WebsocketMessageHook
from wsproto.connection import ConnectionState as WebSocketState

from addons.orders import EndNow

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator

    from addons.verdicts import Verdict

__all__ = ["GatedWebSocket"]

# RFC 6455 §7.4.1
_GOING_AWAY: Final = 1001
_PROTOCOL_ERROR: Final = 1002


class GatedWebSocket(WebsocketLayer):
    """mitmproxy's WebSocket layer, with an end that we can bring about.

    A message that no addon looks at costs no hook, which is most of what it costs.
    """

    def __init__(self, context: Context, flow: HTTPFlow, verdict: Verdict) -> None:
        super().__init__(context, flow)
        self._verdict = verdict
        self._is_watched = _is_watched()

    def relay_messages(self, event: events.Event) -> CommandGenerator[None]:
        """Relay; end where we are told to, or where a peer breaks the protocol."""
        if not isinstance(event, events.DataReceived | events.ConnectionClosed | events.MessageInjected):
            if isinstance(event, EndNow):
                yield from self._close(_GOING_AWAY)
            return
        try:
            for command in super().relay_messages(event):
                if not isinstance(command, WebsocketMessageHook):
                    yield command
                    continue
                if self._is_watched:
                    yield command
                self._forget_messages()
        except wsproto.utilities.ProtocolError:
            yield from self._close(_PROTOCOL_ERROR)

    def _forget_messages(self) -> None:
        """Keep nothing but the last message, which may still be on its way; note activity."""
        websocket = self.flow.websocket
        if websocket is not None:
            del websocket.messages[:-1]
        self._verdict.is_active = True

    def done(self, _: events.Event) -> CommandGenerator[None]:
        """Drop what still comes."""
        yield from ()

    def _close(self, code: int) -> CommandGenerator[None]:
        """Tell both sides to go, and close."""
        websocket = self.flow.websocket
        if websocket is not None:
            websocket.timestamp_end = time.time()
            websocket.close_code = code
            websocket.closed_by_client = None
        for side in (self.client_ws, self.server_ws):
            if side.state is WebSocketState.OPEN and side.conn.state & ConnectionState.CAN_WRITE:
                yield side.send2(wsproto.events.CloseConnection(code=code))
            yield commands.CloseConnection(side.conn)
        self._handle_event = self.done
        yield WebsocketEndHook(self.flow)
        self.flow.live = False


def _is_watched() -> bool:
    """Tell whether an addon looks at messages as they come: mitmdump's output, mitmweb's view."""
    return any(
        hasattr(addon, "websocket_message") or hasattr(addon, "update")
        for addon in traverse(ctx.master.addons.chain)
    )
