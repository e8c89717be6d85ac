"""What `--inspect` shows: copies of requests, secrets masked, with what each is in a login, and decisions.

Shown are the requests that the gate got, its own calls to the provider, and what browsers ask of the embedded
provider. Copies, not the flows themselves: nothing that is done to them changes what travels, and they hold
no body, so that a long session costs little memory.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from mitmproxy import connection, ctx, flow, http

from addons.authenticate import Authenticate
from addons.login_view import LoginView
from addons.verdicts import Phase, Verdict, verdict_of
from sidecar.core.errors import ProviderUnavailable
from sidecar.core.http import single_header
from sidecar.demo.narrator import Unheard, told
from sidecar.dev.masking import masked_fields, masked_url
from sidecar.effects.calls import ProviderCalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy.addons.view import View

    from sidecar.application import Observer
    from sidecar.core.effects import CallProvider, ProviderAnswer
    from sidecar.core.http import RequestHead
    from sidecar.demo.narrator import Narrator

__all__ = ["Showing", "ShownCalls", "ShownVisits"]

_MAX_SHOWN: Final = 2000
_OPERATIONS: Final = {
    "discovery": "the provider's metadata",
    "keys": "the provider's keys",
    "userinfo": "the provider's UserInfo",
}


class Showing:
    """The addon that fills the view; after `Authenticate` and `LoginView`, whose words it tells."""

    name = "doorward-showing"

    def __init__(
        self, shown: View, login: LoginView, clock: Callable[[], float], most: int = _MAX_SHOWN
    ) -> None:
        """Bind the parts. `most` is how many requests the view holds; the oldest go."""
        self._view = shown
        self._login = login
        self._clock = clock
        self._most = most
        self._order: deque[http.HTTPFlow] = deque()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Show a request that was decided."""
        self._show(_copied(flow))

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Show that its answer has begun."""
        self._show(_copied(flow))

    def response(self, flow: http.HTTPFlow) -> None:
        """Show its answer."""
        self._show(_copied(flow))

    def error(self, flow: http.HTTPFlow) -> None:
        """Show that it broke off."""
        self._show(_copied(flow))

    def show_exchange(self, request: http.Request, response: http.Response | None, note: str) -> None:
        """Show what did not pass the proxy; `note` says what it is when it is no step of a login."""
        self._show_open()
        now = self._clock()
        client = connection.Client(peername=("127.0.0.1", 0), sockname=("127.0.0.1", 0), timestamp_start=now)
        server = connection.Server(address=(request.host, request.port))
        exchange = http.HTTPFlow(client, server)
        exchange.request, exchange.response = request, response
        self._login.request(exchange)
        self._login.response(exchange)
        if response is None:
            exchange.error = flow.Error(note)
        exchange.comment = exchange.comment or note
        _mask(exchange)
        self._show(exchange)

    def _show_open(self) -> None:
        """Show what waits for its decision, before what is asked on its behalf."""
        gate: Authenticate = ctx.master.addons.get(Authenticate.name)
        for live in gate.gate().open:
            if self._view.get_by_id(live.id) is None:
                self._show(_copied(live))

    def _show(self, copy: http.HTTPFlow) -> None:
        known = self._view.get_by_id(copy.id)
        if known is not None:
            known.set_state(copy.get_state())
            self._view.update([known])
            return
        if len(self._order) >= self._most:
            self._view.remove([self._order.popleft()])
        self._order.append(copy)
        self._view.add([copy])


class ShownCalls(ProviderCalls):
    """The gate's own calls to providers, shown."""

    def __init__(self, observer: Observer, showing: Showing) -> None:
        """Open nothing yet."""
        super().__init__(observer)
        self._showing = showing

    async def call(self, request: CallProvider) -> ProviderAnswer:
        """Make the request, and show it. Raises ProviderUnavailable as it is."""
        asked = _asked(request)
        try:
            answer = await super().call(request)
        except ProviderUnavailable as error:
            self._showing.show_exchange(asked, None, f"{request.operation}: {error.code}")
            raise
        response = http.Response.make(answer.status, answer.body, answer.headers)
        note = _OPERATIONS.get(request.operation, request.operation)
        self._showing.show_exchange(asked, response, note)
        return answer


class ShownVisits(Unheard):
    """What browsers ask of the embedded provider, shown. Programs' requests are `ShownCalls`' already."""

    def __init__(self, narrator: Narrator, showing: Showing, issuer: str) -> None:
        """Bind the parts."""
        super().__init__(narrator)
        self._showing = showing
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(issuer))

    def request_done(self, *facts: object) -> None:
        """Show a browser's request."""
        head: RequestHead
        head, _, status, *_ = facts  # type: ignore[assignment]  # the protocol's order
        if b"text/html" not in (single_header(head.headers, b"accept") or b"") or not status:
            return
        request = http.Request.make(
            head.method.decode("latin-1"), self._origin + head.target.decode("latin-1"), b"", head.headers
        )
        self._showing.show_exchange(request, http.Response.make(int(str(status))), "a page of the provider's")


def _asked(call: CallProvider) -> http.Request:
    form = b"" if call.form is None else urlencode(call.form).encode("ascii")
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in call.headers]
    if call.form is not None:
        fields.append((b"Content-Type", b"application/x-www-form-urlencoded"))
    return http.Request.make(call.method, call.url, form, fields)


def _copied(live: http.HTTPFlow) -> http.HTTPFlow:
    """Return what may be shown of a flow: what was asked, what the application got, what was answered."""
    copy: http.HTTPFlow = live.copy()
    copy.id, copy.websocket = live.id, None
    verdict = verdict_of(live)
    if verdict is not None and verdict.head is not None:
        _as_asked(copy.request, verdict)
        copy.comment = "\n".join([*copy.comment.splitlines(), *_decision(live, verdict)])
    _mask(copy)
    return copy


def _as_asked(request: http.Request, verdict: Verdict) -> None:
    """Show the URL that the browser has, not the upstream's; the fields stay those that the upstream gets."""
    host = (single_header(verdict.fields, b"host") or b"").decode("latin-1")
    parts = urlsplit(f"//{host}")
    try:
        port = parts.port
    except ValueError:
        return
    # Not by the properties, which would write a Host field.
    request.data.scheme = b"https" if verdict.is_tls else b"http"
    request.data.host = parts.hostname or request.data.host
    request.data.port = port or (443 if verdict.is_tls else 80)
    request.data.path = verdict.target


def _decision(live: http.HTTPFlow, verdict: Verdict) -> list[str]:
    lines = [] if verdict.note is None else [told(verdict.note)]
    if verdict.phase is Phase.FORWARD and verdict.forward is not None:
        upstream = verdict.forward.upstream
        lines.append(f"{upstream.host}:{upstream.port} got the fields that are shown")
    if live.error is not None:
        lines.append(live.error.msg)
    return lines


def _mask(shown: http.HTTPFlow) -> None:
    """Take away what is secret, and bodies."""
    shown.request.path = masked_url(shown.request.path)
    for message in (shown.request, shown.response):
        if message is not None:
            message.headers = http.Headers(masked_fields(message.headers.fields))
            message.trailers, message.data.content = None, None
