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

__all__ = ["AnswerBroken", "AnswerParser"]

# What an upstream may cost us. nginx refuses at 4 or 8 KiB, Envoy at 60 KiB.
_MAX_HEAD_BYTES: Final = 262144
# Taken out of what the core and the downstream see: the engine writes its own.
_FRAMING: Final = (CONTENT_LENGTH, TRANSFER_ENCODING)
_END: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_STATUS_LINES: Final[dict[bytes, tuple[int, bool, bytes]]] = {}
_MAX_STATUS_LINES: Final = 256
_MAX_STATUS_LINE_BYTES: Final = 256


class AnswerBroken(SurroundingsError):
    """The upstream answered with something that is not HTTP/1, or that has no certain end."""

    def __init__(self, detail: str) -> None:
        """Keep what was wrong, for the log."""
        super().__init__("upstream_broken", detail)


def _read_status_line(line: bytes) -> tuple[int, bool, bytes]:
    """Return status, whether the version is 1.1, and the line that we send. Raises AnswerBroken."""
    found = _STATUS_LINE.fullmatch(line)
    if found is None or len(line) > _MAX_STATUS_LINE_BYTES:
        raise AnswerBroken("malformed status line")
    minor, status, phrase = found.groups()
    read = (int(status), minor == b"1", b"HTTP/1.1 %b %b\r\n" % (status, phrase or b""))
    if len(_STATUS_LINES) < _MAX_STATUS_LINES:
        _STATUS_LINES[line] = read
    return read


class AnswerParser:
    """Reads one whole head at a time; the results are its attributes until the next call.

    One object serves all upstream connections of a loop. `length` is -1 when the head names none.
    """

    __slots__ = (
        "_llhttp",
        "_marked",
        "has_date",
        "headers",
        "is_chunked",
        "keep_alive",
        "length",
        "line",
        "status",
    )

    def __init__(self) -> None:
        """Begin with a fresh parser; the attributes are set by `parse`."""
        self._llhttp = HttpResponseParser(self)
        self._marked: list[tuple[int, bytes]] = []
        self.headers: list[HeaderPair] = []
        self.status = 0
        self.line = b""
        self.length = -1
        self.is_chunked = False
        self.keep_alive = False
        self.has_date = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field that is not framing (called by llhttp)."""
        try:
            kind = KINDS[name]
        except KeyError:
            kind = classify(name)
        if kind:
            self._marked.append((kind, value))
            if kind in _FRAMING:
                return
        self.headers.append((name, value))

    def parse(self, data: bytes) -> int:
        """Read the head at the start of `data`; return where it ends, 0 when its end has not arrived.

        Raises AnswerBroken: the upstream's fault; its connection can't be used any more.
        """
        end = data.find(_END)
        if end > _MAX_HEAD_BYTES or (end < 0 and len(data) > _MAX_HEAD_BYTES):
            raise AnswerBroken("head too large")
        if end < 0:
            self._check_beginning(data)
            return 0
        end += 4
        line = data[: data.find(b"\r\n")]
        read = _STATUS_LINES.get(line)
        self.status, is_11, self.line = read if read is not None else _read_status_line(line)
        self.headers = []
        self._marked = []
        try:
            self._llhttp.feed_data(data if end == len(data) else data[:end])
        except HttpParserUpgrade:
            self._llhttp = HttpResponseParser(self)
        except HttpParserError as error:
            self._llhttp = HttpResponseParser(self)
            raise AnswerBroken(str(error)) from error
        self._read_marked(is_11=is_11)
        return end

    def settle(self, body: bytes) -> None:
        """Tell what followed the head in the same read.

        llhttp waits for as many bytes as the head announced. When they are all here it is given them, which
        is cheaper than a new parser; else it is replaced.
        """
        if self.length == len(body) and self.keep_alive and not self.is_chunked:
            try:
                self._llhttp.feed_data(body)
            except (HttpParserError, HttpParserUpgrade):
                self._llhttp = HttpResponseParser(self)
        else:
            self._llhttp = HttpResponseParser(self)

    @staticmethod
    def _check_beginning(data: bytes) -> None:
        """Refuse at once what does not begin as an answer does: HTTP/0.9, TLS, another protocol."""
        if not data.startswith(b"HTTP/1."[: len(data)]):
            raise AnswerBroken("not HTTP/1")

    def _read_marked(self, *, is_11: bool) -> None:
        """Read what framing and reuse depend on (RFC 9112 §6.3, §9.3)."""
        options = 0
        self.length = -1
        self.is_chunked = self.has_date = False
        for kind, value in self._marked:
            if kind == CONTENT_LENGTH:
                length = parse_length(value)
                if length < 0 or self.length >= 0:
                    raise AnswerBroken("malformed or second Content-Length")
                self.length = length
            elif kind == DATE:
                self.has_date = True
            elif kind == CONNECTION:
                options |= connection_options(value)
            elif kind == TRANSFER_ENCODING:
                # RFC 9112 §6.1: with HTTP/1.0 the framing is faulty.
                if self.is_chunked or not is_11 or value.strip(b" \t").lower() != b"chunked":
                    raise AnswerBroken("unusable Transfer-Encoding")
                self.is_chunked = True
        if self.is_chunked and self.length >= 0:
            raise AnswerBroken("Transfer-Encoding beside Content-Length")
        self.keep_alive = not options & CLOSE and (is_11 or bool(options & KEEP_ALIVE))
