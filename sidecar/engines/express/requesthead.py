"""The head of a request: bytes in, the parts of a RequestHead out, or a refusal.

httptools checks tokens, field syntax and line ends. What it lets pass (each a test of its name) is refused
here: protocols and versions other than HTTP/1.0 and 1.1, more than one space in the request line, a
fragment in the target, a missing or second Host, Transfer-Encoding in HTTP/1.0, beside Content-Length, or
anything but `chunked`; too large a head. RFC 9112 §2.2, §3, §5, §6.
"""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from sidecar.core.decision import Edits
from sidecar.core.errors import BadRequest
from sidecar.core.http import HeaderPair, Response
from sidecar.core.recurring import Recurring
from sidecar.core.runtime import Limits
from sidecar.engines.express.fields import (
    CLOSE,
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    KEEP_ALIVE,
    KINDS,
    TRANSFER_ENCODING,
    classify,
    connection_options,
    parse_length,
)
from sidecar.engines.express.wire import split_at_date

__all__ = ["HeadRefused", "KnownFields", "RequestParser"]

_END: Final = b"\r\n\r\n"
# A method is at most 17 letters in llhttp's table; a version is 8. What is longer is the target's.
_LINE_ROOM: Final = 32
# RFC 9112 §2.2 asks for at least one to be ignored. They are skipped anew with each piece that arrives.
_MAX_EMPTY_BYTES: Final = 8 * len(b"\r\n")
_PLAIN_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"DELETE"})
# What llhttp takes in a path and query (a test holds them against each other), less the fragment's sign.
_TARGET_BYTES: Final = bytes(range(0x21, 0x7F)).replace(b"#", b"")
_MAX_KNOWN_BYTES: Final = 8192
_NO_BODY: Final = frozenset({b"", b"Content-Length: 0\r\n"})
# Some 200 KiB in all.
_KNOWN_LINES: Final = 512
_MAX_KNOWN_LINE: Final = 256

type RequestLine = tuple[bytes, bytes]
"""Method and target."""
_MAX_ALONE_BYTES: Final = 16384


class HeadRefused(BadRequest):
    """A head that is not one, or is too large; `status` is the answer, `code` a reason of the core's."""

    def __init__(self, status: int, detail: str) -> None:
        """Derive the reason from the status: it is the same for all of its kind."""
        super().__init__("too_large" if status in {414, 431} else "invalid_request", detail)
        self.status = status


class KnownFields:
    """The fields of the last request of a connection, as bytes and as parsed.

    A client on a kept-alive connection mostly sends the very same fields again. The same bytes parse to the
    same values, so they are compared instead of parsed. A request with a body is never known, nor one that
    ends its connection. `memo` is for whoever derives something from the fields; `tail` is what last went
    upstream behind a request's target, of the fields `kept` and with the `edits`; `answer` is what stands
    before and behind the Date of the `response` that was given last, once it has been given twice.
    """

    __slots__ = ("answer", "block", "edits", "framing", "headers", "kept", "memo", "response", "tail")

    def __init__(self, block: bytes, headers: list[HeaderPair], framing: bytes = b"") -> None:
        """Remember the bytes from the first line's end to the head's; `framing` says there is no body."""
        self.block = block
        self.headers = headers
        self.framing = framing
        self.memo: dict[object, object] = {}
        self.kept: list[HeaderPair] | None = None
        self.edits: tuple[Edits, ...] = ()
        self.tail = b""
        self.response: Response | None = None
        self.answer: tuple[bytes, bytes] | None = None

    def recall_answer(self, response: Response) -> tuple[bytes, bytes] | None:
        """Return the bytes before and behind Date of an answer that was the last one too, else None."""
        if self.response is not response:
            if response.page is None:
                self.response, self.answer = response, None
            return None
        if self.answer is None:
            self.answer = split_at_date(response)
        return self.answer


class RequestParser:
    """Reads one whole head at a time; the results are its attributes until the next call.

    One object serves all connections of a loop. llhttp's own is made anew for each head (a quarter of a
    microsecond): whatever it would wait for next can't touch another request.
    """

    __slots__ = (
        "_heads",
        "_limits",
        "_lines",
        "_marked",
        "expects_continue",
        "framing",
        "headers",
        "is_11",
        "is_chunked",
        "keep_alive",
        "length",
        "method",
        "target",
    )

    def __init__(self, limits: Limits) -> None:
        """Hold nothing; the attributes are set by `parse`."""
        self._limits = limits
        self._lines = Recurring(self._read_plain_line, entries=_KNOWN_LINES, max_bytes=_MAX_KNOWN_LINE)
        self._heads = 0
        self._marked: list[tuple[int, bytes]] = []
        self.headers: list[HeaderPair] = []
        self.method = b""
        self.target = b""
        self.is_11 = True
        self.keep_alive = True
        self.length = 0
        self.framing = b""
        self.is_chunked = False
        self.expects_continue = False

    # What llhttp calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field, and mark it when framing depends on it."""
        try:
            kind = KINDS[name]
        except KeyError:
            kind = classify(name)
        if kind:
            self._marked.append((kind, value))
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Count heads."""
        self._heads += 1

    # What a connection calls.

    def parse(self, data: bytes) -> int:
        """Read the head at the start of `data`; return where it ends, 0 when its end has not arrived.

        Raises HeadRefused: the peer's fault; the connection can't be used any more.
        """
        if data.endswith(_END) and len(data) <= _MAX_ALONE_BYTES and self._parse_alone(data):
            return len(data)
        return self.parse_first(data)

    def parse_again(self, data: bytes, known: KnownFields) -> RequestLine | None:
        """Return method and target if `data` is one head with the `known` fields, else None.

        Only for what needs no framing and no second thought: a plain method and an origin-form target.
        """
        return self._lines[data[: -len(known.block)]] if data.endswith(known.block) else None

    def read_plain(self, line: bytes) -> RequestLine | None:
        """Return method and target of a request line, None unless it is as plain as `parse_again` asks."""
        return self._lines[line]

    def _read_plain_line(self, line: bytes) -> RequestLine | None:
        """Read a request line as llhttp does, None unless it is plain. It may be anything but a line."""
        parts = line.split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1":  # noqa: PLR2004
            return None
        method, target, _ = parts
        if (
            method not in _PLAIN_METHODS
            or not target.startswith(b"/")
            or target.translate(None, _TARGET_BYTES)
            or len(target) > self._limits.max_target_bytes
        ):
            return None
        return method, target

    def learn(self, data: bytes) -> KnownFields | None:
        """Return the fields just parsed from all of `data`, if they may be known again."""
        line_end = data.find(b"\r\n")
        if (
            self.framing not in _NO_BODY
            or not self.keep_alive
            or not self.is_11
            or len(data) > _MAX_KNOWN_BYTES
            or not line_end
        ):
            return None
        return KnownFields(data[line_end:], self.headers, self.framing)

    def _parse_alone(self, data: bytes) -> bool:
        """Read `data` as one head and nothing else; False when that can't be said, whatever the cause.

        The short way for nearly all requests: spares the search for the end of the head. That exactly one
        head was complete, that it announces no body, and that the data ends as a head does, leaves room for
        nothing else.
        """
        self.headers = []
        self._marked = []
        self._heads = 0
        try:
            HttpRequestParser(self).feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            return False
        if self._heads != 1 or len(data) > self._limits.max_head_bytes or data.endswith(b"\n" + _END):
            # The last: llhttp skips empty lines behind a head too, which are the next one's.
            return False
        try:
            self._read_line(data[: data.find(b"\r\n")])
            self._read_marked()
        except HeadRefused:
            return False
        # A body may follow within `data`, and end as a head does.
        has_body = self.length or self.is_chunked
        return not has_body or data.find(_END) + len(_END) == len(data)

    def parse_first(self, data: bytes) -> int:
        """Read the first head of `data`: the definition, of which the rest of `parse` is the short form.

        For data that is known to hold more than one head, whose length the short form would read in vain.
        """
        skipped = 0
        # RFC 9112 §2.2: an empty line before a request is ignored; some clients send one after a form.
        while data.startswith(b"\r\n", skipped):
            skipped += 2
            if skipped > _MAX_EMPTY_BYTES:
                raise HeadRefused(400, "too many empty lines")
        end = data.find(_END, skipped)
        self._check_beginning(data, skipped, end)
        if end < 0:
            return 0
        end += len(_END)
        self.headers = []
        self._marked = []
        try:
            HttpRequestParser(self).feed_data(data[skipped:end])
        except HttpParserUpgrade:
            pass  # it stops here for any Upgrade and for CONNECT; the body is framed by us
        except HttpParserError as error:
            # llhttp's reasons are constants; nothing of the peer's is in them.
            raise HeadRefused(400, str(error)) from error
        self._read_line(data[skipped : data.find(b"\r\n", skipped)])
        self._read_marked()
        return end

    def _check_beginning(self, data: bytes, start: int, end: int) -> None:
        """Refuse what can't become a head, as soon as it can be seen, and what is too large."""
        size = (end if end >= 0 else len(data)) - start
        line_end = data.find(b"\r\n", start)
        line = (line_end if line_end >= 0 else len(data)) - start
        if line > self._limits.max_target_bytes + _LINE_ROOM:
            raise HeadRefused(414, "request line too long")
        if size > self._limits.max_head_bytes:
            raise HeadRefused(431, "head too large")
        if end >= 0:
            return
        # RFC 9112 §2.2: a bare LF may end a line; we are strict, since two servers that differ here can be
        # played against each other.
        if data.count(b"\n") != data.count(b"\r\n"):
            raise HeadRefused(400, "bare LF")
        # A to Z is how llhttp's methods begin; a lone CR may become the empty line that is skipped.
        if size and not 0x41 <= data[start] <= 0x5A and data[start:] != b"\r":  # noqa: PLR2004
            raise HeadRefused(400, "not a request")
        if line_end >= 0:
            self._read_line(data[start:line_end])

    def _read_line(self, line: bytes) -> None:
        """Read the request line (RFC 9112 §3): exactly two spaces, HTTP/1.0 or 1.1.

        llhttp takes several spaces, HTTP/0.9 and 2.0, RTSP and ICE.
        """
        parts = line.split(b" ")
        if len(parts) != 3:  # noqa: PLR2004
            raise HeadRefused(400, "malformed request line")
        self.method, self.target, version = parts
        # llhttp skips line ends before a method; here they would become part of it.
        if not self.method.isalpha() and self.method != b"M-SEARCH":
            raise HeadRefused(400, "malformed method")
        if version == b"HTTP/1.1":
            self.is_11 = True
        elif version == b"HTTP/1.0":
            self.is_11 = False
        else:
            raise HeadRefused(400, "unsupported protocol version")
        if len(self.target) > self._limits.max_target_bytes:
            raise HeadRefused(414, "target too long")
        # RFC 9112 §3.2: a target has no fragment. Servers cut it off, or don't: two readings.
        if self.target.find(b"#") >= 0:  # `in` takes four times as long for bytes
            raise HeadRefused(400, "fragment in target")

    def _read_marked(self) -> None:
        """Read what framing and connection handling depend on."""
        if len(self.headers) > self._limits.max_headers:
            raise HeadRefused(431, "too many fields")
        hosts = options = 0
        length = -1
        self.is_chunked = self.expects_continue = False
        self.framing = b""
        for kind, value in self._marked:
            if kind == HOST:
                hosts += 1
            elif kind == CONNECTION:
                options |= connection_options(value)
            elif kind == CONTENT_LENGTH:
                length = self._read_length(value, length)
            elif kind == TRANSFER_ENCODING:
                self._read_encoding(value)
            elif kind == EXPECT:
                self._read_expect(value)
        # RFC 9112 §3.2: 1.1 without Host, or any request with two of them, is 400.
        if hosts != 1 and (hosts or self.is_11):
            raise HeadRefused(400, "missing or second Host")
        if self.is_chunked and length >= 0:
            # RFC 9112 §6.1 allows to let Transfer-Encoding win; that is how requests are smuggled.
            raise HeadRefused(400, "Transfer-Encoding beside Content-Length")
        self.length = max(length, 0)
        self.keep_alive = not options & CLOSE and (self.is_11 or bool(options & KEEP_ALIVE))

    def _read_length(self, value: bytes, earlier: int) -> int:
        length = parse_length(value)
        if length < 0 or earlier >= 0:
            raise HeadRefused(400, "malformed or second Content-Length")
        self.framing = b"Content-Length: %d\r\n" % length
        return length

    def _read_encoding(self, value: bytes) -> None:
        # RFC 9112 §6.1: with HTTP/1.0 the framing is faulty. Other codings than chunked would be 501; no
        # client sends one but to confuse.
        if not self.is_11 or self.is_chunked or value.strip(b" \t").lower() != b"chunked":
            raise HeadRefused(400, "unusable Transfer-Encoding")
        self.is_chunked = True
        self.framing = b"Transfer-Encoding: chunked\r\n"

    def _read_expect(self, value: bytes) -> None:
        if not self.is_11:
            return  # RFC 9110 §10.1.1: ignored in an HTTP/1.0 request
        if value.strip(b" \t").lower() != b"100-continue":
            raise HeadRefused(417, "unknown expectation")
        self.expects_continue = True
