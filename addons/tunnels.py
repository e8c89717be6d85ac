"""A WebSocket after its 101: it ends with its lease."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import wsproto.events
import wsproto.utilities
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketLayer
from wsproto.connection import ConnectionState as WebSocketState

from addons.orders import EndNow

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import CommandGenerator

__all__ = ["GatedWebSocket"]

# RFC 6455 §7.4.1
_GOING_AWAY: Final = 1001
_PROTOCOL_ERROR: Final = 1002


class GatedWebSocket(WebsocketLayer):
    """mitmproxy's WebSocket layer, with an end that we can bring about."""

    def relay_messages(self, event: events.Event) -> CommandGenerator[None]:
        """Relay; end where we are told to, or where a peer breaks the protocol."""
        if not isinstance(event, events.DataReceived | events.ConnectionClosed | events.MessageInjected):
            if isinstance(event, EndNow):
                yield from self._close(_GOING_AWAY)
            return
        try:
            yield from super().relay_messages(event)
        except wsproto.utilities.ProtocolError:
            yield from self._close(_PROTOCOL_ERROR)

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
