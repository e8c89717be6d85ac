"""Answers of ours in a stream of mitmproxy's: at once, and whatever has come of the body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy import flow as mitmflow
from mitmproxy.http import Response
from mitmproxy.proxy.layers.http import DropStream, HttpLayer, HttpStream, SendHttp, is_h3_alpn
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook, HttpResponseHook
from mitmproxy.proxy.utils import ReceiveBuffer

from addons.http1 import BodyUnwanted
from addons.orders import LayerSettings
from addons.verdicts import Phase, Verdict

if TYPE_CHECKING:
    from mitmproxy.connection import Server
    from mitmproxy.proxy import commands, events, layer
    from mitmproxy.proxy.context import Context

__all__ = ["AnsweringStream"]


class AnsweringStream(HttpStream):
    """What a stream needs to answer, and to be done with its upstream. Base of `streams.GatedStream`."""

    verdict: Verdict

    def __init__(self, context: Context, stream_id: int, settings: LayerSettings) -> None:
        super().__init__(context, stream_id)
        self._settings = settings
        self._has_begun = False
        self._streams_body = False
        self._is_reused = False
        self._has_asked_again = False
        self._wakeup: commands.RequestWakeup | None = None

    def answer(self, *, is_complete: bool) -> layer.CommandGenerator[None]:
        """Send our answer now, whatever has come of the body; an undecided flow gets a bare 500."""
        flow, verdict = self.flow, self.verdict
        is_complete = is_complete or any(isinstance(e, RequestEndOfMessage) for e in self._paused_event_queue)
        self.request_body_buf = ReceiveBuffer()
        self.client_state = self.server_state = self.state_drop
        if verdict.phase is not Phase.ANSWER or flow.response is None:
            flow.response = _bare_refusal()
        response = flow.response
        if not is_complete and not (flow.request.is_http2 or flow.request.is_http3):
            response.headers["Connection"] = "close"
        self._has_begun = True
        yield HttpResponseHook(flow)
        content = response.raw_content or b""
        client = self.context.client
        yield SendHttp(ResponseHeaders(self.stream_id, response, not content), client)
        if content:
            yield SendHttp(ResponseData(self.stream_id, content), client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), client)
        if not is_complete:
            yield from self._refuse_body()
        flow.live = False
        yield DropStream(self.stream_id)

    def _refuse_body(self) -> layer.CommandGenerator[None]:
        if not is_h3_alpn(self.context.client.alpn):
            yield SendHttp(BodyUnwanted(self.stream_id), self.context.client)

    def state_drop(self, _: events.Event) -> layer.CommandGenerator[None]:
        """Drop what still comes of a request that has been answered."""
        yield from ()

    def fail(self, reason: str, status: int, detail: str = "") -> layer.CommandGenerator[None]:
        """Answer that the upstream's answer can't be had."""
        self.verdict.failure = (reason, status)
        self.verdict.phase = Phase.UNDECIDED
        self.flow.error = mitmflow.Error(detail or reason)
        is_complete = self.client_state in {self.state_done, self.state_consume_request_body}
        self.client_state = self.server_state = self.state_drop
        yield HttpErrorHook(self.flow)
        self.flow.error = None
        yield from self.answer(is_complete=is_complete)

    def _drop_upstream(self) -> layer.CommandGenerator[None]:
        """End what this stream has to do with its upstream; the connection is not used again (S53)."""
        server = self.flow.server_conn
        if self._has_connection(server):
            error = RequestProtocolError(self.stream_id, "not wanted", ErrorCode.CANCEL)
            yield SendHttp(error, server)

    def _has_connection(self, server: Server) -> bool:
        parent = self.context.layers[self.context.layers.index(self) - 1]
        return isinstance(parent, HttpLayer) and server in parent.connections


def _bare_refusal() -> Response:
    """Return the answer when even our own way of refusing has failed."""
    return Response.make(
        500,
        b"refused\n",
        {"Content-Type": "text/plain", "Cache-Control": "no-store", "Doorward-Intercepted": "internal_error"},
    )
