"""The head of an upstream's answer: bytes in; status, fields and framing out.

RFC 9112 §4, §6.3. Framing fields are taken out of `headers`: the engine writes its own. Whatever is
ambiguous (two lengths, a length beside chunked, an unknown coding) makes the answer unusable: a proxy that
guesses where an answer ends hands one user's bytes to another.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.core.decision import Finish
from sidecar.core.errors import SurroundingsError
from sidecar.core.http import HeaderPair
from sidecar.core.recurring import Recurring
from sidecar.engines.express.fields import (
    CLOSE,
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    KEEP_ALIVE,
    KINDS,
    TRANSFER_ENCODING,
    classify,
    connection_options,
    parse_length,
)
from sidecar.engines.express.wire import build_head, has_no_body

__all__ = ["AnswerBroken", "AnswerParser", "ParsedAnswer"]

# What an upstream may cost us. nginx refuses at 4 or 8 KiB, Envoy at 60 KiB.
_MAX_HEAD_BYTES: Final = 262144
_END: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_STATUS_LINES: Final[dict[bytes, tuple[int, bool, bool, bytes]]] = {}
_MAX_STATUS_LINES: Final = 256
_MAX_STATUS_LINE_BYTES: Final = 256
# What llhttp takes, less an empty name (RFC 9110 §5.1, §5.5): no control character but the tab.
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
# Some 1 MiB in all, with what is made of them.
_KNOWN_HEADS: Final = 256
_MAX_KNOWN_HEAD: Final = 1024
_KNOWN_FIELDS: Final = 512
_MAX_KNOWN_FIELD: Final = 128


class AnswerBroken(SurroundingsError):
    """The upstream answered with something that is not HTTP/1, or that has no certain end."""

    def __init__(self, detail: str) -> None:
        """Keep what was wrong, for the log."""
        super().__init__("upstream_broken", detail)


def _read_status_line(line: bytes) -> tuple[int, bool, bool, bytes]:
    """Return status, whether it has a body, whether the version is 1.1, and the line that we send.

    Raises AnswerBroken.
    """
    known = _STATUS_LINES.get(line)
    if known is not None:
        return known
    found = _STATUS_LINE.fullmatch(line)
    if found is None or len(line) > _MAX_STATUS_LINE_BYTES:
        raise AnswerBroken("malformed status line")
    minor, digits, phrase = found.groups()
    status = int(digits)
    read = (status, not has_no_body(status), minor == b"1", b"HTTP/1.1 %b %b\r\n" % (digits, phrase or b""))
    if len(_STATUS_LINES) < _MAX_STATUS_LINES:
        _STATUS_LINES[line] = read
    return read


class ParsedAnswer:
    """The head of an answer, read.

    `length` is -1 when it names none; `has_body` is what the status says (the method may say otherwise).
    `plain` is the whole head as it goes downstream by `finish`, the core's word on it, to whoever needs no
    other framing than that of a body of `length` bytes on a connection that is kept.
    """

    __slots__ = (
        "finish",
        "has_body",
        "has_date",
        "has_passed",
        "headers",
        "is_chunked",
        "keep_alive",
        "length",
        "line",
        "plain",
        "status",
    )

    def __init__(self, status: int, line: bytes, has_body: bool) -> None:  # noqa: FBT001  on the hot path
        """Begin with what the status line says."""
        self.status = status
        self.line = line
        self.has_body = has_body
        self.headers: list[HeaderPair] = []
        self.length = -1
        self.is_chunked = self.has_date = self.keep_alive = self.has_passed = False
        self.finish: Finish | None = None
        self.plain = b""

    def prepare(self, finish: Finish, headers: list[HeaderPair]) -> None:
        """Prepare what goes downstream, once the head has come again: `headers` are those that pass."""
        if not self.has_passed:
            self.has_passed = True
        elif self.has_body and self.length >= 0 and self.keep_alive and self.has_date:
            self.finish = finish
            framing = b"Content-Length: %d\r\n" % self.length
            self.plain = build_head(self.line, headers, framing)


class AnswerParser:
    """Reads answer heads, for all upstream connections of a loop.

    Applications answer with the same few heads again and again, and with the same lines in heads that differ:
    both are known by their bytes and not read anew.

    A field line means the same wherever it stands, since one that continues the line before it (RFC 9112
    §5.2, obs-fold) is refused; so no parser with a state is needed here.
    """

    __slots__ = ("_fields", "_heads")

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._fields = Recurring(_read_field, entries=_KNOWN_FIELDS, max_bytes=_MAX_KNOWN_FIELD)
        self._heads = Recurring(self._read, entries=_KNOWN_HEADS, max_bytes=_MAX_KNOWN_HEAD)

    def parse(self, data: bytes) -> tuple[ParsedAnswer, int] | None:
        """Return the head at the start of `data` and where it ends, None when its end has not arrived.

        Raises AnswerBroken: the upstream's fault; its connection can't be used any more.
        """
        end = data.find(_END)
        if not 0 <= end <= _MAX_HEAD_BYTES:
            _check_beginning(data)
            return None
        end += 4
        return self._heads[data if end == len(data) else data[:end]], end

    def _read(self, head: bytes) -> ParsedAnswer:
        """Read a head that is not known. Raises AnswerBroken."""
        lines = head.split(b"\r\n")
        status, has_body, is_11, line = _read_status_line(lines[0])
        answer = ParsedAnswer(status, line, has_body)
        known, keep = self._fields, answer.headers.append
        options = 0
        for field in lines[1:-2]:
            pair, kind = known[field]
            if not kind:
                keep(pair)
            elif kind == CONTENT_LENGTH:
                _take_length(answer, pair[1])
            elif kind == TRANSFER_ENCODING:
                _take_coding(answer, pair[1])
            else:
                keep(pair)
                if kind == DATE:
                    answer.has_date = True
                elif kind == CONNECTION:
                    options |= connection_options(pair[1])
        if answer.is_chunked and (answer.length >= 0 or not is_11):
            # RFC 9112 §6.1: with HTTP/1.0, or beside a length, the framing is faulty.
            raise AnswerBroken("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
        answer.keep_alive = not options & CLOSE and (is_11 or bool(options & KEEP_ALIVE))
        return answer


def _read_field(line: bytes) -> tuple[HeaderPair, int]:
    """Return a field and its kind (RFC 9112 §5; white space behind the value stays). Raises AnswerBroken."""
    found = _FIELD.fullmatch(line)
    if found is None:
        raise AnswerBroken("malformed field")
    pair: HeaderPair = (found[1], found[2])
    kind = KINDS.get(pair[0])
    return pair, classify(pair[0]) if kind is None else kind


def _take_length(answer: ParsedAnswer, value: bytes) -> None:
    if answer.length >= 0:
        raise AnswerBroken("second Content-Length")
    answer.length = parse_length(value)
    if answer.length < 0:
        raise AnswerBroken("malformed Content-Length")


def _take_coding(answer: ParsedAnswer, value: bytes) -> None:
    if answer.is_chunked or value.strip(b" \t").lower() != b"chunked":
        raise AnswerBroken("unusable Transfer-Encoding")
    answer.is_chunked = True


def _check_beginning(data: bytes) -> None:
    """Refuse at once what is too large, and what does not begin as an answer does: another protocol."""
    if len(data) > _MAX_HEAD_BYTES:
        raise AnswerBroken("head too large")
    if not data.startswith(b"HTTP/1."[: len(data)]):
        raise AnswerBroken("not HTTP/1")
