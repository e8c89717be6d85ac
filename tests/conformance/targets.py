"""Cases of paths, hosts and where a request comes from."""

from __future__ import annotations

from tests.conformance.case import (
    ALICE,
    HOST,
    SIGNED_IN,
    Arrival,
    get,
    passes,
    refused,
)

__all__ = ["FORWARDED", "HOSTS", "PATHS"]

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
