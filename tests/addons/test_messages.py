"""Messages made without mitmproxy's checks are what mitmproxy would have made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Headers, Request, Response

from addons.messages import Fields, make_request, make_response

NAMES = st.sampled_from([b"Host", b"host", b"Set-Cookie", b"SET-COOKIE", b"X", b"Content-Length"])
PAIRS = st.lists(st.tuples(NAMES, st.binary(max_size=6)))
ASKED = st.sampled_from(["host", "Set-Cookie", b"set-cookie", "x", "Content-length", "absent", b"absent"])


@given(pairs=PAIRS, name=ASKED)
def test_fields_are_found_as_mitmproxys_are(pairs: list[tuple[bytes, bytes]], name: str | bytes) -> None:
    ours, theirs = Fields.of(pairs), Headers(pairs)
    assert ours.get_all(name) == theirs.get_all(name)
    assert (name in ours) == (name in theirs)
    assert ours.get(name) == theirs.get(name)
    assert ours.get(name, 1) == theirs.get(name, 1)
    assert (ours == theirs, bytes(ours), list(ours)) == (True, bytes(theirs), list(theirs))


@given(pairs=PAIRS, name=ASKED)
def test_fields_are_changed_as_mitmproxys_are(pairs: list[tuple[bytes, bytes]], name: str | bytes) -> None:
    ours, theirs = Fields.of(pairs), Headers(pairs)
    for fields in (ours, theirs):
        fields.add("x", "1")
        fields[name] = "2"
        fields.pop("host", None)
    assert ours.fields == theirs.fields
    assert ours.copy() == ours
    assert 7 not in ours


def test_a_request_is_the_one_that_mitmproxy_makes() -> None:
    parts = {
        "host": "app",
        "port": 80,
        "method": b"GET",
        "scheme": b"http",
        "authority": b"",
        "path": b"/",
        "http_version": b"HTTP/1.1",
        "content": None,
    }
    pairs = [(b"Host", b"app"), (b"A", b"b")]
    ours = make_request(**parts, pairs=pairs, started=1.0)  # type: ignore[arg-type]
    theirs = Request(
        **parts,  # type: ignore[arg-type]
        headers=Headers(pairs), trailers=None, timestamp_start=1.0, timestamp_end=None,
    )  # fmt: skip
    assert ours.get_state() == theirs.get_state()
    assert (ours.stream, ours.copy().get_state()) == (theirs.stream, theirs.get_state())


def test_an_answer_is_the_one_that_mitmproxy_makes() -> None:
    pairs = [(b"Content-Length", b"2")]
    for content, ended in ((b"ok", 1.0), (None, None)):
        ours = make_response(status=200, reason=b"OK", pairs=pairs, content=content, started=1.0)
        theirs = Response(b"HTTP/1.1", 200, b"OK", Headers(pairs), content, None, 1.0, ended)
        assert ours.get_state() == theirs.get_state()
