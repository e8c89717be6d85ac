"""CheckRequests as Envoy 1.40 sends them, an application to ask, and a real gRPC client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import pytest

from sidecar.core.decision import Flow, Forward, Note, Respond
from sidecar.core.http import RequestHead, Response
from sidecar.core.runtime import Limits, ListenerTls
from sidecar.engines import extauthz
from tests.engines.harness import PlainApplication

external_auth_pb2: Any = pytest.importorskip("envoy.service.auth.v3.external_auth_pb2")

__all__ = ["PATH", "Doorman", "asked", "caller", "external_auth_pb2", "request_about", "serving", "yes"]

PATH = b"/oauth2/auth/envoy"
_CHECK = "/envoy.service.auth.v3.Authorization/Check"
_FROM_ENVOY = (("x-forwarded-proto", "https"), ("x-forwarded-for", "192.0.2.7"))

type Fields = Sequence[tuple[str, str | bytes]]


def request_about(
    target: str = "/a/b?x=1",
    fields: Fields = (),
    *,
    method: str = "GET",
    host: str = "app.example.com",
    from_envoy: Fields = _FROM_ENVOY,
    is_raw: bool = True,
) -> Any:
    """Return a CheckRequest; `is_raw` as with `encode_raw_headers: true`, else as without."""
    request = external_auth_pb2.CheckRequest()
    request.attributes.source.address.socket_address.address = "192.0.2.7"
    http = request.attributes.request.http
    http.method, http.path, http.host, http.scheme, http.protocol = method, target, host, "https", "HTTP/2"
    pseudo = ((":authority", host), (":path", target), (":method", method), (":scheme", "https"))
    for name, value in (*pseudo, *fields, *from_envoy):
        if is_raw:
            raw = value if isinstance(value, bytes) else value.encode()
            http.header_map.headers.add(key=name, raw_value=raw)
        else:
            assert isinstance(value, str)
            http.headers[name] = value
    return request


class Doorman(PlainApplication):
    """Answers every request with `answer`: a Respond, a Flow, an exception, whatever a test wants."""

    def __init__(self, answer: object) -> None:
        """Answer with this."""
        super().__init__()
        self.answer = answer

    def decide(self, head: RequestHead) -> Respond | Forward | Flow:
        """Return, or raise, the answer."""
        self.heads.append(head)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[return-value]  # what a test wants may be no decision at all


def yes(*headers: tuple[bytes, bytes]) -> Respond:
    """Return what the core answers about a request that may pass."""
    return Respond(Response(status=200, headers=headers), Note(site="test", reason="allowed"))


@contextlib.asynccontextmanager
async def serving(
    application: PlainApplication,
    listen: str = "127.0.0.1:0",
    *,
    limits: Limits | None = None,
    tls: ListenerTls | None = None,
) -> AsyncIterator[extauthz.ExtAuthzServer]:
    """Serve `application` while the block runs."""
    server = await extauthz.serve(application, listen, limits or Limits(), PATH, tls=tls)
    try:
        yield server
    finally:
        await server.drain(0)


@contextlib.asynccontextmanager
async def caller(
    address: str, *, credentials: Any = None, options: Sequence[tuple[str, str]] = ()
) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Return a function that asks, `metadata` being Envoy's `initial_metadata`."""
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, options=options)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options=options)
    ask = channel.unary_unary(
        _CHECK,
        request_serializer=lambda request: (
            request if isinstance(request, bytes) else request.SerializeToString()
        ),
        response_deserializer=external_auth_pb2.CheckResponse.FromString,
    )
    async with channel:
        yield ask


async def asked(application: PlainApplication, request: Any, **options: Any) -> Any:
    """Return the answer to one question."""
    async with serving(application) as server, caller(server.address) as ask:
        return await ask(request, **options)
