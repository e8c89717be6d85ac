"""What a case is, and short ways to write one."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.core.http import HeaderPair
from tests.conformance.setting import COOKIE

__all__ = [
    "ALICE",
    "BAD",
    "BAD_OR_UNKNOWN",
    "HOST",
    "NO_IDENTITY",
    "OK",
    "SIGNED_IN",
    "SMUGGLED",
    "WEBSOCKET",
    "Arrival",
    "Case",
    "get",
    "length",
    "malformed",
    "passes",
    "refused",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request as the upstream must receive it.

    `line` without the version. `has`: fields by name in any case and exact value, each once. `lacks`: names
    in lower case, folded (`_`, `.` and `-` are one).
    """

    line: bytes
    has: tuple[HeaderPair, ...] = ()
    lacks: frozenset[bytes] = frozenset()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One connection: `name` says the rule, `lines` the lines of the security checklist that it proves.

    What the other fields mean is in `tests.conformance.cases`.
    """

    name: str
    lines: tuple[str, ...]
    request: bytes
    answers: tuple[frozenset[int], ...]
    arrives: tuple[Arrival, ...] = ()
    interim: tuple[int, ...] = ()
    closes: bool = False
    never: tuple[bytes, ...] = ()
    answer_has: tuple[HeaderPair, ...] = ()
    answer_lacks: frozenset[bytes] = frozenset()
    upstream: bytes | None = None
    in_head: bool = True


HOST = b"Host: app.example.com\r\n"
SIGNED_IN = b"Cookie: " + COOKIE + b"\r\n"
WEBSOCKET = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)
SMUGGLED = b"GET /public/smuggled HTTP/1.1\r\nHost: app.example.com\r\n\r\n"
OK = frozenset({200})
BAD = frozenset({400})
# Where a parser may tell the kind of its refusal: a version it does not speak, a method it does not know.
BAD_OR_UNKNOWN = frozenset({400, 405, 501, 505})
ALICE = ((b"X-Forwarded-User", b"alice"), (b"X-Forwarded-Email", b"alice@example.com"))
NO_IDENTITY = frozenset(
    {
        b"x-forwarded-user",
        b"x-forwarded-email",
        b"x-forwarded-groups",
        b"x-forwarded-preferred-username",
        b"x-auth-request-user",
        b"remote-user",
    }
)


def get(
    target: bytes, *fields: bytes, host: bytes = HOST, method: bytes = b"GET", body: bytes = b""
) -> bytes:
    """Return the bytes of a request; fields end with CRLF."""
    return method + b" " + target + b" HTTP/1.1\r\n" + host + b"".join(fields) + b"\r\n" + body


def length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n" % len(body)


def passes(name: str, line: str, request: bytes, arrival: Arrival, *never: bytes) -> Case:
    """Return a case in which one request arrives."""
    return Case(
        name=name, lines=tuple(line.split()), request=request, answers=(OK,), arrives=(arrival,), never=never
    )


def refused(name: str, line: str, request: bytes, status: int = 400, *, in_head: bool = True) -> Case:
    """Return a case in which nothing arrives; 400 ends the connection."""
    return Case(
        name=name,
        lines=tuple(line.split()),
        request=request,
        answers=(frozenset({status}),),
        closes=status == 400 and not in_head,
        in_head=in_head,
    )


def malformed(name: str, line: str, request: bytes, answers: frozenset[int] = BAD) -> Case:
    """Return a case that a parser must refuse, ending the connection; the smuggled request never arrives."""
    return Case(
        name=name,
        lines=tuple(line.split()),
        request=request + SMUGGLED,
        answers=(answers,),
        closes=True,
        never=(b"smuggled",),
        in_head=False,
    )
