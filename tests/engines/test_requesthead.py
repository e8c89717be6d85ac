from __future__ import annotations

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core.runtime import Limits
from sidecar.engines.express.requesthead import HeadRefused, RequestParser

LIMITS = Limits(max_head_bytes=4096, max_headers=20, max_target_bytes=1024)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


def parse(data: bytes) -> RequestParser:
    parser = RequestParser(LIMITS)
    assert parser.parse(data) == len(data)
    return parser


def refusal(data: bytes) -> HeadRefused:
    with pytest.raises(HeadRefused) as caught:
        RequestParser(LIMITS).parse(data)
    return caught.value


class TestRequestLine:
    """RFC 9112 §3."""

    def test_parts_are_kept_as_sent(self) -> None:
        parser = parse(b"OPTIONS /a%2Fb?q=%20|^ HTTP/1.1\r\nhOST: a\r\nX: \xc3\xa4\r\nX: \r\n\r\n")
        assert (parser.method, parser.target) == (b"OPTIONS", b"/a%2Fb?q=%20|^")
        assert parser.headers == [(b"hOST", b"a"), (b"X", b"\xc3\xa4"), (b"X", b"")]

    @pytest.mark.parametrize(
        "line",
        [
            b"GET  / HTTP/1.1",
            b"GET /  HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b" GET / HTTP/1.1",
            b"GET /a b HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET /",
            b"GET",
            b"\nGET / HTTP/1.1",
            b"\rGET / HTTP/1.1",
            b"get / HTTP/1.1",
            b"G\x00T / HTTP/1.1",
            b"BREW / HTTP/1.1",
            b"GET /\x7f HTTP/1.1",
            b"GET /\x80 HTTP/1.1",
            b"GET /a\x00b HTTP/1.1",
            b"GET /a#b HTTP/1.1",
            b"GET a HTTP/1.1",
            b"\x16\x03\x01\x02\x00",
        ],
    )
    def test_what_is_no_request_line_is_refused(self, line: bytes) -> None:
        """S51: a line that two servers may read differently is nobody's request."""
        assert refusal(line + b"\r\nHost: a\r\n\r\n").status == 400

    @pytest.mark.parametrize(
        "version",
        [
            b"HTTP/0.9",
            b"HTTP/1.2",
            b"HTTP/2.0",
            b"HTTP/1.10",
            b"http/1.1",
            b"RTSP/1.0",
            b"ICE/1.0",
            b"HTTP/1",
        ],
    )
    def test_only_http_10_and_11_are_spoken(self, version: bytes) -> None:
        """S55: httptools takes HTTP/0.9 and 2.0, RTSP and ICE."""
        method = b"SOURCE" if version.startswith(b"ICE") else b"GET"
        assert refusal(method + b" / " + version + b"\r\nHost: a\r\n\r\n").status == 400

    def test_http_09_is_refused_at_its_first_line(self) -> None:
        assert refusal(b"GET /\r\n").status == 400

    def test_the_http_2_preface_is_refused(self) -> None:
        assert refusal(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status == 400

    def test_tls_on_a_plain_port_is_refused_at_its_first_bytes(self) -> None:
        assert refusal(b"\x16\x03\x01").status == 400

    def test_empty_lines_before_a_request_are_skipped(self) -> None:
        """RFC 9112 §2.2."""
        assert parse(b"\r\n\r\n" + GET).target == b"/"

    @pytest.mark.parametrize("rest", [b"", b"\r", b"G", GET])
    def test_a_flood_of_empty_lines_is_refused(self, rest: bytes) -> None:
        """S56: lines that are skipped count for no limit, and would be skipped again with each piece."""
        assert refusal(b"\r\n" * 100 + rest).status == 400

    @given(st.binary(max_size=24))
    def test_the_target_is_what_llhttp_read(self, noise: bytes) -> None:
        """The request line is split here and checked by llhttp: both must see the same target."""
        data = b"GET /" + noise + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        seen: list[bytes] = []

        class Spy:
            def on_url(self, url: bytes) -> None:
                seen.append(url)

        try:
            parser = parse(data)
        except (HeadRefused, AssertionError):
            return
        httptools.HttpRequestParser(Spy()).feed_data(data)
        assert b"".join(seen) == parser.target


class TestFields:
    """RFC 9112 §5."""

    @pytest.mark.parametrize(
        "field",
        [
            b"A : b",
            b"A\t: b",
            b" A: b",
            b"A: b\r\n c",
            b"A: b\r\n\tc",
            b"A:\r\n b",
            b"A: b\nC: d",
            b"A: b\rC: d",
            b"A: b\x00c",
            b"A: b\x01c",
            b"A: b\x7f",
            b"A",
            b": b",
            b"A\x80: b",
            b"A(: b",
            b'A"b: c',
        ],
    )
    def test_malformed_fields_are_refused(self, field: bytes) -> None:
        """S51: space before the colon, obs-fold, bare LF and CR, NUL and controls, bytes that no name has."""
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n", POST + field + b"\r\n\r\n"):
            assert refusal(data).status == 400

    @pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nhost: b\r\n"])
    def test_exactly_one_host(self, hosts: bytes) -> None:
        """S49: httptools takes none and two."""
        assert refusal(b"GET / HTTP/1.1\r\n" + hosts + b"X: y\r\n\r\n").status == 400

    def test_http_10_may_leave_host_out(self) -> None:
        assert not parse(b"GET / HTTP/1.0\r\n\r\n").is_11

    def test_two_hosts_are_refused_in_http_10_too(self) -> None:
        assert refusal(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n").status == 400


class TestFraming:
    """RFC 9112 §6."""

    @pytest.mark.parametrize(
        "fields",
        [
            b"Content-Length: +5",
            b"Content-Length: -5",
            b"Content-Length: 5,5",
            b"Content-Length: 5, 5",
            b"Content-Length: 0x5",
            b"Content-Length: 5 5",
            b"Content-Length: 5_0",
            b"Content-Length: 5.0",
            b"Content-Length:",
            b"Content-Length: \xb2",
            b"Content-Length: 99999999999999999999999",
            b"Content-Length: 5\r\nContent-Length: 5",
            b"Content-Length: 5\r\nContent-Length: 6",
            b"Content-Length: 5\r\ncontent-length: 5",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5",
            b"Content-Length: 0\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding: chunked, identity",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: chunked, chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: \x0bchunked",
            b'Transfer-Encoding: "chunked"',
            b"Transfer-Encoding: chunked;q=1",
            b"Transfer-Encoding:",
            b"Transfer-Encoding : chunked",
            b"Transfer-Encoding\t: chunked",
            b"Transfer-Encoding:\r\n chunked",
        ],
    )
    def test_ambiguous_framing_is_refused(self, fields: bytes) -> None:
        """S51: what one server counts as a body another takes for the next request."""
        assert refusal(POST + fields + b"\r\n\r\n").status == 400

    def test_transfer_encoding_in_http_10_is_refused(self) -> None:
        """S51: httptools takes it."""
        head = b"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert refusal(head).status == 400

    def test_chunked_is_known_in_any_case(self) -> None:
        parser = parse(POST + b"transfer-ENCODING: Chunked \r\n\r\n")
        assert parser.is_chunked
        assert parser.framing == b"Transfer-Encoding: chunked\r\n"

    @pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"12", 12), (b"007", 7)])
    def test_length_is_written_anew(self, value: bytes, length: int) -> None:
        parser = parse(POST + b"Content-Length: " + value + b"\r\n\r\n")
        assert (parser.length, parser.framing) == (length, b"Content-Length: %d\r\n" % length)

    def test_an_upgrade_does_not_hide_the_body(self) -> None:
        """S54: httptools stops at any Upgrade and calls the request complete."""
        data = POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 27\r\n\r\n"
        parser = RequestParser(LIMITS)
        assert parser.parse(data + GET) == len(data)
        assert parser.length == len(GET)

    def test_connect_ends_with_its_head(self) -> None:
        parser = RequestParser(LIMITS)
        head = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"
        assert parser.parse(head + b"tunnelled") == len(head)
        assert parser.method == b"CONNECT"


class TestConnection:
    """RFC 9112 §9.3."""

    @pytest.mark.parametrize(
        ("version", "value", "expected"),
        [
            (b"1.1", None, True),
            (b"1.1", b"keep-alive", True),
            (b"1.1", b"close", False),
            (b"1.1", b"X, CLOSE", False),
            (b"1.1", b"keep-alive, close", False),
            (b"1.1", b"closed", True),
            (b"1.0", None, False),
            (b"1.0", b"Keep-Alive", True),
            (b"1.0", b"close", False),
        ],
    )
    def test_when_a_connection_is_kept(self, version: bytes, value: bytes | None, expected: bool) -> None:
        field = b"" if value is None else b"Connection: " + value + b"\r\n"
        parser = parse(b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + field + b"\r\n")
        assert parser.keep_alive is expected

    def test_expect_is_noticed(self) -> None:
        assert parse(POST + b"Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n").expects_continue

    def test_unknown_expectations_are_refused(self) -> None:
        """RFC 9110 §10.1.1."""
        assert refusal(POST + b"Expect: tea\r\n\r\n").status == 417

    def test_expect_is_ignored_in_http_10(self) -> None:
        assert not parse(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue


class TestLimits:
    """S56."""

    def test_a_long_target_is_414(self) -> None:
        assert refusal(b"GET /" + b"a" * 1024 + b" HTTP/1.1\r\nHost: a\r\n\r\n").status == 414

    def test_a_long_line_is_414_before_its_end(self) -> None:
        assert refusal(b"GET /" + b"a" * 2000).status == 414

    def test_a_large_head_is_431(self) -> None:
        assert refusal(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000 + b"\r\n\r\n").status == 431

    def test_a_large_head_is_431_before_its_end(self) -> None:
        assert refusal(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000).status == 431

    def test_too_many_fields_are_431(self) -> None:
        assert refusal(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20 + b"\r\n").status == 431

    def test_as_many_as_allowed_pass(self) -> None:
        assert len(parse(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 19 + b"\r\n").headers) == 20


class ByDefinition(RequestParser):
    """The parser without its short way."""

    def _parse_alone(self, data: bytes) -> bool:
        return False


def outcome(parser: RequestParser, data: bytes) -> object:
    try:
        end = parser.parse(data)
    except HeadRefused as refused:
        return refused.status
    if not end:
        return None
    facts = (parser.method, parser.target, parser.is_11, parser.keep_alive, parser.length, parser.is_chunked)
    return end, facts, parser.headers, parser.framing, parser.expects_continue


PIECES = st.sampled_from(
    [
        *(GET, b"\r\n", b"\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"X: y\r\n", b"X: y \r\n", b"\r\n\r\n"),
        *(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", b"hello", b"GET /", b" HTTP/1.1\r\n"),
        *(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"Host: a\r\n", b"\x00"),
        *(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"Connection: upgrade\r\nUpgrade: x\r\n",
        ),
        *(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"Content-Length: 27\r\n"),
    ]
)


class TestEquivalence:
    """The short ways give what the definition gives."""

    @given(st.lists(PIECES, min_size=1, max_size=8).map(b"".join))
    @example(GET + b"\r\n")
    @example(GET + b"\r\n\r\n")
    def test_the_short_way_gives_what_the_definition_gives(self, data: bytes) -> None:
        assert outcome(RequestParser(LIMITS), data) == outcome(ByDefinition(LIMITS), data)

    @given(st.lists(PIECES, min_size=1, max_size=8).map(b"".join), st.lists(PIECES, max_size=4).map(b"".join))
    def test_no_head_leaves_anything_behind_for_the_next(self, first: bytes, second: bytes) -> None:
        """One parser serves all connections of a loop."""
        used = RequestParser(LIMITS)
        outcome(used, first)
        assert outcome(used, second) == outcome(RequestParser(LIMITS), second)

    @given(st.lists(PIECES, min_size=1, max_size=8).map(b"".join))
    def test_what_is_refused_early_is_not_taken_when_more_arrives(self, data: bytes) -> None:
        parser = RequestParser(LIMITS)
        refused: object = None
        for end in range(1, len(data) + 1):
            found = outcome(parser, data[:end])
            if isinstance(found, int):
                refused = found
                break
            if found is not None:
                break
        whole = outcome(RequestParser(LIMITS), data)
        assert isinstance(refused, int) == isinstance(whole, int)

    @given(st.binary(max_size=20), st.sampled_from([b"GET", b"HEAD", b"POST", b"get", b"DELETE", b"CONNECT"]))
    def test_known_fields_give_what_parsing_gives(self, noise: bytes, method: bytes) -> None:
        first = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: b\r\n\r\n"
        parser = parse(first)
        known = parser.learn(first)
        assert known is not None
        for target in (noise, b"/" + noise):
            data = method + b" " + target + b" HTTP/1.1\r\nHost: a\r\nCookie: b\r\n\r\n"
            for _ in range(3):
                if line := parser.parse_again(data, known):
                    facts = (*line, True, True, 0, False)
                    expected = (len(data), facts, known.headers, known.framing, False)
                    assert outcome(RequestParser(LIMITS), data) == expected

    def test_every_target_byte_that_llhttp_takes_is_known_again(self) -> None:
        first = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        parser = parse(first)
        known = parser.learn(first)
        assert known is not None
        for byte in range(256):
            data = b"GET /%c HTTP/1.1\r\nHost: a\r\n\r\n" % byte
            is_known = parser.parse_again(data, known) is not None
            assert is_known == (not isinstance(outcome(RequestParser(LIMITS), data), int)), byte

    @pytest.mark.parametrize(
        "first",
        [
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        ],
    )
    def test_fields_that_announce_a_body_are_never_known_again(self, first: bytes) -> None:
        assert parse(first).learn(first) is None

    def test_an_empty_line_before_a_request_is_no_part_of_its_fields(self) -> None:
        """S51: else a second request line would be taken for the end of the first."""
        first = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
        assert parse(first).learn(first) is None
