"""A WebSocket client that says what a browser's page would say."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.blackbox.agent import on_loopback

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["open_websocket"]


def open_websocket(
    url: str, *, cookie: str = "", origin: str | None = None, headers: Mapping[str, str] | None = None
) -> ClientConnection:
    """Open a WebSocket at an http URL, as a page of `origin` (else of the URL's own) does.

    Raises websockets' InvalidStatus when it is refused.
    """
    from websockets.sync.client import connect
    from websockets.typing import Origin

    own = "/".join(url.split("/")[:3])
    parts = urlsplit(on_loopback(url))
    return connect(
        url.replace("http", "ws", 1),
        additional_headers={**(headers or {}), **({"Cookie": cookie} if cookie else {})},
        origin=Origin(origin or own),
        sock=socket.create_connection((parts.hostname, parts.port), timeout=10),
        max_size=1 << 24,
        proxy=None,
        open_timeout=10,
        close_timeout=2,
    )
