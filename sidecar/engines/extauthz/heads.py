"""A `CheckRequest` to a request head: the one that Envoy's HTTP form would have sent about the same request.

The head is written as bytes and read by the parser of the express engine, so that a field's syntax, the
limits and the one Host are judged where they are judged for every other request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from sidecar.core.http import RequestHead
from sidecar.core.hygiene import fold
from sidecar.engines.express.requesthead import HeadRefused, RequestParser

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
    from envoy.service.auth.v3.external_auth_pb2 import CheckRequest

    from sidecar.core.http import HeaderPair
    from sidecar.core.runtime import Limits

__all__ = ["Heads", "peer_address"]

SECRET: Final = b"x-doorward-secret"
"""What the caller proves itself by: a field of the call, or a context extension, which Envoy's configuration
writes. Never a field of the request that is asked about, which a browser writes."""

# The body is not sent along, so neither is how it was framed.
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"te", b"trailer", b"expect"})
_FORWARDED: Final = ((b"x-forwarded-proto", b"X-Forwarded-Proto"), (b"x-forwarded-for", b"X-Forwarded-For"))


class Heads:
    """Builds heads; `path` is the one of ours at which Envoy asks: `<prefix>/auth/envoy`."""

    __slots__ = ("_parser", "_path")

    def __init__(self, limits: Limits, path: bytes) -> None:
        """Keep to `limits`, as any other listener."""
        self._parser = RequestParser(limits)
        self._path = path

    def build(
        self, request: CheckRequest, secrets: Iterable[bytes], *, peer: str, request_id: str, is_tls: bool
    ) -> RequestHead:
        """Return the head of a CheckRequest whose call carried `secrets`.

        Raises HeadRefused when it tells of no request, or of two.
        """
        attributes = request.attributes
        if not attributes.request.HasField("http"):
            raise HeadRefused(400, "no HTTP request in the attributes")
        http = attributes.request.http
        host, target = http.host.encode(), http.path.encode()
        if not target.startswith(b"/"):
            raise HeadRefused(400, "the original target is no path")
        told = list(_fields(http))
        _check_pseudo_fields(told, host=host, target=target, method=http.method.encode())
        fields = [(b"Host", host), *(pair for pair in told if _is_passed(pair[0]))]
        names = {name.lower() for name, _ in fields}
        by_default = (http.scheme.encode(), attributes.source.address.socket_address.address.encode())
        for (lower, name), value in zip(_FORWARDED, by_default, strict=True):
            if lower not in names and value:
                fields.append((name, value))
        fields.extend((b"X-Doorward-Secret", secret) for secret in secrets)
        fields.extend(_extension(attributes))
        headers = self._read(http.method.encode(), self._path + target, fields)
        parser = self._parser
        return RequestHead(parser.method, parser.target, headers, peer, request_id, is_tls)

    def _read(self, method: bytes, target: bytes, fields: list[HeaderPair]) -> list[HeaderPair]:
        """Parse what was put together; it must come out as it went in."""
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, b"".join(b"%b: %b\r\n" % p for p in fields))
        line_ends = len(fields) + 2
        if head.count(b"\n") != line_ends or head.count(b"\r") != line_ends:
            raise HeadRefused(400, "a line end within a field")
        parser = self._parser
        if parser.parse(head) != len(head):
            raise HeadRefused(400, "not one head")
        if [name for name, _ in parser.headers] != [name for name, _ in fields]:
            raise HeadRefused(400, "a field that is not one")
        return parser.headers


def peer_address(peer: str) -> str:
    """Return the address of a gRPC peer ("ipv4:127.0.0.1:4711", "ipv6:%5B::1%5D:4711", "unix:...")."""
    kind, _, rest = unquote(peer).partition(":")
    if kind == "unix":
        return "unix"
    if kind not in {"ipv4", "ipv6"}:
        return "unknown"  # is in no network
    address = rest.rpartition(":")[0].removeprefix("[").removesuffix("]").removeprefix("::ffff:")
    return address.partition("%")[0]  # without an IPv6 zone, as the express engine's


def _fields(http: AttributeContext.HttpRequest) -> Iterator[HeaderPair]:
    """Return the fields: as they came where Envoy tells them so (`encode_raw_headers`), else joined by it."""
    if http.HasField("header_map"):
        for field in http.header_map.headers:
            yield field.key.encode(), field.raw_value or field.value.encode()
        return
    for name, value in http.headers.items():
        yield name.encode(), value.encode()


def _extension(attributes: AttributeContext) -> list[HeaderPair]:
    extensions = attributes.context_extensions
    name = SECRET.decode("ascii")
    return [(b"X-Doorward-Secret", extensions[name].encode())] if name in extensions else []


def _check_pseudo_fields(told: list[HeaderPair], *, host: bytes, target: bytes, method: bytes) -> None:
    """Hold the fields that HTTP/2 begins with against what is told beside them (S49)."""
    expected = {b":authority": host, b":path": target, b":method": method}
    for name, value in told:
        if name in expected and value != expected[name]:
            raise HeadRefused(400, "the request is told in two ways")


def _is_passed(name: bytes) -> bool:
    return not name.startswith(b":") and name.lower() not in _FRAMING and fold(name) != SECRET
