"""A page that shows headers is read in whatever form it has."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http import RequestHead
from sidecar.demo.received import read_fields
from sidecar.demo.views import home_page
from sidecar.doctor.echo import read_echo

_FIELDS = [["X-Auth-Request-User", "ann"], ["X-Auth-Request-Groups", "a,b"], ["Host", "app.example.com"]]


@pytest.mark.parametrize(
    "page",
    [
        json.dumps({"headers": _FIELDS}),
        json.dumps({"headers": dict(_FIELDS), "method": "GET"}),
        json.dumps({"request": {"headers": {name: [value] for name, value in _FIELDS}}}),
        json.dumps([{"name": name, "value": value} for name, value in _FIELDS]),
        json.dumps({"HTTP_X_AUTH_REQUEST_USER": "ann", "HTTP_X_AUTH_REQUEST_GROUPS": "a,b"}),
        "GET / HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in _FIELDS),
        "HTTP_X_AUTH_REQUEST_USER=ann\nHTTP_X_AUTH_REQUEST_GROUPS=a,b\n",
        "<p>Headers</p><pre>" + "\n".join(f"{name}: {value}" for name, value in _FIELDS) + "</pre>",
        "<table>"
        + "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in _FIELDS)
        + "</table>",
        "<title>x</title><pre>" + json.dumps({"headers": _FIELDS}).replace('"', "&quot;") + "</pre>",
        "<style>a: b</style><dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in _FIELDS),
    ],
)
def test_usual_forms_are_read(page: str) -> None:
    echo = read_echo(page.encode())

    assert "ann" in echo.values("X-Auth-Request-User")
    assert "a,b" in echo.values("x-auth-request-groups")
    assert echo.values("X-Forwarded-User") == []


def test_another_spelling_of_a_name_is_the_same_field() -> None:
    """S41: as the servers see it that fold names."""
    echo = read_echo(b'{"X_Auth.Request-User": "eve", "X-Auth-Request-User": "ann"}')

    assert echo.values("X-Auth-Request-User") == ["eve", "ann"]
    assert echo.names_of("eve") == ["X_Auth.Request-User"]


def test_the_page_of_the_demo_application_is_read() -> None:
    headers = [(b"X-Forwarded-User", b"ann"), (b"X-Doctor-Probe", b"seen")]
    head = RequestHead(b"GET", b"/", headers, "127.0.0.1", "id")

    echo = read_echo(home_page(head, None, read_fields(headers)).body)

    assert echo.names_of("seen") == ["X-Doctor-Probe"]


@given(st.binary(max_size=200) | st.text("[]{}\"':,<>/abAB-_ \n", max_size=200).map(str.encode))
def test_no_page_is_too_strange(page: bytes) -> None:
    read_echo(page)


def test_deep_nesting_is_no_defect() -> None:
    assert read_echo(b"[" * 100_000).pairs == ()
