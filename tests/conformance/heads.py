"""Cases of fields, cookies and sessions."""

from __future__ import annotations

from tests.conformance.case import (
    ALICE,
    NO_IDENTITY,
    OK,
    SIGNED_IN,
    Arrival,
    Case,
    get,
    passes,
    refused,
)
from tests.conformance.setting import COOKIE

__all__ = ["COOKIES", "HYGIENE", "SESSIONS"]


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
