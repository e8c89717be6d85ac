"""The conformance cases: raw bytes of one connection in, what the client and the upstream see.

How an engine's test runs one:

1.  Serve `setting.build_runtime(upstream)`, with a real upstream that records each request whole (line,
    fields, body) and answers as `Case.upstream` says, else 200 with a short body.
2.  Open one connection, send `fill_in(case.request, cookie)` at once, and read all answers (skipping none of
    1xx), until as many final ones have come as `case.answers` has, or the connection ends.
3.  Each final status must be in the set at its place in `answers`; `interim` are the 1xx statuses before it.
    Where `closes`, the connection must end after the last answer without another request being served.
4.  The upstream must have received exactly the requests in `arrives`, complete and in order; where `arrives`
    is empty, no complete request at all, on any connection.
5.  No recorded byte of the upstream may contain any of `never`.
6.  The last answer has all of `answer_has` (names in any case, exact values) and none of `answer_lacks`.

`in_head` tells that the gate alone decides the case from one head that every parser accepts; those cases are
also run against the core (`test_cases.py`), so that an expectation is never an engine's own invention.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.core.http import HeaderPair
from tests.conformance.setting import COOKIE

__all__ = ["CASES", "Arrival", "Case"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request as the upstream must receive it.

    `line` without the version. `has`: fields by name in any case and exact value, each once. `lacks`: names
    in lower case, folded (`_`, `.` and `-` are one).
    """

    line: bytes
    has: tuple[HeaderPair, ...] = ()
    lacks: frozenset[bytes] = frozenset()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One connection: `name` says the rule, `lines` the lines of the security checklist that it proves."""

    name: str
    lines: tuple[str, ...]
    request: bytes
    answers: tuple[frozenset[int], ...]
    arrives: tuple[Arrival, ...] = ()
    interim: tuple[int, ...] = ()
    closes: bool = False
    never: tuple[bytes, ...] = ()
    answer_has: tuple[HeaderPair, ...] = ()
    answer_lacks: frozenset[bytes] = frozenset()
    upstream: bytes | None = None
    in_head: bool = True


HOST = b"Host: app.example.com\r\n"
SIGNED_IN = b"Cookie: " + COOKIE + b"\r\n"
WEBSOCKET = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)
SMUGGLED = b"GET /public/smuggled HTTP/1.1\r\nHost: app.example.com\r\n\r\n"
OK = frozenset({200})
BAD = frozenset({400})
# Where a parser may tell the kind of its refusal: a version it does not speak, a method it does not know.
BAD_OR_UNKNOWN = frozenset({400, 405, 501, 505})
ALICE = ((b"X-Forwarded-User", b"alice"), (b"X-Forwarded-Email", b"alice@example.com"))
NO_IDENTITY = frozenset(
    {
        b"x-forwarded-user",
        b"x-forwarded-email",
        b"x-forwarded-groups",
        b"x-forwarded-preferred-username",
        b"x-auth-request-user",
        b"remote-user",
    }
)


def get(
    target: bytes, *fields: bytes, host: bytes = HOST, method: bytes = b"GET", body: bytes = b""
) -> bytes:
    """Return the bytes of a request; fields end with CRLF."""
    return method + b" " + target + b" HTTP/1.1\r\n" + host + b"".join(fields) + b"\r\n" + body


def _length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n" % len(body)


def passes(name: str, line: str, request: bytes, arrival: Arrival, *never: bytes) -> Case:
    """Return a case in which one request arrives."""
    return Case(
        name=name, lines=tuple(line.split()), request=request, answers=(OK,), arrives=(arrival,), never=never
    )


def refused(name: str, line: str, request: bytes, status: int = 400, *, in_head: bool = True) -> Case:
    """Return a case in which nothing arrives; 400 ends the connection."""
    return Case(
        name=name,
        lines=tuple(line.split()),
        request=request,
        answers=(frozenset({status}),),
        closes=status == 400 and not in_head,
        in_head=in_head,
    )


def malformed(name: str, line: str, request: bytes, answers: frozenset[int] = BAD) -> Case:
    """Return a case that a parser must refuse, ending the connection; the smuggled request never arrives."""
    return Case(
        name=name,
        lines=tuple(line.split()),
        request=request + SMUGGLED,
        answers=(answers,),
        closes=True,
        never=(b"smuggled",),
        in_head=False,
    )


def _spoof(name: bytes, value: bytes = b"root") -> bytes:
    return name + b": " + value + b"\r\n"


_SPOOFS = b"".join(
    _spoof(name)
    for name in (
        b"X-Forwarded-User",
        b"x-forwarded-email",
        b"X_Forwarded_User",
        b"X.Forwarded.User",
        b"X~Forwarded~Groups",
        b"X-Auth-Request-User",
        b"Remote-User",
        b"REMOTE_USER",
        b"X-Remote-User",
        b"X-WEBAUTH-USER",
        b"X-Goog-Authenticated-User-Email",
        b"X-Pomerium-Jwt-Assertion",
        b"Cf-Access-Authenticated-User-Email",
        b"X-Amzn-Oidc-Identity",
        b"X-MS-CLIENT-PRINCIPAL",
        b"X-Forwarded-Access-Token",
        b"Ssl-Client-Subject-Dn",
        b"Username",
    )
)

HYGIENE = (
    passes(
        "a session's identity arrives and every spoof of it does not",
        "S41 S42 S43",
        get(b"/app/", _SPOOFS, SIGNED_IN),
        Arrival(
            line=b"GET /app/",
            has=ALICE,
            lacks=frozenset({b"remote-user", b"x-auth-request-user", b"username"}),
        ),
        b"root",
    ),
    passes(
        "spoofs do not arrive on a path that anyone may use",
        "S43",
        get(b"/public/", _SPOOFS),
        Arrival(line=b"GET /public/", lacks=NO_IDENTITY),
        b"root",
    ),
    passes(
        "spoofs do not arrive with a preflight that a rule lets through",
        "S43",
        get(
            b"/hooks/",
            _SPOOFS,
            b"Origin: https://other.example\r\nAccess-Control-Request-Method: POST\r\n",
            method=b"OPTIONS",
        ),
        Arrival(line=b"OPTIONS /hooks/", lacks=NO_IDENTITY, has=((b"Origin", b"https://other.example"),)),
        b"root",
    ),
    passes(
        "a claim that the user lacks leaves no header of the client's",
        "S44",
        get(b"/app/", b"X-Forwarded-Access-Token: root\r\n", SIGNED_IN),
        Arrival(line=b"GET /app/", has=ALICE, lacks=frozenset({b"x-forwarded-access-token"})),
        b"root",
    ),
    passes(
        "Connection can't take away what we add",
        "S45",
        get(b"/app/", b"Connection: x-forwarded-user, x-forwarded-email, x-real-ip\r\n", SIGNED_IN),
        Arrival(line=b"GET /app/", has=ALICE, lacks=frozenset({b"connection"})),
    ),
    passes(
        "Connection can't take away what decisions rest on",
        "S45",
        get(b"/app/", b"Connection: cookie, authorization\r\nAuthorization: Bearer c\r\n", SIGNED_IN),
        Arrival(line=b"GET /app/", has=(*ALICE, (b"Authorization", b"Bearer c"))),
    ),
    passes(
        "Connection takes away what it nominates",
        "S46",
        get(b"/public/", b"X-Hop: hop\r\nConnection: close, X-Hop\r\n"),
        Arrival(line=b"GET /public/", lacks=frozenset({b"x-hop"})),
        b"X-Hop",
    ),
    passes(
        "hop-by-hop fields do not arrive",
        "S46",
        get(
            b"/public/",
            b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\n"
            b"TE: trailers\r\nTrailer: X-T\r\n",
        ),
        Arrival(
            line=b"GET /public/",
            lacks=frozenset({b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer"}),
        ),
    ),
    passes(
        "names with an underscore or a dot do not arrive",
        "S42",
        get(b"/public/", b"X_Custom: folded\r\nx.custom: folded\r\nX-Custom: plain\r\n"),
        Arrival(line=b"GET /public/", has=((b"X-Custom", b"plain"),)),
        b"folded",
    ),
    passes(
        "what applications use arrives as it was sent",
        "S40",
        get(
            b"/public/",
            b"Authorization: Bearer c\r\nOrigin: https://app.example.com\r\nRange: bytes=0-1\r\n"
            b'If-None-Match: "x"\r\nX-Requested-With: XMLHttpRequest\r\nX-CSRFToken: t\r\n',
        ),
        Arrival(
            line=b"GET /public/",
            has=(
                (b"Host", b"app.example.com"),
                (b"Authorization", b"Bearer c"),
                (b"Origin", b"https://app.example.com"),
                (b"Range", b"bytes=0-1"),
                (b"If-None-Match", b'"x"'),
                (b"X-Requested-With", b"XMLHttpRequest"),
                (b"X-CSRFToken", b"t"),
            ),
        ),
    ),
    passes(
        "a header that would set a proxy for a CGI program does not arrive",
        "S46",
        get(b"/public/", b"Proxy: http://evil.example\r\n"),
        Arrival(line=b"GET /public/", lacks=frozenset({b"proxy"})),
        b"evil.example",
    ),
    passes(
        "the client's own Expect and framing are written anew",
        "S51",
        get(b"/public/", b"Content-Length: 5\r\n", method=b"POST", body=b"hello"),
        Arrival(line=b"POST /public/", has=((b"Content-Length", b"5"),), body=b"hello"),
    ),
)

COOKIES = (
    passes(
        "our cookie stays here, others arrive byte for byte",
        "S40",
        get(b"/app/", b'Cookie: a="x; ' + COOKIE + b"; b=1;c\r\n"),
        Arrival(line=b"GET /app/", has=((b"Cookie", b'a="x; b=1;c'),)),
        b"__Host-doorward",
    ),
    passes(
        "no Cookie field arrives when ours was all",
        "S40",
        get(b"/app/", SIGNED_IN),
        Arrival(line=b"GET /app/", lacks=frozenset({b"cookie"})),
        b"__Host-doorward",
    ),
    passes(
        "chunks and logins under way stay here too",
        "S40",
        get(b"/public/", b"Cookie: __Host-doorward.0=x; __Host-login.abcdefgh=y; a=1\r\n"),
        Arrival(line=b"GET /public/", has=((b"Cookie", b"a=1"),)),
        b"__Host-",
    ),
    passes(
        "two Cookie fields are one",
        "S40",
        get(b"/app/", b"Cookie: a=1\r\n", SIGNED_IN),
        Arrival(line=b"GET /app/", has=((b"Cookie", b"a=1"), *ALICE)),
        b"__Host-doorward",
    ),
    refused(
        "a cookie under a name that only looks like ours signs nobody in",
        "S30",
        get(b"/app/", b"Cookie: \xe2\x80\x80" + COOKIE + b"\r\n"),
        401,
    ),
    refused(
        "a cookie that does not open signs nobody in",
        "S33",
        get(b"/app/", b"Cookie: __Host-doorward=AAAA\r\n"),
        401,
    ),
    Case(
        name="an upstream can't set our cookie, and sets its own",
        lines=("S40",),
        request=get(b"/public/"),
        answers=(OK,),
        arrives=(Arrival(line=b"GET /public/"),),
        upstream=(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: __Host-doorward=x; Path=/; Secure\r\n"
            b"Set-Cookie: a=1\r\nSet-Cookie: a=2\r\nDoorward-Intercepted: denied\r\n\r\nok"
        ),
        answer_has=((b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"a=2")),
        answer_lacks=frozenset({b"doorward-intercepted"}),
    ),
)

SESSIONS = (
    Case(
        name="a program without a session gets a 401 that names us",
        lines=("S37",),
        request=get(b"/app/"),
        answers=(frozenset({401}),),
        answer_has=((b"Doorward-Intercepted", b"login_required_api"), (b"Cache-Control", b"no-store")),
        answer_lacks=frozenset({b"location", b"set-cookie"}),
    ),
    refused(
        "a preflight that no rule lets through is not sent elsewhere",
        "S38",
        get(
            b"/app/",
            b"Origin: https://other.example\r\nAccess-Control-Request-Method: POST\r\nAccept: text/html\r\n",
            method=b"OPTIONS",
        ),
        401,
    ),
    refused("somebody who is not admitted is told so", "S61", get(b"/admin/", SIGNED_IN), 403),
    refused("a path that no rule covers is denied", "S61", get(b"/elsewhere", SIGNED_IN), 403),
    refused(
        "an unsafe request of another origin is refused",
        "S39",
        get(b"/app/", SIGNED_IN, b"Origin: https://evil.example\r\nContent-Length: 0\r\n", method=b"POST"),
        403,
    ),
    refused(
        "a sibling subdomain is another origin",
        "S39",
        get(b"/app/", SIGNED_IN, b"Sec-Fetch-Site: same-site\r\nContent-Length: 0\r\n", method=b"DELETE"),
        403,
    ),
    passes(
        "an unsafe request of our own pages arrives",
        "S39",
        get(
            b"/app/",
            SIGNED_IN,
            b"Origin: https://app.example.com\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 3\r\n",
            method=b"POST",
            body=b"a=1",
        ),
        Arrival(line=b"POST /app/", has=ALICE, body=b"a=1"),
    ),
    passes(
        "another origin's request to a public path arrives without identity",
        "S39",
        get(b"/public/", SIGNED_IN, b"Origin: https://evil.example\r\nContent-Length: 0\r\n", method=b"POST"),
        Arrival(line=b"POST /public/", lacks=NO_IDENTITY),
    ),
    Case(
        name="a body that is not wanted is not asked for",
        lines=("S37",),
        request=get(b"/app/", b"Content-Length: 5\r\nExpect: 100-continue\r\n", method=b"POST"),
        answers=(frozenset({401}),),
    ),
    Case(
        name="a body that is wanted is asked for once it is decided",
        lines=("S43",),
        request=get(
            b"/public/", b"Content-Length: 5\r\nExpect: 100-continue\r\n", method=b"POST", body=b"hello"
        ),
        answers=(OK,),
        interim=(100,),
        arrives=(Arrival(line=b"POST /public/", body=b"hello", lacks=frozenset({b"expect"})),),
    ),
)

PATHS = (
    *(
        refused(f"readings of {target.decode()} disagree", "S57", get(target))
        for target in (
            b"/public/../admin/",
            b"/public/%2e%2e/admin/",
            b"/public/..%2fadmin/",
            b"/public/..;/admin/",
            b"/public/%252e%252e/admin/",
        )
    ),
    *(
        refused(f"no reading accepts {target.decode()}", "S58", get(target, SIGNED_IN))
        for target in (b"/app/\\x", b"/app/%5cx", b"/app/%00", b"/app/%c0%ae", b"/app/%zz")
    ),
    passes(
        "an escaped slash passes byte for byte where it changes nothing",
        "S58",
        get(b"/app/api%2Fqueues/%2F/x?q=%2e%2e", SIGNED_IN),
        Arrival(line=b"GET /app/api%2Fqueues/%2F/x?q=%2e%2e", has=ALICE),
    ),
    passes(
        "the query never takes part",
        "S59",
        get(b"/public/x?/../admin/"),
        Arrival(line=b"GET /public/x?/../admin/"),
    ),
    *(
        refused(f"{target.decode()} does not reach our endpoints", "S60", get(target))
        for target in (
            b"/public/../oauth2/sign_in",
            b"/%6fauth2/sign_in",
            b"//oauth2/sign_in",
            b"/oauth2%2fsign_in",
        )
    ),
    refused("an unknown endpoint is not the upstream's", "S60", get(b"/oauth2/unknown", SIGNED_IN), 404),
)

HOSTS = (
    refused("a request without Host is refused", "S49", get(b"/public/", host=b"")),
    refused("two Hosts are refused", "S49", get(b"/public/", HOST)),
    refused("two Hosts are refused in whatever spelling", "S49", get(b"/public/", b"hOST: evil.example\r\n")),
    refused(
        "user information in Host is refused", "S49", get(b"/public/", host=b"Host: evil@app.example.com\r\n")
    ),
    refused(
        "a list in Host is refused", "S49", get(b"/public/", host=b"Host: app.example.com,evil.example\r\n")
    ),
    refused(
        "a host that is none of ours is not served",
        "S40 S49",
        get(b"/public/", host=b"Host: evil.example\r\n"),
        421,
    ),
    passes(
        "Host arrives as the browser sent it",
        "S40",
        get(b"/public/", host=b"Host: APP.example.com:8443\r\n"),
        Arrival(
            line=b"GET /public/",
            has=((b"Host", b"APP.example.com:8443"), (b"X-Forwarded-Host", b"app.example.com")),
        ),
    ),
    passes(
        "an absolute-form target that agrees arrives as a path",
        "S55",
        get(b"http://app.example.com/public/x"),
        Arrival(line=b"GET /public/x", has=((b"Host", b"app.example.com"),)),
    ),
    refused("an absolute-form target of another host is refused", "S55", get(b"http://evil.example/public/")),
    refused("CONNECT is refused", "S55", get(b"app.example.com:443", method=b"CONNECT"), 405),
    refused("TRACE is refused", "S55", get(b"/public/", SIGNED_IN, method=b"TRACE"), 405),
    refused("the asterisk-form is refused", "S55", get(b"*", method=b"OPTIONS")),
)

FORWARDED = (
    passes(
        "forwarded headers of anybody are made anew",
        "S48",
        get(
            b"/public/",
            b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil.example\r\n"
            b"X-Forwarded-Port: 666\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6;host=evil.example\r\n",
        ),
        Arrival(
            line=b"GET /public/",
            has=(
                (b"X-Forwarded-For", b"127.0.0.1"),
                (b"X-Real-IP", b"127.0.0.1"),
                (b"X-Forwarded-Proto", b"https"),
                (b"X-Forwarded-Host", b"app.example.com"),
                (b"X-Forwarded-Port", b"443"),
                (b"Forwarded", b"for=127.0.0.1;host=app.example.com;proto=https"),
            ),
        ),
        b"6.6.6.6",
        b"evil.example",
        b"gopher",
    ),
    passes(
        "what re-routes behind our back does not arrive",
        "S48",
        get(
            b"/public/",
            b"X-Original-URL: /admin/\r\nX-Rewrite-URL: /admin/\r\nX-Forwarded-Uri: /admin/\r\n"
            b"X-Forwarded-Prefix: /admin/\r\nX-Original-Method: DELETE\r\n",
        ),
        Arrival(line=b"GET /public/"),
        b"/admin/",
    ),
)

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
            b"Upgrade: h2c\r\nConnection: Upgrade\r\n" + _length(SMUGGLED),
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
        request=get(b"/app/", _length(SMUGGLED), method=b"POST", body=SMUGGLED),
        answers=(frozenset({401}),),
        never=(b"smuggled",),
        in_head=False,
    ),
)

CASES: tuple[Case, ...] = (
    *HYGIENE,
    *COOKIES,
    *SESSIONS,
    *PATHS,
    *HOSTS,
    *FORWARDED,
    *UPGRADES,
    *SMUGGLING,
)
