"""`--inspect`: mitmweb's view of each request, with the steps of a login explained.

The view is mitmproxy's own web application on a port of loopback, behind a token that is made for this run.
What it shows are live requests, cookies and bodies included: it is for the person at this machine.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mitmproxy.addons import eventstore, view
from mitmproxy.tools.web import app
from mitmproxy.tools.web.webaddons import WebAuth
from tornado.httpserver import HTTPServer

from addons.login_view import LoginView
from sidecar.engines import mitm

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy import flow as mitmflow
    from mitmproxy import log
    from mitmproxy.addonmanager import Loader

    from sidecar.application import Application
    from sidecar.core.decision import Lease
    from sidecar.core.runtime import Limits

__all__ = ["InspectedServer", "serve_inspected"]

_LOOPBACK: Final = "127.0.0.1"


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
        columns = ["icon", "path", "method", "status", "size", "time", "comment"]
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


async def serve_inspected(application: Application, listen: str, limits: Limits) -> InspectedServer:
    """Serve by mitmproxy, and its view. Raises OSError when an address can't be had."""
    web_socket = socket.create_server((_LOOPBACK, 0))
    web_socket.setblocking(False)
    shown, events, auth = view.View(), eventstore.EventStore(), WebAuth()
    parts = (LoginView(), _WebOptions(web_socket.getsockname()[1]), auth, shown, events)
    try:
        server = await mitm.serve(application, listen, limits, addons=parts)
    except OSError:
        web_socket.close()
        raise
    master = server.master
    # What mitmproxy's own web master has, and its application asks for.
    for name, part in (
        ("view", shown),
        ("events", events),
        ("proxyserver", master.addons.get("proxyserver")),
    ):
        setattr(master, name, part)
    receivers = _broadcast(shown, events)
    web = HTTPServer(app.Application(master, False))  # type: ignore[arg-type]  # as WebMaster hands itself over
    web.add_socket(web_socket)
    return InspectedServer(server, web, auth.web_url, receivers)


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
