from __future__ import annotations

import pytest
from httptools import HttpParserError, HttpResponseParser
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Finish
from sidecar.engines.express.answerhead import AnswerBroken, AnswerParser, ParsedAnswer

OK = b"HTTP/1.1 200 OK\r\n"


def parse(data: bytes) -> ParsedAnswer:
    read = AnswerParser().parse(data)
    assert read is not None
    assert read[1] == len(data)
    return read[0]


class TestStatusLine:
    """RFC 9112 §4."""

    @pytest.mark.parametrize(
        ("line", "status", "sent"),
        [
            (b"HTTP/1.1 200 OK", 200, b"HTTP/1.1 200 OK\r\n"),
            (b"HTTP/1.0 404 Nicht gefunden", 404, b"HTTP/1.1 404 Nicht gefunden\r\n"),
            (b"HTTP/1.1 299 ", 299, b"HTTP/1.1 299 \r\n"),
            (b"HTTP/1.1 999 Odd", 999, b"HTTP/1.1 999 Odd\r\n"),
        ],
    )
    def test_the_phrase_passes_and_the_version_is_ours(self, line: bytes, status: int, sent: bytes) -> None:
        answer = parse(line + b"\r\nContent-Length: 0\r\n\r\n")
        assert (answer.status, answer.line) == (status, sent)

    @pytest.mark.parametrize(
        "line",
        [
            b"HTTP/0.9 200 OK",
            b"HTTP/2.0 200 OK",
            b"HTTP/1.2 200 OK",
            b"ICY 200 OK",
            b"RTSP/1.0 200 OK",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.1 099 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1\t200 OK",
            b"HTTP/1.1 200 O\x00K",
            b"HTTP/1.1 200 O\rK",
            b"HTTP/1.1 200OK",
            b"HTTP/1.1",
        ],
    )
    def test_anything_else_is_broken(self, line: bytes) -> None:
        with pytest.raises(AnswerBroken):
            parse(line + b"\r\nContent-Length: 0\r\n\r\n")

    @pytest.mark.parametrize("data", [b"<html>", b"\x15\x03\x01", b"HTTP/2", b"h"])
    def test_another_protocol_is_noticed_at_its_first_bytes(self, data: bytes) -> None:
        with pytest.raises(AnswerBroken):
            AnswerParser().parse(data)


class TestFraming:
    """RFC 9112 §6.3."""

    def test_framing_fields_are_taken_out(self) -> None:
        answer = parse(OK + b"Date: x\r\ncontent-length: 7\r\nConnection: close\r\n\r\n")
        assert answer.headers == [(b"Date", b"x"), (b"Connection", b"close")]
        assert (answer.length, answer.has_date, answer.keep_alive) == (7, True, False)

    @pytest.mark.parametrize(
        "fields",
        [
            b"Content-Length: 5\r\nContent-Length: 5\r\n",
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
            b"Content-Length: 5, 5\r\n",
            b"Content-Length: +5\r\n",
            b"Content-Length: \r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Transfer-Encoding: identity\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"X: a\r\n b\r\n",
            b"X : a\r\n",
            b"X: a\nY: b\r\n",
            b"X: \x00\r\n",
        ],
    )
    def test_an_answer_without_a_certain_end_is_broken(self, fields: bytes) -> None:
        """S53: a guess where it ends would give its rest to somebody else."""
        with pytest.raises(AnswerBroken):
            AnswerParser().parse(OK + fields + b"\r\n")

    def test_transfer_encoding_in_http_10_is_broken(self) -> None:
        with pytest.raises(AnswerBroken):
            AnswerParser().parse(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    @pytest.mark.parametrize(
        ("head", "expected"),
        [
            (OK, True),
            (OK + b"Connection: close\r\n", False),
            (b"HTTP/1.0 200 OK\r\n", False),
            (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
        ],
    )
    def test_when_a_connection_may_be_used_again(self, head: bytes, expected: bool) -> None:
        assert parse(head + b"Content-Length: 0\r\n\r\n").keep_alive is expected

    def test_a_head_without_end_is_broken_at_its_limit(self) -> None:
        with pytest.raises(AnswerBroken):
            AnswerParser().parse(OK + b"X: " + b"a" * 300_000)

    def test_a_large_head_is_broken(self) -> None:
        with pytest.raises(AnswerBroken):
            AnswerParser().parse(OK + b"X: " + b"a" * 300_000 + b"\r\n\r\n")


HEADS = st.sampled_from(
    [
        OK + b"Content-Length: 5\r\n\r\n",
        OK + b"Content-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        OK + b"Connection: close\r\n\r\n",
        OK + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        OK + b"Content-Length: x\r\n\r\n",
        OK + b"X: y\r\n",
        b"nonsense",
    ]
)


def outcome(parser: AnswerParser, head: bytes, body: bytes) -> object:
    try:
        read = parser.parse(head + body)
    except AnswerBroken:
        return None
    if read is None:
        return 0
    answer, end = read
    return end, answer.status, answer.headers, answer.length, answer.is_chunked, answer.keep_alive


@given(
    st.lists(
        st.tuples(HEADS, st.sampled_from([b"", b"hello", b"hell", b"helloHTTP"])), min_size=2, max_size=9
    )
)
def test_no_answer_leaves_anything_behind_for_the_next(answers: list[tuple[bytes, bytes]]) -> None:
    """S53: one parser serves all upstream connections of a loop, and knows heads and lines again."""
    used = AnswerParser()
    for head, body in answers:
        assert outcome(used, head, body) == outcome(AnswerParser(), head, body)


class Llhttp:
    """What llhttp makes of an answer's fields; None when it refuses them."""

    def __init__(self, fields: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_refused = False
        try:
            HttpResponseParser(self).feed_data(OK + fields + b"\r\n")
        except HttpParserError:
            self.is_refused = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


_NAMES = st.sampled_from(
    [b"X", b"x-1", b"X_Y", b"A.B~", b"", b" X", b"X ", b"X\t", b"\xc3\xa4", b"a:b", b"X\r"]
)
_VALUES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"", b" ", b" a", b"\ta \t", b"  a  b", b"a\r\n b", b"a\nb", b"a\rb", b"\x7f", b"\xff"]),
)


@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=4))
def test_field_lines_are_read_as_llhttp_reads_them(fields: list[tuple[bytes, bytes]]) -> None:
    """RFC 9112 §5: an answer is read without llhttp, and by the same rules."""
    block = b"".join(b"%b:%b\r\n" % field for field in fields)
    theirs = Llhttp(block)
    try:
        read = AnswerParser().parse(OK + block + b"\r\n")
    except AnswerBroken:
        assert theirs.is_refused
    else:
        if read is not None and read[1] == len(OK + block) + 2:
            assert not theirs.is_refused
            assert read[0].headers == theirs.headers


def test_every_byte_of_a_field_is_taken_or_refused_as_by_llhttp() -> None:
    for byte in range(256):
        for field in (b"X%c: a" % byte, b"X: a%cb" % byte, b"%cX: a" % byte, b"X: a%c" % byte):
            block = field + b"\r\n"
            try:
                parse(OK + block + b"\r\n")
            except AnswerBroken:
                assert Llhttp(block).is_refused, field
            else:
                assert not Llhttp(block).is_refused, field


class TestPrepared:
    """A head that comes again is prepared for whoever needs no framing of their own."""

    FINISH = Finish(own_cookie_names=frozenset())

    def test_it_is_prepared_at_the_second_time(self) -> None:
        answer = parse(OK + b"Date: x\r\nContent-Length: 5\r\n\r\n")
        prepared = []
        for _ in range(2):
            answer.prepare(self.FINISH, [(b"Date", b"x")])
            prepared.append(answer.finish is self.FINISH)
        assert prepared == [False, True]
        assert answer.plain == OK + b"Date: x\r\nContent-Length: 5\r\n\r\n"

    @pytest.mark.parametrize(
        "head",
        [
            OK + b"Content-Length: 5\r\n\r\n",
            OK + b"Date: x\r\n\r\n",
            OK + b"Date: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            OK + b"Date: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nDate: x\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nDate: x\r\nContent-Length: 5\r\n\r\n",
        ],
    )
    def test_what_needs_a_look_at_its_framing_never_is(self, head: bytes) -> None:
        answer = parse(head)
        for _ in range(3):
            answer.prepare(self.FINISH, [])
        assert answer.finish is None
