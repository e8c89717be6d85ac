from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engines.express.answerhead import AnswerBroken, AnswerParser

OK = b"HTTP/1.1 200 OK\r\n"


def parse(data: bytes) -> AnswerParser:
    parser = AnswerParser()
    assert parser.parse(data) == len(data)
    return parser


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
        parser = parse(line + b"\r\nContent-Length: 0\r\n\r\n")
        assert (parser.status, parser.line) == (status, sent)

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
        parser = parse(OK + b"Date: x\r\ncontent-length: 7\r\nConnection: close\r\n\r\n")
        assert parser.headers == [(b"Date", b"x"), (b"Connection", b"close")]
        assert (parser.length, parser.has_date, parser.keep_alive) == (7, True, False)

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
        end = parser.parse(head + body)
    except AnswerBroken:
        return None
    if not end:
        return 0
    return end, parser.status, parser.headers, parser.length, parser.is_chunked, parser.keep_alive


@given(
    st.lists(
        st.tuples(HEADS, st.sampled_from([b"", b"hello", b"hell", b"helloHTTP"])), min_size=2, max_size=5
    )
)
def test_no_answer_leaves_anything_behind_for_the_next(answers: list[tuple[bytes, bytes]]) -> None:
    """S53: one parser serves all upstream connections of a loop."""
    used = AnswerParser()
    for head, body in answers:
        assert outcome(used, head, body) == outcome(AnswerParser(), head, body)
