"""The head of an upstream's answer: bytes in; status, fields and framing out.

RFC 9112 §4, §6.3. Framing fields are taken out of `headers`: the engine writes its own. Whatever is
ambiguous (two lengths, a length beside chunked, an unknown coding) makes the answer unusable: a proxy that
guesses where an answer ends hands one user's bytes to another.
"""

from __future__ import annotations

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from sidecar.core.errors import SurroundingsError
from sidecar.core.http import HeaderPair
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
from sidecar.engines.express.wire import has_no_body

__all__ = ["AnswerBroken", "AnswerParser"]

# What an upstream may cost us. nginx refuses at 4 or 8 KiB, Envoy at 60 KiB.
_MAX_HEAD_BYTES: Final = 262144
_END: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_STATUS_LINES: Final[dict[bytes, tuple[int, bool, bool, bytes]]] = {}
_MAX_STATUS_LINES: Final = 256
_MAX_STATUS_LINE_BYTES: Final = 256


class AnswerBroken(SurroundingsError):
    """The upstream answered with something that is not HTTP/1, or that has no certain end."""

    def __init__(self, detail: str) -> None:
        """Keep what was wrong, for the log."""
        super().__init__("upstream_broken", detail)


def _read_status_line(line: bytes) -> tuple[int, bool, bool, bytes]:
    """Return status, whether it has a body, whether the version is 1.1, and the line that we send.

    Raises AnswerBroken.
    """
    found = _STATUS_LINE.fullmatch(line)
    if found is None or len(line) > _MAX_STATUS_LINE_BYTES:
        raise AnswerBroken("malformed status line")
    minor, digits, phrase = found.groups()
    status = int(digits)
    read = (status, not has_no_body(status), minor == b"1", b"HTTP/1.1 %b %b\r\n" % (digits, phrase or b""))
    if len(_STATUS_LINES) < _MAX_STATUS_LINES:
        _STATUS_LINES[line] = read
    return read


class AnswerParser:
    """Reads one whole head at a time; the results are its attributes until the next call.

    One object serves all upstream connections of a loop. `length` is -1 when the head names none; `has_body`
    is what the status says (the method may say otherwise).
    """

    __slots__ = (
        "_options",
        "has_body",
        "has_date",
        "headers",
        "is_chunked",
        "keep_alive",
        "length",
        "line",
        "status",
    )

    def __init__(self) -> None:
        """Hold nothing; the attributes are set by `parse`."""
        self._options = 0
        self.headers: list[HeaderPair] = []
        self.status = 0
        self.line = b""
        self.length = -1
        self.has_body = False
        self.is_chunked = False
        self.keep_alive = False
        self.has_date = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field, or read it when it is framing's (called by llhttp)."""
        try:
            kind = KINDS[name]
        except KeyError:
            kind = classify(name)
        if not kind:
            self.headers.append((name, value))
        elif kind == DATE:
            self.has_date = True
            self.headers.append((name, value))
        elif not self._read_marked(kind, value):
            self.headers.append((name, value))

    def _read_marked(self, kind: int, value: bytes) -> bool:
        """Read what framing and reuse depend on (RFC 9112 §6.3, §9.3); True for what is not passed on."""
        if kind == CONTENT_LENGTH:
            if self.length >= 0:
                raise AnswerBroken("second Content-Length")
            self.length = parse_length(value)
            if self.length < 0:
                raise AnswerBroken("malformed Content-Length")
            return True
        if kind == CONNECTION:
            self._options |= connection_options(value)
        elif kind == TRANSFER_ENCODING:
            if self.is_chunked or value.strip(b" \t").lower() != b"chunked":
                raise AnswerBroken("unusable Transfer-Encoding")
            self.is_chunked = True
            return True
        return False

    def parse(self, data: bytes) -> int:
        """Read the head at the start of `data`; return where it ends, 0 when its end has not arrived.

        Raises AnswerBroken: the upstream's fault; its connection can't be used any more.
        """
        end = data.find(_END)
        if not 0 <= end <= _MAX_HEAD_BYTES:
            self._check_beginning(data)
            return 0
        end += 4
        line = data[: data.find(b"\r\n")]
        read = _STATUS_LINES.get(line)
        self.status, self.has_body, is_11, self.line = read if read is not None else _read_status_line(line)
        self.headers = []
        self._options = 0
        self.length = -1
        self.is_chunked = self.has_date = False
        try:
            # A fresh one each time: whatever the last one waits for can't touch this answer.
            HttpResponseParser(self).feed_data(data if end == len(data) else data[:end])
        except HttpParserUpgrade:
            pass  # a 101: what follows is not HTTP, and not llhttp's
        except HttpParserError as error:
            # What one of our callbacks raised is the context of llhttp's error.
            found = error.__context__
            raise AnswerBroken(found.detail if isinstance(found, AnswerBroken) else str(error)) from error
        if self.is_chunked and (self.length >= 0 or not is_11):
            # RFC 9112 §6.1: with HTTP/1.0, or beside a length, the framing is faulty.
            raise AnswerBroken("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
        options = self._options
        self.keep_alive = not options & CLOSE and (is_11 or bool(options & KEEP_ALIVE))
        return end

    @staticmethod
    def _check_beginning(data: bytes) -> None:
        """Refuse at once what is too large, and what does not begin as an answer does: another protocol."""
        if len(data) > _MAX_HEAD_BYTES:
            raise AnswerBroken("head too large")
        if not data.startswith(b"HTTP/1."[: len(data)]):
            raise AnswerBroken("not HTTP/1")
