"""The gRPC listener: `envoy.service.auth.v3.Authorization/Check`, and the health service."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from typing import TYPE_CHECKING, Final

import grpc
from envoy.service.auth.v3 import external_auth_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from sidecar.core.decision import Flow, Note, Respond
from sidecar.engines.express.listening import open_sockets
from sidecar.engines.express.requesthead import HeadRefused
from sidecar.engines.extauthz.answers import build_answer, deny
from sidecar.engines.extauthz.credentials import build_credentials
from sidecar.engines.extauthz.heads import SECRET, Heads, peer_address

if TYPE_CHECKING:
    from sidecar.application import Application
    from sidecar.core.http import RequestHead
    from sidecar.core.runtime import Limits, ListenerTls

__all__ = ["SERVICE", "ExtAuthzServer", "serve"]

SERVICE: Final = "envoy.service.auth.v3.Authorization"
_UNIX: Final = "unix:"
# Beside the head a call tells of connections and certificates, and of routes' metadata.
_ROOM_BYTES: Final = 65536
_MAX_METADATA_BYTES: Final = 16384
# A flow asks the provider, and ends when its caller gives up. This is for a caller that never does.
_ANSWER_SECONDS: Final = 30.0
_GONE: Final = Note(site="", reason="client_gone")


class _NoBody:
    """The body of a request that is asked about stays with the ingress."""

    async def read(self, max_bytes: int) -> bytes:
        """Return nothing."""
        del max_bytes
        return b""


class _Checks:
    """Answers calls. Nothing that goes wrong in here is a yes."""

    def __init__(self, application: Application, limits: Limits, path: bytes, *, is_tls: bool) -> None:
        self._application = application
        self._heads = Heads(limits, path)
        self._is_tls = is_tls

    async def check(
        self, request: external_auth_pb2.CheckRequest, context: grpc.aio.ServicerContext
    ) -> external_auth_pb2.CheckResponse:
        """Answer one CheckRequest. Raises nothing but asyncio.CancelledError."""
        request_id = secrets.token_hex(8)
        try:
            return await self._answer(request, context, request_id)
        except Exception:  # noqa: BLE001  the outermost edge: fail closed, tell the operator
            self._application.observer.defect("extauthz", request_id)
            return deny(500)

    async def _answer(
        self, request: external_auth_pb2.CheckRequest, context: grpc.aio.ServicerContext, request_id: str
    ) -> external_auth_pb2.CheckResponse:
        started = time.monotonic()
        application = self._application
        peer = peer_address(context.peer())
        proofs = [
            _bytes(value) for key, value in context.invocation_metadata() or () if _bytes(key) == SECRET
        ]
        try:
            head = self._heads.build(request, proofs, peer=peer, request_id=request_id, is_tls=self._is_tls)
        except HeadRefused as refusal:
            application.observer.malformed(peer, refusal.code, refusal.detail)
            respond = application.refuse(refusal.code, refusal.status, request_id, None)
            return self._build(respond, request_id, None)
        note, status, size = _GONE, 0, 0
        try:
            respond = await self._decide(head)
            answer = self._build(respond, request_id, head)
            note, status, size = respond.note, respond.response.status, answer.ByteSize()
        finally:
            seconds = time.monotonic() - started
            application.observer.request_done(head, note, status, size, seconds, 0.0)
        return answer

    async def _decide(self, head: RequestHead) -> Respond:
        application = self._application
        decision = application.decide(head)
        if isinstance(decision, Flow):
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    decision = await application.run(decision, _NoBody())
            except TimeoutError:
                return application.refuse("provider_unavailable", 504, head.request_id, head)
        if not isinstance(decision, Respond):
            raise TypeError("the application would forward what it was asked about")
        return decision

    def _build(
        self, respond: Respond, request_id: str, head: RequestHead | None
    ) -> external_auth_pb2.CheckResponse:
        response = respond.response
        told = response if response.page is None else self._application.render(response, request_id)
        return build_answer(told, head)


class ExtAuthzServer:
    """A listener that runs; `address` is where, with the real port."""

    def __init__(self, server: grpc.aio.Server, healths: health.aio.HealthServicer, address: str) -> None:
        """Keep the parts of what `serve` has started."""
        self.address = address
        self._server = server
        self._healths = healths

    async def drain(self, seconds: float) -> None:
        """Tell callers to go elsewhere, answer what runs within `seconds`, then end."""
        await self._healths.enter_graceful_shutdown()
        await self._server.stop(seconds)


async def serve(
    application: Application,
    listen: str,
    limits: Limits,
    path: bytes,
    *,
    tls: ListenerTls | None = None,
    reuse_port: bool = False,
) -> ExtAuthzServer:
    """Answer Envoy in the running loop; `path` is the one at which its HTTP form would ask.

    Raises OSError, its `filename` being `listen`, when the address or a file can't be had, ssl.SSLError when
    certificate and key don't fit, ValueError when `listen` is no address: the operator's fault.
    """
    credentials = None if tls is None else build_credentials(tls, application.observer)
    checks = _Checks(application, limits, path, is_tls=tls is not None)
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", limits.max_head_bytes + _ROOM_BYTES),
            ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
            ("grpc.so_reuseport", int(reuse_port)),
        ),
        maximum_concurrent_rpcs=limits.max_connections,
    )
    handler = grpc.unary_unary_rpc_method_handler(
        checks.check,
        request_deserializer=external_auth_pb2.CheckRequest.FromString,
        response_serializer=external_auth_pb2.CheckResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Check": handler}),))
    healths = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    await healths.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    address = _listen(server, listen, credentials, reuse_port=reuse_port)
    await server.start()
    return ExtAuthzServer(server, healths, address)


def _listen(
    server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None, *, reuse_port: bool
) -> str:
    """Have the server listen, and return where.

    gRPC opens sockets itself, and says only that it could not: so ours are opened first, which tell why.
    """
    for sock in open_sockets(listen, reuse_port=reuse_port):
        sock.close()
    # As for the express engine's socket files: our group may connect, nobody else.
    before = os.umask(0o117)
    try:
        if credentials is None:
            port = server.add_insecure_port(listen)
        else:
            port = server.add_secure_port(listen, credentials)
    except RuntimeError as error:
        raise OSError(0, str(error), listen) from error
    finally:
        os.umask(before)
    return listen if listen.startswith(_UNIX) else f"{listen.rpartition(':')[0]}:{port}"


def _bytes(value: str | bytes) -> bytes:
    """Return a key or value of gRPC's metadata, which is text unless its key ends with `-bin`."""
    return value if isinstance(value, bytes) else value.encode()
