"""Which layers a connection gets: ours wherever HTTP is spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy.proxy import commands
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers import ClientQuicLayer, ClientTLSLayer, DNSLayer, HttpLayer, TCPLayer, UDPLayer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.tunnel import LayerStack

from addons.layers import GatedHttpLayer
from addons.orders import LayerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy.proxy import events
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator
    from mitmproxy.proxy.server import ConnectionHandler

__all__ = ["ClosedLayer", "build_server_stack", "gated", "is_early", "is_http"]


def is_early(handler: ConnectionHandler) -> bool:
    """Tell whether a connection has not even come so far that it is known what it speaks."""
    client = handler.client
    if client.tls and not client.tls_established:
        return True
    layers = handler.layer.context.layers
    return not any(isinstance(known, HttpLayer | TCPLayer | UDPLayer | DNSLayer) for known in layers)


def is_http(handler: ConnectionHandler) -> bool:
    """Tell whether a connection is one of our HTTP layer's; others don't know our events."""
    return isinstance(handler.layer.context.layers[-1], GatedHttpLayer)


class ClosedLayer(Layer):
    """Closes the connection, whatever comes."""

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        del event
        yield commands.CloseConnection(self.context.client)


def build_server_stack(context: Context, settings: LayerSettings, *, has_tls: bool) -> Layer:
    """Return the layers of a connection that is for us whatever it says: HTTP and nothing else."""
    stack = LayerStack()
    if context.client.transport_protocol == "udp" and not context.client.tls_established:
        stack /= ClientQuicLayer(context)
    elif has_tls:
        stack /= ClientTLSLayer(context)
    stack /= GatedHttpLayer(context, HTTPMode.transparent, settings)
    return stack[0]


def gated(top: Layer, settings: LayerSettings, is_ours: Callable[[Context], bool]) -> Layer:
    """Return mitmproxy's choice with each HTTP layer replaced by ours.

    Bytes that look like no HTTP would be tunnelled past the gate; to a host of ours they are HTTP.
    """
    context = top.context
    if isinstance(top, HttpLayer):
        return top if isinstance(top, GatedHttpLayer) else _replace(top, top.mode, settings)
    if isinstance(top, TCPLayer) and is_ours(context):
        return _replace(top, HTTPMode.transparent, settings)
    child = getattr(top, "child_layer", None)
    if isinstance(child, HttpLayer | TCPLayer | ClientTLSLayer | ClientQuicLayer):
        top.child_layer = gated(child, settings, is_ours)  # type: ignore[attr-defined]  # it has one
    return top


def _replace(old: Layer, mode: HTTPMode, settings: LayerSettings) -> GatedHttpLayer:
    """Put a layer of ours where `old` stands among the layers of its connection."""
    layers = old.context.layers
    ours = GatedHttpLayer(old.context, mode, settings)
    layers.remove(ours)
    layers[layers.index(old)] = ours
    return ours
