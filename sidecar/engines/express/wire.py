"""Values to bytes: request heads for upstreams, answer heads for downstreams (RFC 9112 §3, §4, §6).

What goes out is made from what was parsed, never the bytes that came in. Each head is one bytes join.
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.core.decision import Forward
    from sidecar.core.http import HeaderPair, Response

__all__ = [
    "CHUNKED",
    "CONNECTION_CLOSE",
    "CONNECTION_KEEP_ALIVE",
    "CONTINUE",
    "UPGRADE",
    "build_date",
    "build_fields",
    "build_head",
    "build_request",
    "build_response",
    "build_status_line",
    "build_tail",
    "has_no_body",
    "split_at_date",
]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
CONNECTION_CLOSE: Final = b"Connection: close\r\n"
CONNECTION_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
UPGRADE: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"

_CRLF: Final = b"\r\n"
_join_pair: Final = b": ".join
_join_lines: Final = _CRLF.join
_join: Final = b"".join

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode("ascii"))
    for status in HTTPStatus
}


def build_status_line(status: int) -> bytes:
    """Return the status line of an answer of ours."""
    line = _STATUS_LINES.get(status)
    return line if line is not None else b"HTTP/1.1 %d \r\n" % status


def has_no_body(status: int) -> bool:
    """Tell whether an answer with `status` never has a body (RFC 9112 §6.3 rule 1)."""
    return status == 204 or status == 304 or status < 200  # noqa: PLR1714, PLR2004  RFC 9110 §15; hot path


def build_date(now: float) -> bytes:
    """Return the Date field for `now` (seconds since the epoch), RFC 9110 §6.6.1."""
    return b"Date: %b\r\n" % formatdate(now, usegmt=True).encode("ascii")


def build_fields(headers: Sequence[HeaderPair]) -> bytes:
    """Return complete field lines; nothing for none (an empty join would end the head)."""
    return _join_lines(map(_join_pair, headers)) + _CRLF if headers else b""


def build_request(method: bytes, target: bytes, tail: bytes) -> bytes:
    """Return the head that goes upstream; `tail` comes from `build_tail`."""
    return _join((method, b" ", target, tail))


def build_tail(forward: Forward, framing: bytes) -> bytes:
    """Return what follows the target in a request's head; `framing` are complete field lines."""
    blocks = _join([edits.block for edits in forward.edits])
    return _join((b" HTTP/1.1\r\n", build_fields(forward.kept), blocks, framing, _CRLF))


def build_head(line: bytes, headers: Sequence[HeaderPair], framing: bytes) -> bytes:
    """Return an answer's head; `line` is a complete status line, `framing` complete field lines."""
    return _join((line, build_fields(headers), framing, _CRLF))


def build_response(
    status: int, headers: Sequence[HeaderPair], body: bytes, framing: bytes, *, is_head: bool
) -> bytes:
    """Return a whole answer of ours; the answer to HEAD tells the length and has no body."""
    if has_no_body(status):
        return build_head(build_status_line(status), headers, framing)
    head = build_head(build_status_line(status), headers, b"%bContent-Length: %d\r\n" % (framing, len(body)))
    return head if is_head else head + body


def split_at_date(response: Response) -> tuple[bytes, bytes]:
    """Return the bytes of an answer of ours (without a page) that go before Date, and those behind it."""
    whole = build_response(response.status, response.headers, response.body, b"", is_head=False)
    end = whole.find(b"\r\n\r\n") + len(_CRLF)
    return whole[:end], whole[end:]
