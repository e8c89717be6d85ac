"""Which site a Host field means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import BadRequest
from sidecar.core.hosts import HostTable, is_loopback_name, parse_authority

TABLE = HostTable(
    [
        ("app", ["app.example.com"]),
        ("odd", ["odd.example.com:8443"]),
        ("one", ["shared.example.com"]),
        ("two", ["shared.example.com:8443"]),
        ("six", ["[2001:db8::1]:8080"]),
    ]
)


@pytest.mark.parametrize(
    ("host", "site"),
    [
        (b"app.example.com", "app"),
        (b"App.Example.COM", "app"),
        (b"app.example.com:443", "app"),
        (b"app.example.com:80", "app"),
        (b"app.example.com:31337", "app"),
        (b"odd.example.com", "odd"),
        (b"shared.example.com", "one"),
        (b"shared.example.com:443", "one"),
        (b"shared.example.com:8443", "two"),
        (b"shared.example.com:9999", None),
        (b"[2001:DB8::1]:8080", "six"),
        (b"[2001:db8::1]", "six"),
        (b"example.com", None),
        (b"app.example.com.", None),
        (b"x.app.example.com", None),
    ],
)
def test_a_name_finds_its_site_whatever_its_case_and_port(host: bytes, site: str | None) -> None:
    """S49: the port counts only where it tells sites apart."""
    assert TABLE.find(host) == site


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b" app.example.com",
        b"app.example.com ",
        b"a@b",
        b"a,b",
        b"a/b",
        b"a:",
        b"a:x",
        b"a:123456",
        b"[::1",
        b"::1",
        b"a\x00",
        b"\xe9",
        b"a%2eb",
        b"-a",
        b"a?b",
        b"a#b",
        b"a\\b",
        b"a" * 254,
        b"[" + b"0" * 300 + b"::1]",
    ],
)
def test_what_is_no_host_is_refused(host: bytes) -> None:
    """S49: what is no host is refused."""
    with pytest.raises(BadRequest, match="invalid_request"):
        TABLE.find(host)


@given(st.binary(max_size=30))
def test_any_bytes_are_a_host_or_refused(host: bytes) -> None:
    try:
        name, port = parse_authority(host)
    except BadRequest:
        return
    assert f"{name}:{port}" if port else name == host.decode().lower()


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("[::1]", True),
        ("::1", True),
        ("notlocalhost", False),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
        ("[2001:db8::1]", False),
    ],
)
def test_names_of_this_machine(host: str, is_local: bool) -> None:
    """RFC 6761 §6.3."""
    assert is_loopback_name(host) == is_local
