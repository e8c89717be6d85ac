"""The application behind the door."""

from __future__ import annotations

import json
from html import escape

import pytest

from sidecar.core.decision import Respond
from sidecar.core.http import HeaderPair, RequestHead, Response, header_values
from sidecar.demo import DemoApplication
from sidecar.demo.received import read_fields, read_visitor
from sidecar.supervisor.admin import QuietObserver

CLEO: tuple[HeaderPair, ...] = (
    (b"Host", b"localhost:8080"),
    (b"X-Forwarded-User", b"cleo"),
    (b"X-Forwarded-Name", b"Cl%C3%A9o <b>M</b>"),
    (b"X-Forwarded-Email", b"cleo@example.org"),
    (b"X-Forwarded-Groups", b"guests,a%2Cadmin,50%25"),
    (b"X-Forwarded-Proto", b"http"),
    (b"accept", b"text/html"),
)


def ask(target: bytes, *headers: HeaderPair) -> Response:
    decision = DemoApplication(QuietObserver()).decide(
        RequestHead(b"GET", target, list(headers), "127.0.0.1", "1")
    )
    assert isinstance(decision, Respond)
    return decision.response


def test_values_are_decoded_after_lists_are_split() -> None:
    """S47: a group with a comma in its name stays one group."""
    visitor = read_visitor(CLEO)
    assert visitor is not None
    assert visitor.groups == ("guests", "a,admin", "50%")
    assert visitor.name == "Cléo <b>M</b>"


def test_without_a_user_header_nobody_is_there() -> None:
    assert read_visitor([(b"X-Forwarded-Groups", b"admins")]) is None
    assert read_visitor([(b"X-Forwarded-User", b"a"), (b"x-forwarded-user", b"b")]) is None


def test_fields_are_shown_as_received_with_doorwards_first() -> None:
    names = [(field.name, field.kind) for field in read_fields(CLEO)]
    assert names == [
        ("X-Forwarded-User", "identity"),
        ("X-Forwarded-Name", "identity"),
        ("X-Forwarded-Email", "identity"),
        ("X-Forwarded-Groups", "identity"),
        ("X-Forwarded-Proto", "way"),
        ("Host", "own"),
        ("accept", "own"),
    ]


def test_the_hall_shows_every_header_and_who_it_is() -> None:
    page = ask(b"/?q=1", *CLEO).body.decode()
    for name, value in CLEO:
        assert name.decode() in page
        assert escape(value.decode()) in page
    assert "Cléo &lt;b&gt;M&lt;/b&gt;" in page
    assert "GET /?q=1" in page


@pytest.mark.parametrize("name", ["home", "room"])
@pytest.mark.parametrize("value", [b"<script>alert(1)</script>", b'"><img src=x>', b"\xff\xfe", b"{{7*7}}"])
def test_a_hostile_header_stays_text(name: str, value: bytes) -> None:
    """S67."""
    headers = ((b"X-Forwarded-User", value), (b"X-Evil", value), (b"X-Forwarded-Groups", value))
    page = ask(b"/" if name == "home" else b"/admin/", *headers).body.decode()
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "49" not in page.partition("<main")[2]


def test_a_page_with_a_script_may_reach_its_own_origin_only() -> None:
    [policy] = header_values(ask(b"/", *CLEO).headers, b"content-security-policy")
    assert b"connect-src 'self'" in policy
    assert b"script-src 'sha256-" in policy
    [policy] = header_values(ask(b"/admin/", *CLEO).headers, b"content-security-policy")
    assert b"connect-src" not in policy
    assert b"script-src" not in policy


def test_the_api_says_who_it_is() -> None:
    answer = ask(b"/api/me?x", *CLEO)
    document = json.loads(answer.body)
    assert document["you"]["groups"] == ["guests", "a,admin", "50%"]
    assert document["headers"]["X-Forwarded-User"] == "cleo"
    assert "Host" not in document["headers"]
    assert json.loads(ask(b"/api/me").body)["you"] is None


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        (b"/public", 200, "The public room"),
        (b"/public/", 200, "The application was not told who you are"),
        (b"/reports/", 200, "Reports"),
        (b"/admin/", 200, "The admin room"),
        (b"/elsewhere", 404, "Nothing here"),
        (b"/favicon.ico", 204, ""),
    ],
)
def test_there_is_a_room_behind_each_door(target: bytes, status: int, text: str) -> None:
    answer = ask(target)
    assert answer.status == status
    assert text in answer.body.decode()
