"""A head that our parsers read means what mitmproxy would have read, to whoever looks at the flow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from mitmproxy.connection import Client, ConnectionState, Server
from mitmproxy.http import Request, Response
from mitmproxy.options import Options
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.events import DataReceived, Start
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    HttpEvent,
    RequestEndOfMessage,
    RequestHeaders,
    ResponseHeaders,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Connection, Http1Server

from addons.http1 import StrictHttp1Client, StrictHttp1Server
from sidecar.core.runtime import Limits

if TYPE_CHECKING:
    from mitmproxy.proxy.commands import Command

    from sidecar.engines.express.requesthead import HeadRefused

REQUESTS = [
    b"GET /a?b=c HTTP/1.1\r\nHost: app\r\nCookie: a=b\r\ncookie: c=d\r\n\r\n",
    b"\r\nGET / HTTP/1.0\r\nX:  y \r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nab",
    b"POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: app\r\n\r\n",
    b"GET http://app/a HTTP/1.1\r\nHost: app\r\n\r\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nX:  a \t\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 404 Nowhere at all\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nto the end",
]


def build_context() -> Context:
    client = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), state=ConnectionState.OPEN)
    context = Context(client, Options())
    context.server = Server(address=("app", 80))
    context.server.state = ConnectionState.OPEN
    return context


def is_malformed(refusal: HeadRefused) -> Response:
    raise AssertionError(refusal)


def received(connection: Http1Connection, data: bytes, *sent: HttpEvent) -> list[HttpEvent]:
    commands: list[Command] = []
    for event in (Start(), *sent, DataReceived(connection.conn, data)):
        commands += connection.handle_event(event)
    return [command.event for command in commands if isinstance(command, ReceiveHttp)]


def told(event: HttpEvent) -> tuple[object, ...]:
    """Return what an event tells; framing fields may stand elsewhere, and time passes."""
    known = {name: value for name, value in vars(event).items() if name not in {"request", "response"}}
    message: Request | Response | None = getattr(event, "request", None) or getattr(event, "response", None)
    if message is None:
        return (type(event), known)
    state = dict(vars(message.data))
    del state["timestamp_start"]
    state["headers"] = sorted(state["headers"].fields, key=lambda pair: pair[0].lower() in FRAMING)
    return (type(event), known, state)


FRAMING = {b"content-length", b"transfer-encoding"}
BODY = re.compile(rb"(?<=\r\n\r\n)(?!HTTP/).*", re.DOTALL)


@pytest.mark.parametrize("data", REQUESTS)
def test_a_request_is_read_as_mitmproxy_does(data: bytes) -> None:
    ours = received(StrictHttp1Server(build_context(), Limits(), is_malformed), data)
    theirs = received(Http1Server(build_context()), data.lstrip())
    assert isinstance(ours[0], RequestHeaders)
    assert [told(event) for event in ours] == [told(event) for event in theirs]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"head"])
@pytest.mark.parametrize("data", ANSWERS)
def test_an_answer_is_read_as_mitmproxy_does(data: bytes, method: bytes) -> None:
    if method != b"GET":
        data = (
            data[: data.rindex(b"\r\n\r\n") + 4] if b"chunked" not in data else data[: data.index(b"2\r\n")]
        )
    request = Request("app", 80, method, b"http", b"", b"/", b"HTTP/1.1", (), b"", None, 0, 0)
    sent = (RequestHeaders(1, request, end_stream=True), RequestEndOfMessage(1))
    ours = received(StrictHttp1Client(build_context()), data, *sent)
    theirs = received(Http1Client(build_context()), data.partition(b"Link: a\r\n\r\n")[2] or data, *sent)
    assert isinstance(ours[0], ResponseHeaders)
    assert [told(event) for event in ours] == [told(event) for event in theirs]


@pytest.mark.parametrize("cut", [0, 10, 40])
def test_an_answers_head_may_come_in_pieces(cut: int) -> None:
    data = ANSWERS[0]
    request = Request("app", 80, b"GET", b"http", b"", b"/", b"HTTP/1.1", (), b"", None, 0, 0)
    connection = StrictHttp1Client(build_context())
    events = received(
        connection, data[:cut], RequestHeaders(1, request, end_stream=True), RequestEndOfMessage(1)
    )
    assert not events
    whole = [
        command.event
        for command in connection.handle_event(DataReceived(connection.conn, data[cut:]))
        if isinstance(command, ReceiveHttp)
    ]
    assert isinstance(whole[0], ResponseHeaders)
    assert whole[0].response.headers.get_all("set-cookie") == ["a", "b"]
