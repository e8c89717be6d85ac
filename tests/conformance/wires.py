"""Cases of upgrades, framing and connections."""

from __future__ import annotations

from tests.conformance.case import (
    ALICE,
    BAD_OR_UNKNOWN,
    HOST,
    NO_IDENTITY,
    OK,
    SIGNED_IN,
    SMUGGLED,
    WEBSOCKET,
    Arrival,
    Case,
    get,
    length,
    malformed,
    passes,
    refused,
)

__all__ = ["SMUGGLING", "UPGRADES"]

UPGRADES = (
    Case(
        name="a WebSocket handshake arrives and its 101 opens a tunnel",
        lines=("S54",),
        request=get(b"/app/ws", WEBSOCKET, SIGNED_IN, b"Origin: https://app.example.com\r\n"),
        answers=(frozenset({101}),),
        arrives=(
            Arrival(
                line=b"GET /app/ws",
                has=(*ALICE, (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")),
            ),
        ),
        upstream=(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        ),
    ),
    Case(
        name="a 101 with the wrong accept value is not passed on",
        lines=("S54",),
        request=get(b"/app/ws", WEBSOCKET, SIGNED_IN, b"Origin: https://app.example.com\r\n"),
        answers=(frozenset({502}),),
        arrives=(Arrival(line=b"GET /app/ws"),),
        upstream=(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
        ),
    ),
    Case(
        name="a 101 that nobody asked for is not passed on",
        lines=("S54",),
        request=get(b"/public/"),
        answers=(frozenset({502}),),
        arrives=(Arrival(line=b"GET /public/"),),
        upstream=b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    ),
    *(
        passes(
            f"an upgrade to {protocol.decode()} is stripped",
            "S54",
            get(
                b"/app/",
                SIGNED_IN,
                b"Upgrade: "
                + protocol
                + b"\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n",
            ),
            Arrival(
                line=b"GET /app/", has=ALICE, lacks=frozenset({b"upgrade", b"http2-settings", b"connection"})
            ),
        )
        for protocol in (b"h2c", b"TLS/1.0", b"unheard-of")
    ),
    Case(
        name="the body of a request that asks to upgrade is its body, never the next request",
        lines=("S51", "S54"),
        request=get(
            b"/public/",
            b"Upgrade: h2c\r\nConnection: Upgrade\r\n" + length(SMUGGLED),
            method=b"POST",
            body=SMUGGLED,
        )
        + get(b"/public/next"),
        answers=(OK, OK),
        arrives=(Arrival(line=b"POST /public/", body=SMUGGLED), Arrival(line=b"GET /public/next")),
        in_head=False,
    ),
    passes(
        "a handshake without a key is an ordinary request",
        "S54",
        get(
            b"/app/", SIGNED_IN, b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        ),
        Arrival(line=b"GET /app/", has=ALICE, lacks=frozenset({b"upgrade"})),
    ),
    refused(
        "a WebSocket of another origin is refused",
        "S39 S54",
        get(b"/app/ws", WEBSOCKET, SIGNED_IN, b"Origin: https://evil.example\r\n"),
        403,
    ),
    refused("a WebSocket without a session gets a 401", "S37 S54", get(b"/app/ws", WEBSOCKET), 401),
)

_POST = b"POST /public/ HTTP/1.1\r\n" + HOST
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"

SMUGGLING = (
    malformed(
        "Content-Length with Transfer-Encoding is refused",
        "S51",
        _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    malformed(
        "Transfer-Encoding with Content-Length is refused",
        "S51",
        _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    malformed(
        "two Content-Lengths are refused",
        "S51",
        _POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    ),
    malformed(
        "two equal Content-Lengths are refused",
        "S51",
        _POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    ),
    *(
        malformed(
            f"Content-Length {value.decode()!r} is refused",
            "S51",
            _POST + b"Content-Length: " + value + b"\r\n\r\n",
        )
        for value in (b"+5", b"-5", b"5,5", b"0x5", b"5 5", b"", b"5;", b"99999999999999999999999")
    ),
    *(
        malformed(
            f"Transfer-Encoding {value.decode()!r} is refused",
            "S51",
            _POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n",
            frozenset({400, 501}),
        )
        for value in (
            b"xchunked",
            b"chunked, identity",
            b"identity",
            b"chunked, chunked",
            b"gzip, chunked",
            b"",
        )
    ),
    malformed(
        "two Transfer-Encodings are refused",
        "S51",
        _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        frozenset({400, 501}),
    ),
    malformed(
        "a space before the colon is refused",
        "S51",
        _POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    malformed("a folded field is refused", "S51", _POST + b"X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n"),
    malformed(
        "a field that begins with a space is refused", "S51", b"GET /public/ HTTP/1.1\r\n Host: x\r\n\r\n"
    ),
    malformed("a name that is no token is refused", "S51", get(b"/public/", b"X\x00A: 1\r\n")),
    malformed("a NUL in a value is refused", "S51", get(b"/public/", b"X-A: 1\x002\r\n")),
    malformed(
        "a lone CR in a value is refused", "S51", get(b"/public/", b"X-A: 1\rX-Forwarded-User: root\r\n")
    ),
    malformed(
        "Transfer-Encoding in HTTP/1.0 is refused",
        "S51",
        b"POST /public/ HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    malformed("HTTP/1.0 without Host is refused", "S49", b"GET /public/ HTTP/1.0\r\n\r\n"),
    malformed("HTTP/2's preface is refused", "S55", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD_OR_UNKNOWN),
    malformed(
        "another protocol is refused",
        "S55",
        b"OPTIONS rtsp://app.example.com RTSP/1.0\r\n\r\n",
        BAD_OR_UNKNOWN,
    ),
    malformed(
        "an unknown version is refused", "S55", b"GET /public/ HTTP/1.2\r\n" + HOST + b"\r\n", BAD_OR_UNKNOWN
    ),
    malformed("a space in the target is refused", "S55", b"GET /public/ x HTTP/1.1\r\n" + HOST + b"\r\n"),
    malformed("a chunk's size with garbage is refused", "S52", _CHUNKED + b"5 x\r\nhello\r\n0\r\n\r\n"),
    malformed("a chunk's size without digits is refused", "S52", _CHUNKED + b"\r\nhello\r\n0\r\n\r\n"),
    malformed("a signed chunk size is refused", "S52", _CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n"),
    malformed(
        "a hexadecimal prefix in a chunk size is refused", "S52", _CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"
    ),
    malformed(
        "a chunk size of very many digits is refused",
        "S52",
        _CHUNKED + b"0000000000000000FFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n",
    ),
    malformed("a bare LF after a chunk's size is refused", "S52", _CHUNKED + b"5\nhello\r\n0\r\n\r\n"),
    malformed("a chunk without CRLF at its end is refused", "S52", _CHUNKED + b"5\r\nhelloXX0\r\n\r\n"),
    malformed(
        "a line break in a chunk extension is refused", "S52", _CHUNKED + b"5;a\n=b\r\nhello\r\n0\r\n\r\n"
    ),
    Case(
        name="trailers do not become fields",
        lines=("S52",),
        request=_CHUNKED + b"5\r\nhello\r\n0\r\nX-Forwarded-User: root\r\nX-Trailer: root\r\n\r\n",
        answers=(OK,),
        arrives=(Arrival(line=b"POST /public/", body=b"hello", lacks=NO_IDENTITY),),
        never=(b"root",),
        in_head=False,
    ),
    Case(
        name="chunks arrive as one body",
        lines=("S52",),
        request=_CHUNKED + b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        answers=(OK,),
        arrives=(Arrival(line=b"POST /public/", body=b"hello world"),),
        never=(b"ext=1",),
        in_head=False,
    ),
    Case(
        name="pipelined requests are answered in order, each by its own rule",
        lines=("S53",),
        request=get(b"/public/1") + get(b"/app/2") + get(b"/public/3"),
        answers=(OK, frozenset({401}), OK),
        arrives=(Arrival(line=b"GET /public/1"), Arrival(line=b"GET /public/3")),
        in_head=False,
    ),
    Case(
        name="a refused request's body is not the next request",
        lines=("S51",),
        request=get(b"/app/", length(SMUGGLED), method=b"POST", body=SMUGGLED),
        answers=(frozenset({401}),),
        never=(b"smuggled",),
        in_head=False,
    ),
)
