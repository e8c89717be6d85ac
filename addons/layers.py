"""mitmproxy's HTTP layer with our streams, our HTTP/1 and our way to end what is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from h2.errors import ErrorCodes
from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    HttpLayer,
    HTTPMode,
    RegisterHttpConnection,
    is_h3_alpn,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client
from mitmproxy.proxy.layers.http._http2 import Http2Server

from addons.destinations import destination_of
from addons.http1 import BodyUnwanted, StrictHttp1Client, StrictHttp1Server
from addons.orders import EndNow, LayerSettings, Tick
from addons.streams import GatedStream
from addons.translation import peer_of

if TYPE_CHECKING:
    from mitmproxy.connection import Connection
    from mitmproxy.proxy.context import Context

__all__ = ["GatedHttpLayer"]

_TICK_SECONDS: Final = 1.0


class _GatedHttp2Server(Http2Server):
    """HTTP/2 on the client's side; an unwanted body is refused without making the answer an error."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, BodyUnwanted):
            yield from super()._handle_event(event)
        elif not self.is_closed(event.stream_id) and event.stream_id not in self.h2_conn.stream_buffers:
            # RFC 9113 §8.1: a server that has answered may ask the client to stop without an error.
            self.h2_conn.reset_stream(event.stream_id, ErrorCodes.NO_ERROR)
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())


def _is_over(connection: Connection) -> bool:
    """Tell whether nothing more will be heard of a connection to an upstream."""
    if not isinstance(connection, Server) or destination_of(connection) is None or connection.connected:
        return False
    was_never_open = bool(connection.error) and connection.timestamp_tcp_setup is None
    return was_never_open or connection.timestamp_end is not None


class GatedHttpLayer(HttpLayer):
    """mitmproxy's HTTP layer with our streams and our HTTP/1."""

    def __init__(self, context: Context, mode: HTTPMode, settings: LayerSettings) -> None:
        super().__init__(context, mode)
        self._settings = settings
        self._idle_since = settings.clock()

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            self._take_client()
        elif isinstance(event, EndNow):
            yield from self._end(event)
            return
        elif isinstance(event, Tick):
            yield from self._tick(event)
            return
        yield from super()._handle_event(event)

    def _take_client(self) -> None:
        client = self.context.client
        if client.alpn == b"h2":
            self.connections.setdefault(client, _GatedHttp2Server(self.context.fork()))
        elif not is_h3_alpn(client.alpn):
            settings = self._settings
            peer = peer_of(client)
            self.connections.setdefault(
                client,
                StrictHttp1Server(
                    self.context.fork(), settings.limits, lambda refusal: settings.malformed(refusal, peer)
                ),
            )

    def _end(self, event: EndNow) -> layer.CommandGenerator[None]:
        """Find the stream, here or in a layer that a tunnel of ours leads to."""
        for stream in tuple(self.streams.values()):
            is_its_own = getattr(stream, "flow", None) is event.flow
            if is_its_own or stream.child_layer is not None:
                yield from self.event_to_child(stream, event)

    def _tick(self, event: Tick) -> layer.CommandGenerator[None]:
        """End a connection on which nothing happens, or whose head drips (S56)."""
        for stream in tuple(self.streams.values()):
            if stream.child_layer is not None:
                yield from self.event_to_child(stream, event)
        limits = self._settings.limits
        client = self.connections.get(self.context.client)
        if self.streams or client is None:
            self._idle_since = event.now
            return
        yield from self._let_go(event.now - self._idle_since)
        if isinstance(client, StrictHttp1Server) and client.is_reading_head:
            if event.now - client.head_since > limits.head_seconds:
                yield from client.time_out()
        elif event.now - self._idle_since > limits.idle_seconds:
            yield commands.CloseConnection(self.context.client)

    def _let_go(self, idle_seconds: float) -> layer.CommandGenerator[None]:
        """Close idle connections to upstreams before these do, so that no request meets a dying one."""
        for connection in tuple(self.connections):
            destination = destination_of(connection)
            if destination is None or not connection.connected:
                continue
            if idle_seconds + _TICK_SECONDS >= destination.upstream.keepalive_seconds:
                yield commands.CloseConnection(connection)

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> layer.CommandGenerator[None]:
        """Find a connection, or open one; those that are over are forgotten, which mitmproxy never does."""
        if len(self.streams) <= 1:
            for connection in tuple(self.connections):
                if _is_over(connection) and connection not in self.waiting_for_establishment:
                    del self.connections[connection]
        yield from super().get_connection(event, reuse=reuse)

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        """Make a stream of ours."""
        self._idle_since = self._settings.clock()
        stream = GatedStream(self.context.fork(), stream_id, self._settings)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def register_connection(self, command: RegisterHttpConnection) -> layer.CommandGenerator[None]:
        """Make the upstream's HTTP/1 ours before anything is sent on it."""
        child: object = self.connections[command.connection]
        while child is not None and not isinstance(child, Http1Client):
            child = getattr(child, "child_layer", None)
        if isinstance(child, Http1Client):
            StrictHttp1Client.take_over(child)
        yield from super().register_connection(command)
