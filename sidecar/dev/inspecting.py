"""`--inspect`: mitmweb's view of each request, with the steps of a login explained.

The view is mitmproxy's own web application on a port of loopback, behind a token that is made for this run.
It shows masked copies (`sidecar.dev.showing`) and changes nothing: mitmweb's other buttons could open the
proxy to the network, or send requests past the gate.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from mitmproxy.addons import eventstore, view
from mitmproxy.tools.web import app
from mitmproxy.tools.web.webaddons import WebAuth
from tornado.httpserver import HTTPServer
from tornado.web import ErrorHandler

from addons.login_view import LoginView
from sidecar.core.errors import ConfigurationError
from sidecar.dev.showing import Showing, ShownCalls, ShownVisits
from sidecar.engines import mitm

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from mitmproxy import flow as mitmflow
    from mitmproxy import log
    from mitmproxy.addonmanager import Loader
    from tornado.httputil import HTTPServerRequest

    from sidecar.application import Application, Observer
    from sidecar.core.decision import Lease
    from sidecar.core.runtime import Limits
    from sidecar.demo.narrator import Narrator
    from sidecar.effects.calls import ProviderCalls

__all__ = ["InspectedServer", "Inspection"]

_LOOPBACK: Final = "127.0.0.1"
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Showing the token, and emptying the list.
_STYLE: Final = (
    b"<style>.flow-table .col-comment{width:300px}.flow-detail .inline-input{white-space:pre-wrap}"
    # Capture, Options, Intercept, and what is done to a request.
    b".nav-tabs-lg>a:nth-of-type(2),.nav-tabs-lg>a:nth-of-type(4),.main-menu>.menu-group:nth-child(2),"
    b".flow-menu>.menu-group,td.col-quickactions>div{display:none}</style>"
)
_HARMLESS: Final = frozenset({("POST", "/"), ("POST", "/clear")})


class _WebOptions:
    """The options that mitmproxy's web application reads; it opens no browser by itself."""

    name = "doorward-inspect"

    def __init__(self, port: int) -> None:
        self._port = port

    def load(self, loader: Loader) -> None:
        """Declare them."""
        loader.add_option("web_debug", bool, False, "Never.")
        loader.add_option("web_port", int, self._port, "Where the view is.")
        loader.add_option("web_host", str, _LOOPBACK, "On loopback.")
        loader.add_option("web_theme", str, "system", "Colours.")
        columns = ["icon", "comment", "method", "status", "path", "time"]
        # mitmproxy compares the type with typing's spelling of it, which is no class.
        loader.add_option("web_columns", Sequence[str], columns, "Columns of the list.")


class InspectedServer:
    """The engine's server and the view beside it; `view_url` holds the token."""

    def __init__(
        self, server: mitm.MitmServer, web: HTTPServer, view_url: str, receivers: tuple[object, ...]
    ) -> None:
        self._server = server
        self._web = web
        self.view_url = view_url
        self._receivers = receivers

    def end_leases(self, predicate: Callable[[Lease], bool]) -> int:
        """End tunnels and running answers."""
        return self._server.end_leases(predicate)

    async def drain(self, seconds: float) -> None:
        """Close the view, then stop as the engine does."""
        self._web.stop()
        await self._web.close_all_connections()
        await self._server.drain(seconds)

    def close(self) -> None:
        """End the rest."""
        self._server.close()


class Inspection:
    """One run's view: serves with it, and gives the parts that have more to show."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Open nothing yet."""
        self._view = view.View()
        self._login = LoginView()
        self._showing = Showing(self._view, self._login, clock)

    def calls(self, observer: Observer) -> ProviderCalls:
        """Return calls to providers that are shown."""
        return ShownCalls(observer, self._showing)

    def visits(self, narrator: Narrator, issuer: str) -> Observer:
        """Return an observer of the embedded provider that shows its pages."""
        return ShownVisits(narrator, self._showing, issuer)

    async def serve(
        self, application: Application, listen: str, limits: Limits, sock: socket.socket
    ) -> InspectedServer:
        """Serve by mitmproxy, and its view. Raises ConfigurationError when an address can't be had."""
        try:
            web_socket = socket.create_server((_LOOPBACK, 0))
            web_socket.setblocking(False)
        except OSError as error:
            raise ConfigurationError(f"--inspect: no port for the view: {error.strerror}.") from error
        options, events, auth = _WebOptions(web_socket.getsockname()[1]), eventstore.EventStore(), WebAuth()
        parts = (self._login, self._showing, options, auth, _Options(self._view), events)
        try:
            server = await mitm.serve(application, listen, limits, sock=sock, addons=parts)
        except OSError as error:
            web_socket.close()
            raise ConfigurationError(f"doorward dev: can't listen on {listen}: {error.strerror}.") from error
        master = server.master
        # What mitmproxy's own web master has, and its application asks for.
        for name, part in (
            ("view", self._view),
            ("events", events),
            ("proxyserver", master.addons.get("proxyserver")),
        ):
            setattr(master, name, part)
        receivers = _broadcast(self._view, events)
        web = HTTPServer(_ReadOnly(master, False))  # type: ignore[arg-type]  # as WebMaster hands itself over
        web.add_socket(web_socket)
        return InspectedServer(server, web, auth.web_url, receivers)


class _Options:
    """Declares the view's options; its hooks would fill it with flows that are not masked."""

    name = "view"

    def __init__(self, shown: view.View) -> None:
        self._shown = shown

    def load(self, loader: Loader) -> None:
        """Declare them."""
        self._shown.load(loader)

    def configure(self, updated: set[str]) -> None:
        """Take them over."""
        self._shown.configure(updated)


class _Page(app.IndexHandler):
    """mitmweb's page in a dress of ours: room for explanations, and without the buttons that are refused."""

    def render(self, template_name: str, **values: Any) -> Future[None]:  # noqa: ANN401  tornado's
        """Put our style behind mitmweb's."""
        page = self.render_string(template_name, **values)
        return self.finish(page.replace(b"</head>", _STYLE + b"</head>", 1))


class _ReadOnly(app.Application):
    """mitmproxy's web application without what changes anything: a proxy's modes, options, requests."""

    def find_handler(self, request: HTTPServerRequest, **options: Any) -> Any:  # noqa: ANN401  tornado's
        """Refuse it."""
        if request.path == "/":
            return self.get_handler_delegate(request, _Page)
        if request.method not in _READING and (request.method, request.path) not in _HARMLESS:
            return self.get_handler_delegate(request, ErrorHandler, {"status_code": 403})
        return super().find_handler(request, **options)


def _broadcast(shown: view.View, events: eventstore.EventStore) -> tuple[object, ...]:
    """Tell open pages of what happens. Returns what mitmproxy's signals hold weakly: keep it."""
    connection = app.ClientConnection

    def added(flow: mitmflow.Flow) -> None:
        connection.broadcast_flow("flows/add", flow)

    def updated(flow: mitmflow.Flow) -> None:
        connection.broadcast_flow("flows/update", flow)

    def removed(flow: mitmflow.Flow, index: int) -> None:
        del index
        connection.broadcast(type="flows/remove", payload=flow.id)

    def logged(entry: log.LogEntry) -> None:
        connection.broadcast(type="events/add", payload=app.logentry_to_json(entry))

    shown.sig_view_add.connect(added)
    shown.sig_view_update.connect(updated)
    shown.sig_view_remove.connect(removed)
    events.sig_add.connect(logged)
    return added, updated, removed, logged
