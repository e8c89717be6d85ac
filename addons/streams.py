"""The HTTP layers of mitmproxy, with a gate in them that is closed unless a verdict opens it.

Theory of operation. mitmproxy decides nothing and its hooks may fail, so the gate is not the hook but the
layer: a request goes on only when its flow has a settled verdict (`addons.verdicts`), and whatever else comes
out of a hook (an exception, nothing, something half done) is answered 500 here. The layer does too what hooks
can't: it answers before the body has come, without `100 Continue`, and drops or refuses the rest; it streams
both ways from the head on; it lets no interim answer, trailer or second reading through.

Written against mitmproxy 12.2 and later; `tests/engines_mitm` names each behaviour that it relies on.
"""

from __future__ import annotations

from typing import Final

from mitmproxy import flow as mitmflow
from mitmproxy.connection import ConnectionState
from mitmproxy.http import Headers, HTTPFlow, Response
from mitmproxy.net.http import url
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    DropStream,
    HttpLayer,
    HTTPMode,
    SendHttp,
)
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
)
from mitmproxy.proxy.mode_specs import ReverseMode

from addons.answering import AnsweringStream
from addons.bodies import Upload
from addons.destinations import Destination, ToUpstream
from addons.http1 import ClosedUnanswered
from addons.orders import EndNow, Tick
from addons.translation import read_head
from addons.tunnels import GatedWebSocket
from addons.verdicts import Phase, begin
from sidecar.core.errors import BadRequest
from sidecar.core.navigation import SAFE_METHODS

__all__ = ["GatedStream"]

_SWITCHING_PROTOCOLS: Final = 101
# What a trailer must never bring behind the back of what was decided of the head.
_REFUSED_TRAILERS: Final = frozenset(
    {b"set-cookie", b"connection", b"transfer-encoding", b"content-length", b"doorward-intercepted"}
)


class GatedStream(AnsweringStream):
    """One request and its answer. Goes on only as its verdict says."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, EndNow):
            yield from self._end(event)
        elif isinstance(event, events.Wakeup):
            yield from self._read_too_slowly(event)
        else:
            yield from super()._handle_event(event)

    def passthrough(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Pass events to what a tunnel leads to: a WebSocket, HTTP of ours, or bytes that nobody looks into.

        Only the first two know our own events.
        """
        if isinstance(event, EndNow | Tick):
            is_its_own = isinstance(self.child_layer, GatedWebSocket) and self.flow is getattr(
                event, "flow", None
            )
            behind = self.context.layers[self.context.layers.index(self) + 1 :]
            if not is_its_own and not isinstance(behind[-1] if behind else None, HttpLayer):
                return
        yield from super().passthrough(event)

    # The head.

    def state_wait_for_request_headers(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Have the head decided, and carry out what was."""
        if not isinstance(event, RequestHeaders):
            return
        flow = self.flow = event.replay_flow or HTTPFlow(self.context.client, self.context.server)
        flow.request = event.request
        flow.live = True
        if flow.request.method == "CONNECT" and self.mode is HTTPMode.regular:
            if not (yield from self.check_invalid(True)):
                yield from self.handle_connect()
            return
        verdict = self.verdict = begin(flow, self._settings.clock())
        verdict.is_tls = self.context.client.tls_established
        try:
            read_head(verdict, flow.request, self._settings.limits)
        except BadRequest as error:
            verdict.broken = error
        self._find_destination()
        yield HttpRequestHeadersHook(flow)
        if (yield from self.check_killed(True)):
            return
        yield from self._carry_out(is_complete=event.end_stream)

    def _find_destination(self) -> None:
        """Fill in where the request was going, for those who look at the flow and for hosts that pass."""
        request = self.flow.request
        if self.mode is HTTPMode.regular and not (request.is_http2 or request.is_http3):
            # RFC 9112 §3.2.1: an origin server is asked in origin-form.
            request.authority = ""
        address = self.context.server.address
        if self.mode is HTTPMode.transparent and address is not None:
            request.data.host, request.data.port = address[0], address[1]
            mode = self.context.client.proxy_mode
            has_tls = (
                mode.scheme in {"https", "http3"} if isinstance(mode, ReverseMode) else self.verdict.is_tls
            )
            request.scheme = "https" if has_tls else "http"
        elif not request.host:
            try:
                host, port = url.parse_authority(request.host_header or "", check=True)
            except ValueError:
                return  # without a usable host the core refuses
            request.data.host = host
            request.data.port = port or (443 if self.verdict.is_tls else 80)
            request.scheme = "https" if self.verdict.is_tls else "http"

    def _carry_out(self, *, is_complete: bool) -> layer.CommandGenerator[None]:
        phase = self.verdict.phase
        if phase in {Phase.FORWARD, Phase.UNTOUCHED} and self.flow.response is not None:
            phase = self.verdict.phase = Phase.ANSWER  # another addon's answer: no upstream is asked
        if phase is Phase.READING:
            yield from self._continue()
            self._wakeup = commands.RequestWakeup(self._settings.limits.body_grace_seconds)
            yield self._wakeup
            self.client_state = self.state_read_body
        elif phase is Phase.FORWARD or phase is Phase.UNTOUCHED:
            yield from self._continue()
            self.server_state = self.state_wait_for_response_headers
            if is_complete:
                self.client_state = self.state_consume_request_body
            else:
                self.flow.request.stream = self._streams_body = True
                yield from self.start_request_stream()
                if self.client_state == self.state_stream_request_body:
                    verdict = self.verdict
                    verdict.upload = Upload(self._settings.clock(), verdict.framing, verdict.version)
        else:
            yield from self.answer(is_complete=is_complete)

    def _continue(self) -> layer.CommandGenerator[None]:
        """Ask for the body now that it is wanted (RFC 9110 §10.1.1)."""
        if self.verdict.expects_continue:
            self.verdict.expects_continue = False
            self.flow.request.headers.pop("expect", None)
            interim = Response.make(100)
            interim.headers = Headers()
            yield SendHttp(ResponseHeaders(self.stream_id, interim), self.context.client)

    # A body that a flow of ours reads.

    def state_read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Collect a body for a flow of ours, within its limit."""
        body = self.verdict.body
        if isinstance(event, RequestData):
            self.request_body_buf += event.data
            if body is not None and len(self.request_body_buf) > body.max_bytes:
                body.fail("too_large", "the body is larger than this endpoint reads")
                yield from self._decide_again(is_complete=False)
        elif isinstance(event, RequestEndOfMessage):
            if body is not None:
                body.give(bytes(self.request_body_buf))
            yield from self._decide_again(is_complete=True)

    def _read_too_slowly(self, event: events.Wakeup) -> layer.CommandGenerator[None]:
        if event.command is self._wakeup and self.client_state == self.state_read_body:
            if self.verdict.body is not None:
                self.verdict.body.fail("timeout", "the body came too slowly")
            yield from self._decide_again(is_complete=False)

    def _decide_again(self, *, is_complete: bool) -> layer.CommandGenerator[None]:
        self.request_body_buf.clear()
        self.client_state = self.state_drop
        yield HttpRequestHook(self.flow)
        if (yield from self.check_killed(True)):
            return
        if self.verdict.phase is Phase.FORWARD and is_complete:
            self.client_state = self.state_done
            self.server_state = self.state_wait_for_response_headers
            if (yield from self.make_server_connection()):
                content = self.flow.request.raw_content
                head = RequestHeaders(self.stream_id, self.flow.request, not content)
                yield SendHttp(head, self.context.server)
                if content:
                    yield SendHttp(RequestData(self.stream_id, content), self.context.server)
                yield SendHttp(RequestEndOfMessage(self.stream_id), self.context.server)
        else:
            if self.verdict.phase is not Phase.ANSWER:
                self.verdict.phase = Phase.UNDECIDED
            yield from self.answer(is_complete=is_complete)

    def check_killed(self, emit_error_hook: bool) -> layer.CommandGenerator[bool]:  # noqa: FBT001  mitmproxy's
        """Tell whether the flow is over; one whose body is broken still gets its answer."""
        broken = [e for e in self._paused_event_queue if self._is_answerable(e)]
        if broken and self.flow.error is None:
            return False
        return (yield from super().check_killed(emit_error_hook))

    def _is_answerable(self, event: events.Event) -> bool:
        """Tell whether an event is a body that breaks HTTP/1's framing, from a client that still listens."""
        return (
            isinstance(event, RequestProtocolError)
            and event.code is ErrorCode.GENERIC_CLIENT_ERROR
            and bool(self.context.client.state & ConnectionState.CAN_WRITE)
            and not (self.flow.request.is_http2 or self.flow.request.is_http3)
        )

    # Forwarding.

    def state_stream_request_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Pass the body on; trailers are dropped (RFC 9110 §6.5.1: merged, they could forge any field)."""
        upload = self.verdict.upload
        if isinstance(event, RequestData) and upload is not None:
            upload.received += len(event.data)
        if upload is not None and upload.is_wrong(at_end=isinstance(event, RequestEndOfMessage)):
            # HTTP/3's own check comes when all of it has been passed on.
            yield from self._end(EndNow(self.flow, ("invalid_request", 400)))
            return
        if isinstance(event, RequestEndOfMessage):
            self.verdict.upload = None
            self.verdict.waiting_since = self._settings.clock()
        if not isinstance(event, RequestTrailers):
            yield from super().state_stream_request_body(event)

    def state_consume_request_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Take the end of a request that has no body."""
        if not isinstance(event, RequestTrailers):
            yield from super().state_consume_request_body(event)

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """Connect where the verdict says, only there; then write what the upstream's protocol needs."""
        if self.verdict.phase is Phase.UNTOUCHED:
            return (yield from super().make_server_connection())
        if self.verdict.phase is not Phase.FORWARD or self.verdict.forward is None:
            yield from self.fail("internal_error", 500)
            return False
        self.verdict.asked_at = self._settings.clock()
        destination = Destination(self.verdict.forward.upstream)
        command = ToUpstream(destination, self.flow.request.scheme == "https", None, "tcp")
        command.needs_fresh = self._has_asked_again
        connection, error = yield command
        if error:
            reason, status = destination.fate or ("upstream_unavailable", 503)
            yield from self.fail(reason, status, error)
            return False
        self._is_reused = connection.address is not destination
        if not self._streams_body:
            self.verdict.waiting_since = self._settings.clock()
        self.context.server = self.flow.server_conn = connection
        self._write_framing(is_multiplexed=connection.alpn == b"h2")
        return True

    def _write_framing(self, *, is_multiplexed: bool) -> None:
        request, verdict = self.flow.request, self.verdict
        has_length = "content-length" in request.headers or "transfer-encoding" in request.headers
        if is_multiplexed:
            request.headers.pop("transfer-encoding", None)
            if any(name.lower() == b"te" and value == b"trailers" for name, value in verdict.fields):
                # gRPC servers ask for it; it concerns this hop alone, so it is ours to write.
                request.headers["te"] = "trailers"
        elif self._streams_body and not has_length:
            request.headers["transfer-encoding"] = "chunked"

    def _may_ask_again(self) -> bool:
        """Tell whether asking once more does nothing twice (RFC 9110 §9.2.2, RFC 9112 §9.3.1)."""
        verdict = self.verdict
        return (
            self._is_reused
            and not self._has_asked_again
            and verdict.phase is Phase.FORWARD
            and verdict.method in SAFE_METHODS
            and not verdict.framing
            and self.client_state == self.state_done
            and self.server_state == self.state_wait_for_response_headers
        )

    def _ask_again(self) -> layer.CommandGenerator[None]:
        """Ask on a fresh connection: the one that we had was closed before it knew of us."""
        self._has_asked_again = True
        if (yield from self.make_server_connection()):
            yield SendHttp(RequestHeaders(self.stream_id, self.flow.request, True), self.context.server)
            yield SendHttp(RequestEndOfMessage(self.stream_id), self.context.server)

    # The answer.

    def state_wait_for_response_headers(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Pass an answer's head on as the core says."""
        if not isinstance(event, ResponseHeaders):
            return
        flow, verdict = self.flow, self.verdict
        flow.response = event.response
        if verdict.asked_at:
            verdict.upstream_seconds = self._settings.clock() - verdict.asked_at
        yield HttpResponseHeadersHook(flow)
        if (yield from self.check_killed(True)):
            yield from self._drop_upstream()
            return
        if verdict.phase is Phase.UNTOUCHED:
            flow.response.stream = True
        elif not verdict.is_finished or flow.response is None:
            # The core has not spoken, or not for it: nothing of what the upstream sent may pass.
            yield from self._drop_upstream()
            if verdict.phase is not Phase.ANSWER:
                verdict.phase = Phase.UNDECIDED
            yield from self.answer(is_complete=self.client_state == self.state_done)
            return
        self._has_begun = True
        if event.end_stream:
            self.server_state = self.state_consume_response_body
        else:
            yield from self.start_response_stream()

    def send_response(self, already_streamed: bool = False) -> layer.CommandGenerator[None]:  # noqa: FBT001, FBT002  mitmproxy's
        """Send what is left of the answer, trailers only where the client's protocol has them (gRPC)."""
        response = self.flow.response
        if response is not None and response.trailers is not None:
            is_multiplexed = self.flow.request.is_http2 or self.flow.request.is_http3
            kept = [p for p in response.trailers.fields if p[0].lower() not in _REFUSED_TRAILERS]
            response.trailers = Headers(kept) if kept and is_multiplexed else None
        yield from super().send_response(already_streamed)

    def flow_done(self) -> layer.CommandGenerator[None]:
        """End, or become a WebSocket; no other protocol is ever switched to."""
        response = self.flow.response
        if response is None or response.status_code != _SWITCHING_PROTOCOLS:
            yield from super().flow_done()
        elif self.flow.websocket is None or self.verdict.phase is Phase.UNDECIDED:
            yield commands.CloseConnection(self.context.client)
            self.client_state = self.server_state = self.state_errored
        else:
            self.child_layer = GatedWebSocket(self.context, self.flow, self.verdict)
            self._handle_event = self.passthrough  # type: ignore[method-assign]  # as mitmproxy does
            yield from self.child_layer.handle_event(events.Start())
            yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    # The ends.

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        """Answer what can still be answered in our words; else end as mitmproxy does."""
        if self.client_state == self.state_drop or not hasattr(self, "verdict"):
            if self.client_state != self.state_drop:
                yield from super().handle_protocol_error(event)
            return
        if isinstance(event, ClosedUnanswered) and self._may_ask_again():
            yield from self._ask_again()
            return
        can_answer = not self._has_begun and self.verdict.phase is not Phase.UNTOUCHED
        if isinstance(event, ResponseProtocolError) and can_answer:
            yield from self.fail("upstream_broken", 502, event.message)
        elif can_answer and self.client_state != self.state_done and self._is_answerable(event):
            yield from self._drop_upstream()
            yield from self.fail("invalid_request", 400, event.message)
        else:
            if isinstance(event, ResponseProtocolError):
                self.verdict.ended_by = self.verdict.ended_by or "upstream_broken"
            if self.verdict.body is not None:
                self.verdict.body.fail("invalid_request", "the client went away")
            yield from super().handle_protocol_error(event)

    def _end(self, event: EndNow) -> layer.CommandGenerator[None]:
        """End what is under way of our flow; pass the word on to what a tunnel leads to."""
        if self.child_layer is not None:
            yield from self.passthrough(event)
        elif self.client_state == self.state_drop or getattr(self, "flow", None) is not event.flow:
            return
        elif event.failure is not None and not self._has_begun:
            yield from self._drop_upstream()
            yield from self.fail(*event.failure)
        else:
            self.flow.error = mitmflow.Error(self.verdict.ended_by or "ended")
            yield HttpErrorHook(self.flow)
            self.client_state = self.server_state = self.state_drop
            yield from self._drop_upstream()
            error = ResponseProtocolError(self.stream_id, "ended", ErrorCode.CANCEL)
            yield SendHttp(error, self.context.client)
            self.flow.live = False
            yield DropStream(self.stream_id)
