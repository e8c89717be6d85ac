"""The original request, taken out of the request that an ingress asks with (S48-S50).

Each part comes from the one field that the dialect names for it, exactly once. What is missing, there twice,
or in a form that no honest ingress sends is refused: a verdict on a guess would be a verdict on another
request than the one that goes to the application.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import BadRequest
from sidecar.core.forwarded import check_scheme
from sidecar.core.recurring import Recurring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.core.forwardauth.dialects import Dialect
    from sidecar.core.http import HeaderPair, RequestHead

__all__ = ["Original", "read_names", "read_original"]

# What only the asking request has: the ingress's own connection and framing, and what it tells of the other.
_OF_THE_ASKING: Final = frozenset(
    b"host connection content-length transfer-encoding expect x-doorward-secret x-original-method"
    b" x-original-uri x-original-url x-forwarded-method x-forwarded-uri x-forwarded-host x-forwarded-proto"
    b" x-forwarded-for x-real-ip".split()
)
_HANDSHAKE: Final = frozenset({b"sec-websocket-key", b"sec-websocket-version"})
_READ: Final = _OF_THE_ASKING | _HANDSHAKE | frozenset({b"cookie", b"upgrade", b"origin"})
_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §9.1, §5.6.2
# No user information (RFC 9110 §4.2.4).
_URL: Final = re.compile(
    rb"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?#@\\]+)(?P<target>/.*)", re.DOTALL
)


def _lower(name: bytes) -> bytes:
    """Return a name in lower case if a question is read from such fields, else nothing."""
    lower = name.lower()
    return lower if lower in _READ else b""


_LOWER: Final = Recurring(_lower, entries=2048, max_bytes=64)


class Original:
    """The request that is asked about. `method` is b"" where the dialect does not tell it.

    `chain` holds the addresses that it came by, as in X-Forwarded-For; `cookie` is its joined Cookie fields;
    `has_origin`: a page made it (Fetch §3.2);
    `is_handshake`: it may become a WebSocket, as far as can be seen (an ingress drops Upgrade on the way to
    us). A plain slots class, because one is made for each request that is asked about.
    """

    __slots__ = ("chain", "cookie", "has_origin", "host", "is_handshake", "method", "target")

    def __init__(  # noqa: PLR0917  made in one place only
        self,
        method: bytes,
        target: bytes,
        host: bytes,
        chain: bytes,
        cookie: bytes | None,
        is_handshake: bool,  # noqa: FBT001  likewise
        has_origin: bool,  # noqa: FBT001  likewise
    ) -> None:
        """Keep the parts."""
        self.method = method
        self.target = target
        self.host = host
        self.chain = chain
        self.cookie = cookie
        self.is_handshake = is_handshake
        self.has_origin = has_origin

    def own_headers(self, headers: Sequence[HeaderPair]) -> list[HeaderPair]:
        """Return the original request's fields among those of the asking one, Host first."""
        return [(b"Host", self.host), *(pair for pair in headers if pair[0].lower() not in _OF_THE_ASKING)]


def read_names(headers: Sequence[HeaderPair]) -> dict[bytes, list[bytes]]:
    """Return the values of the fields that a question is read from, by the name in lower case, in order."""
    named: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lower = _LOWER[name]
        if lower:
            if lower in named:
                named[lower].append(value)
            else:
                named[lower] = [value]
    return named


def read_original(
    dialect: Dialect, head: RequestHead, named: dict[bytes, list[bytes]], rest: bytes
) -> Original:
    """Return the request that `head` asks about; `named` are its fields, `rest` what stands behind our path.

    Raises BadRequest: "invalid_request" or "invalid_forwarded", with a detail that names the field.
    """
    lengths = named.get(b"content-length")
    if b"transfer-encoding" in named or (lengths and any(value != b"0" for value in lengths)):
        raise BadRequest("invalid_request", "the asking request has a body; have the ingress send none")
    target, host = rest, b""
    if dialect.target:
        target = _single(named, dialect.target)
    if dialect.is_url:
        target, host = _take_apart(dialect.target, target)
    elif not target.startswith(b"/"):
        raise BadRequest("invalid_request", f"{_name(dialect.target)} is no path")
    if not host:
        is_told = dialect.host and not (dialect.may_lack_host and dialect.host not in named)
        host = _single(named, dialect.host if is_told else b"host")
    for scheme in _at_most_one(named, dialect.scheme):
        check_scheme(scheme)
    cookies = named.get(b"cookie")
    return Original(
        _method(dialect, head, named),
        target,
        host,
        _chain(dialect, named),
        b"; ".join(cookies) if cookies else None,
        not _HANDSHAKE.isdisjoint(named) or b"websocket" in b",".join(named.get(b"upgrade", ())).lower(),
        b"origin" in named,
    )


def _method(dialect: Dialect, head: RequestHead, named: dict[bytes, list[bytes]]) -> bytes:
    if dialect.method is None:
        return b""
    method = _single(named, dialect.method) if dialect.method else head.method
    if not _METHOD.fullmatch(method):
        raise BadRequest("invalid_request", f"{_name(dialect.method)} is no method")
    return method


def _chain(dialect: Dialect, named: dict[bytes, list[bytes]]) -> bytes:
    """Return where the request comes from. Without it, a rule about networks would see the ingress's own."""
    values = named.get(dialect.address) or named.get(b"x-forwarded-for")
    chain = values[0] if values and len(values) == 1 else b",".join(values or ()).strip(b" \t,")
    if not chain:
        raise BadRequest(
            "invalid_forwarded",
            f"{_name(dialect.address)} is missing; have the ingress send its client's address",
        )
    return chain


def _take_apart(field: bytes, url: bytes) -> tuple[bytes, bytes]:
    found = _URL.fullmatch(url)
    if found is None:
        raise BadRequest("invalid_request", f"{_name(field)} is no URL with a host and a path")
    check_scheme(found["scheme"])
    return found["target"], found["host"]


def _single(named: dict[bytes, list[bytes]], field: bytes) -> bytes:
    values = named.get(field, ())
    if len(values) != 1 or not values[0]:
        count = "there more than once" if len(values) > 1 else "missing"
        raise BadRequest("invalid_request", f"{_name(field)} is {count}")
    return values[0]


def _at_most_one(named: dict[bytes, list[bytes]], field: bytes) -> list[bytes]:
    values = named.get(field, [])
    if len(values) > 1:
        raise BadRequest("invalid_request", f"{_name(field)} is there more than once")
    return values


def _name(field: bytes) -> str:
    return field.decode("ascii").title() if field else "the path behind the dialect's name"
