"""mitmproxy's values to the core's, and back: request heads in; requests and answers out.

A head that came by HTTP/1 was checked by `addons.http1`. One that came by HTTP/2 or 3 is checked here: what
would be illegal in HTTP/1.1 must not be written into it (RFC 9113 §8.2, §10.3; S55).
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from addons.messages import make_request, make_response
from sidecar.core.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mitmproxy.connection import Client
    from mitmproxy.http import Request, Response

    from addons.verdicts import Verdict
    from sidecar.application import WireResponse
    from sidecar.core.decision import Forward
    from sidecar.core.http import HeaderPair
    from sidecar.core.runtime import Limits

__all__ = ["answer_framing", "build_answer", "build_forward", "build_own_answer", "peer_of", "read_head"]

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(rb"[!\"$-~]+")  # visible ASCII without "#"
_VALUE: Final = re.compile(rb"(?:[^\x00-\x08\x0a-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CONNECTION_FIELDS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_NO_CONTENT: Final = frozenset({204, 304})
_FIRST_FINAL: Final = 200
_EMPTY: Final = 204  # RFC 9110 §15.3.5
_CHUNKED: Final[HeaderPair] = (b"Transfer-Encoding", b"chunked")
_CLOSE: Final[HeaderPair] = (b"Connection", b"close")


def peer_of(client: Client) -> str:
    """Return a client's address; one that came by IPv4 to a socket of both families has its IPv4 address."""
    return str(client.peername[0]).removeprefix("::ffff:")


def read_head(verdict: Verdict, request: Request, limits: Limits) -> None:
    """Fill the head's parts into `verdict`. Raises BadRequest for what no gate should see."""
    data = request.data
    verdict.method = data.method
    verdict.version = data.http_version
    verdict.fields = list(data.headers.fields)
    if request.is_http2 or request.is_http3:
        verdict.target = data.path
        verdict.fields = _check_multiplexed(verdict, data.authority, limits)
        verdict.framing = tuple(p for p in verdict.fields if p[0] == b"content-length")
        return
    if data.method == b"CONNECT":
        verdict.target = data.authority
    elif data.authority:
        verdict.target = data.scheme + b"://" + data.authority + data.path
    else:
        verdict.target = data.path
    verdict.framing = tuple(p for p in verdict.fields if p[0].lower() in _FRAMING)
    verdict.expects_continue = any(
        name.lower() == b"expect" and value.lower() == b"100-continue" for name, value in verdict.fields
    )


def _check_multiplexed(verdict: Verdict, authority: bytes, limits: Limits) -> list[HeaderPair]:
    """Return the fields of an HTTP/2 or 3 head with one Host in front."""
    fields = verdict.fields
    if not _TOKEN.fullmatch(verdict.method):
        raise BadRequest("invalid_request", "malformed :method")
    if not _TARGET.fullmatch(verdict.target):
        raise BadRequest("invalid_request", "malformed :path")
    if len(verdict.target) > limits.max_target_bytes or len(fields) > limits.max_headers:
        raise BadRequest("too_large", "head too large")
    if sum(len(name) + len(value) + 4 for name, value in fields) > limits.max_head_bytes:
        raise BadRequest("too_large", "head too large")
    for name, value in fields:
        _check_field(name, value)
    if sum(name == b"content-length" for name, _ in fields) > 1:
        raise BadRequest("invalid_request", "second content-length")
    hosts = [value for name, value in fields if name == b"host"]
    if not authority and len(hosts) == 1:
        authority = hosts[0]
    # RFC 9113 §8.3.1: a Host beside :authority must be the same; two names for one request are one too many.
    if not authority or not _VALUE.fullmatch(authority) or any(host != authority for host in hosts):
        raise BadRequest("invalid_request", "missing or second authority")
    return [(b"Host", authority), *(pair for pair in fields if pair[0] != b"host")]


def _check_field(name: bytes, value: bytes) -> None:
    # RFC 9113 §8.2.1: no upper-case letter in a name, no CR, LF or NUL, no space around a value.
    if not _TOKEN.fullmatch(name) or name != name.lower():
        raise BadRequest("invalid_request", "malformed field name")
    if not _VALUE.fullmatch(value):
        raise BadRequest("invalid_request", "malformed field value")
    # §8.2.2: connection-specific fields; TE may say "trailers" and nothing else.
    if name in _CONNECTION_FIELDS or (name == b"te" and value != b"trailers"):
        raise BadRequest("invalid_request", "connection-specific field")
    if name == b"content-length" and not _LENGTH.fullmatch(value):
        raise BadRequest("invalid_request", "malformed content-length")


def build_forward(forward: Forward, verdict: Verdict, content: bytes | None = None) -> Request:
    """Return what the upstream gets: the core's fields, our framing.

    Its version says which protocol it came by, since mitmproxy keeps upstream connections accordingly;
    mitmproxy's own clients write it as the protocol that they speak. Framing is completed by the layer, once
    it is known what the upstream speaks.
    """
    upstream = forward.upstream
    is_multiplexed = verdict.version in {b"HTTP/2.0", b"HTTP/3"}
    fields = [*forward.kept]
    for edits in forward.edits:
        fields.extend(edits.pairs)
    if forward.finish.is_websocket:
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    authority = b""
    if is_multiplexed:
        authority = b"".join(value for name, value in fields if name.lower() == b"host")
        fields = [(name.lower(), value) for name, value in fields if name.lower() != b"host"]
    if content is None:
        fields.extend(verdict.framing)
    else:
        fields.append((b"content-length", b"%d" % len(content)))
    request = make_request(
        host=upstream.host,
        port=upstream.port,
        method=forward.method,
        scheme=upstream.scheme.encode("ascii"),
        authority=authority,
        path=forward.target,
        http_version=verdict.version if is_multiplexed else b"HTTP/1.1",
        pairs=fields,
        content=content,
        started=time.time(),
    )
    if content is None:
        request.stream = True
    return request


def build_own_answer(wire: WireResponse, *, is_head: bool, closes: bool) -> Response:
    """Return an answer of ours with its framing."""
    fields = [*wire.headers, (b"Date", formatdate(usegmt=True).encode("ascii"))]
    if wire.status >= _FIRST_FINAL and wire.status not in _NO_CONTENT:
        fields.append((b"Content-Length", b"%d" % len(wire.body)))
    if closes:
        fields.append(_CLOSE)
    return build_answer(wire.status, fields, b"" if is_head else wire.body)


def build_answer(status: int, fields: Iterable[HeaderPair], content: bytes | None) -> Response:
    """Return an answer as mitmproxy has it; without `content` it is streamed."""
    reason = _REASONS.get(status, b"")
    return make_response(status=status, reason=reason, pairs=fields, content=content, started=time.time())


def answer_framing(
    verdict: Verdict, status: int, upstream_fields: Sequence[HeaderPair]
) -> tuple[HeaderPair, ...]:
    """Return the framing fields of a streamed answer (RFC 9112 §6): the upstream's length, or chunks.

    A client of HTTP/1.0 knows no chunks: its answer ends with the connection.
    """
    if status < _FIRST_FINAL or status == _EMPTY:
        return ()
    named = {name.lower(): value for name, value in upstream_fields}
    length = named.get(b"content-length")
    if length is not None and b"transfer-encoding" not in named:
        return ((b"Content-Length", length),)
    if status in _NO_CONTENT or verdict.method == b"HEAD":
        return ()
    if verdict.version == b"HTTP/1.1":
        return (_CHUNKED,)
    return (_CLOSE,) if verdict.version == b"HTTP/1.0" else ()


def _reasons() -> dict[int, bytes]:
    from http import HTTPStatus

    return {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


_REASONS: Final = _reasons()
