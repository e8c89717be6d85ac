from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engines.express.bodies import (
    Body,
    BrokenBody,
    ChunkedBody,
    LengthBody,
    UntilCloseBody,
    encode_chunk,
)


def feed(body: Body, *pieces: bytes) -> tuple[bytes, bytes]:
    payload = rest = b""
    for piece in pieces:
        if body.is_done:
            rest += piece
            continue
        found, rest = body.feed(piece)
        payload += found
    return payload, rest


class TestLength:
    """RFC 9112 §6.2."""

    def test_the_body_ends_after_its_length(self) -> None:
        body = LengthBody(5)
        assert feed(body, b"hel", b"loGET") == (b"hello", b"GET")
        assert body.is_done

    def test_it_is_not_done_before(self) -> None:
        body = LengthBody(5)
        assert feed(body, b"hell") == (b"hell", b"")
        assert not body.is_done

    def test_nothing_belongs_to_an_empty_one(self) -> None:
        assert feed(LengthBody(0), b"GET") == (b"", b"GET")


def test_until_close_takes_everything() -> None:
    body = UntilCloseBody()
    assert feed(body, b"a", b"b") == (b"ab", b"")
    assert not body.is_done


CHUNKED = b"5\r\nhello\r\n6;name=value\r\n world\r\n0\r\nX: y\r\nUser: evil\r\n\r\n"


class TestChunked:
    """RFC 9112 §7.1."""

    def test_extensions_and_trailers_are_dropped(self) -> None:
        """S52: a trailer with an identity name reaches nobody."""
        body = ChunkedBody()
        assert feed(body, CHUNKED + b"GET") == (b"hello world", b"GET")
        assert body.is_done

    @given(st.lists(st.integers(0, len(CHUNKED) + 3), max_size=12))
    def test_cuts_make_no_difference(self, cuts: list[int]) -> None:
        data = CHUNKED + b"GET"
        ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        pieces = [data[a:b] for a, b in itertools.pairwise(ends) if a < b]
        assert feed(ChunkedBody(), *pieces) == (b"hello world", b"GET")

    def test_byte_by_byte(self) -> None:
        assert feed(ChunkedBody(), *(bytes((b,)) for b in CHUNKED)) == (b"hello world", b"")

    @given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
    def test_what_is_encoded_is_decoded(self, chunks: list[bytes]) -> None:
        data = b"".join(encode_chunk(chunk) for chunk in chunks) + b"0\r\n\r\n"
        assert feed(ChunkedBody(), data) == (b"".join(chunks), b"")

    @pytest.mark.parametrize(
        "data",
        [
            b"5\nhello\r\n",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n",
            b"5\r\nhelloXX0\r\n\r\n",
            b"5\r\nhello\r\r",
            b"5 \r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"-5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"5_0\r\nhello\r\n",
            b"\r\nhello\r\n",
            b"\n",
            b"5;a\nb\r\nhello\r\n",
            b"5;a\x00\r\nhello\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"5x\r\nhello\r\n",
            b"g\r\n",
            b"5\r\r\nhello\r\n",
            b"FFFFFFFFFFFFFFFF\r\nhello\r\n",
            b"00000000000000000005\r\nhello\r\n",
            b"5;" + b"a" * 600 + b"\r\nhello\r\n",
            b"5;" + b"a" * 600,
            b"x",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\n x: y\r\n\r\n",
            b"0\r\nX: y\r\n z\r\n\r\n",
            b"0\r\nX: a\x00\r\n\r\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\nnothing\r\n\r\n",
            b"0\r\n\n",
            b"0\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
            b"0\r\nX: " + b"y" * 9000,
        ],
    )
    def test_framing_that_may_be_read_in_two_ways_is_broken(self, data: bytes) -> None:
        """S52: bare LF, garbage after a size, missing CRLF after data (CVE-2025-43859), LF in extensions."""
        with pytest.raises(BrokenBody):
            feed(ChunkedBody(), data)
        with pytest.raises(BrokenBody):
            feed(ChunkedBody(), *(bytes((b,)) for b in data))

    @given(st.binary(max_size=200))
    def test_no_bytes_do_anything_else_than_break_it(self, data: bytes) -> None:
        body = ChunkedBody()
        try:
            payload, rest = feed(body, data)
        except BrokenBody:
            return
        assert len(payload) + len(rest) <= len(data)

    @given(
        st.lists(st.sampled_from([b"5", b"0", b"\r\n", b"\n", b";a", b"hello", b"X: y", b" "]), max_size=12)
    )
    def test_whole_and_byte_by_byte_agree(self, pieces: list[bytes]) -> None:
        data = b"".join(pieces)
        found = []
        for parts in ([data], [bytes((b,)) for b in data]):
            body = ChunkedBody()
            try:
                found.append((feed(body, *parts), body.is_done))
            except BrokenBody:
                found.append(((b"", b""), False))
        assert found[0][1] == found[1][1]
        if found[0][1]:
            assert found[0] == found[1]
