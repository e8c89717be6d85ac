"""The application behind Doorward in black-box tests: it tells what it received.

- /page/... is a page of HTML that shows the request's fields, for browsers
- /download?size=N is N bytes, in pieces
- /events are server-sent events: the first at once, the next ones when the test lets them go
- /slow is a download that begins at once and ends when the test lets it
- /status/NNN is answered with that status
- /set-cookie?value=... is answered with these Set-Cookie values
- /ws/..., which is another server too, echoes messages, and tells its fields when it is sent "headers"
- anything else is answered with what was received, as JSON
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.blackbox.httpserver import Answer, HttpServer, Received

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection

__all__ = ["Application", "Upstream", "piece_of_download", "sha256_of_download", "upstream_application"]

_PIECE = bytes(range(256)) * 256
_RELEASE_SECONDS = 30.0
_JSON = ("Content-Type", "application/json")
_HTML = ("Content-Type", "text/html; charset=utf-8")


def piece_of_download(size: int) -> Iterator[bytes]:
    """Yield the bytes of /download?size=N."""
    while size:
        part = _PIECE[:size]
        size -= len(part)
        yield part


def sha256_of_download(size: int) -> str:
    digest = hashlib.sha256()
    for part in piece_of_download(size):
        digest.update(part)
    return digest.hexdigest()


class Upstream(HttpServer):
    """The application. `release` lets one more piece of /events and /slow go."""

    def __init__(self) -> None:
        self._released = threading.Semaphore(0)
        self.websocket_port = 0
        super().__init__(self._serve)

    def release(self) -> None:
        """Let one more piece go."""
        self._released.release()

    def requests(self, path: str) -> list[Received]:
        """Return what has arrived for that path."""
        return [received for received in self.received if received.path == path]

    def last(self, path: str) -> Received:
        """Return what arrived last for that path."""
        return self.requests(path)[-1]

    def _serve(self, received: Received) -> Answer:
        name = received.path.split("/")[1]
        serve = {
            "page": self._page,
            "download": self._download,
            "events": self._events,
            "slow": self._slow,
            "status": self._status,
            "set-cookie": self._set_cookie,
            "ws": self._websocket,
        }.get(name, self._echo)
        return serve(received)

    def _echo(self, received: Received) -> Answer:
        return Answer(headers=(_JSON,), body=json.dumps(received.described()).encode())

    def _page(self, received: Received) -> Answer:
        shown = html.escape(json.dumps(received.described()))
        body = (
            "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>The application</title>"
            f"<h1>The application</h1><pre id=received>{shown}</pre>"
            f"<form id=form method=post action='{html.escape(received.path)}'><input name=text>"
            "<button>Send</button></form>"
        )
        return Answer(headers=(_HTML,), body=body.encode())

    def _download(self, received: Received) -> Answer:
        size = int(received.query["size"][0])
        headers = (("Content-Type", "application/octet-stream"), ("Content-Length", str(size)))
        return Answer(headers=headers, body=piece_of_download(size))

    def _events(self, received: Received) -> Answer:
        del received
        return Answer(headers=(("Content-Type", "text/event-stream"),), body=self._paced(b"data: %d\n\n"))

    def _slow(self, received: Received) -> Answer:
        del received
        return Answer(headers=(("Content-Type", "text/plain"),), body=self._paced(b"piece %d\n"))

    def _paced(self, form: bytes) -> Iterator[bytes]:
        yield form % 1
        for number in (2, 3):
            if not self._released.acquire(timeout=_RELEASE_SECONDS):
                raise TimeoutError("nobody let the next piece go")
            yield form % number

    def _status(self, received: Received) -> Answer:
        return Answer(status=int(received.path.split("/")[2]), body=b"as asked\n")

    def _set_cookie(self, received: Received) -> Answer:
        headers = tuple(("Set-Cookie", value) for value in received.query["value"])
        return Answer(headers=headers, body=b"set\n")

    def _websocket(self, received: Received) -> Answer:
        """Hand a handshake, and all that follows it, to the server of WebSockets."""
        if [value.lower() for value in received.values("Upgrade")] != ["websocket"]:
            return self._echo(received)
        fields = (f"{name}: {value}" for name, value in received.headers)
        head = "\r\n".join([f"GET {received.target} HTTP/1.1", *fields, "", ""]).encode("latin-1")

        def relay(client: socket.socket) -> None:
            with socket.create_connection(("127.0.0.1", self.websocket_port)) as server:
                server.sendall(head)
                threading.Thread(target=_pump, args=(server, client), daemon=True).start()
                _pump(client, server)

        return Answer(take_over=relay)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes from one connection to the other until either ends, which ends both."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for connection in (source, sink):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Application:
    """The running application, and the `upstreams` of a configuration that leads to it."""

    upstream: Upstream
    upstreams: dict[str, str]


def _echo_messages(connection: ServerConnection) -> None:
    request = connection.request
    assert request is not None
    for message in connection:
        if message == "headers":
            fields = [list(pair) for pair in request.headers.raw_items()]
            connection.send(json.dumps({"path": request.path, "headers": fields}))
        else:
            connection.send(message)


@contextlib.contextmanager
def upstream_application() -> Iterator[Application]:
    """Run the application until the block ends."""
    from websockets.sync.server import serve

    with (
        Upstream().running() as upstream,
        serve(_echo_messages, "127.0.0.1", 0, max_size=1 << 24, compression=None) as websockets,
    ):
        assert isinstance(upstream, Upstream)
        threading.Thread(target=websockets.serve_forever, daemon=True).start()
        port = upstream.websocket_port = websockets.socket.getsockname()[1]
        yield Application(upstream, {"/": upstream.url, "/ws": f"http://127.0.0.1:{port}"})
