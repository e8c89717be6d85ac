from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.cookies import build_set_cookie
from sidecar.core.entrance import entrance, handoff_hosts, origin_at, site_at, start_location
from sidecar.core.runtime import Origin, Site
from tests.core.gatesetup import site

HOSTS = frozenset({"auth.example.com", "app1.example.com", "b.other", "b.other:8443"})


def made(domain: str | None = "example.com", **changes: Any) -> Site:
    of = site(public_url=Origin(scheme="https", host="auth.example.com", port=443), hosts=HOSTS, **changes)
    return replace(of, cookie=replace(of.cookie, domain=domain))


@pytest.mark.parametrize(
    ("host", "domain", "expected"),
    [
        ("auth.example.com", None, "here"),
        ("AUTH.example.com:443", None, "here"),
        # A container's published port is no other host.
        ("auth.example.com:8443", "example.com", "here"),
        ("app1.example.com", "example.com", "auth_host"),
        ("app1.example.com", "app1.example.com", "auth_host"),
        ("app1.example.com", None, "handoff"),
        ("b.other", "example.com", "handoff"),
        ("b.other", None, "handoff"),
        # What the gate would have refused sends nobody anywhere.
        ("evil.example", "example.com", "here"),
        ("evil@host", "example.com", "here"),
        ("ä.example", "example.com", "here"),
    ],
)
def test_what_a_host_is_to_a_login(host: str, domain: str | None, expected: str) -> None:
    """Only public_url's callback is registered; who shares its cookies goes there, others are handed over."""
    assert entrance(made(domain), host) == expected


def test_a_domain_does_not_cover_a_name_that_only_ends_alike() -> None:
    of = replace(made(), hosts=HOSTS | {"evilexample.com"})

    assert entrance(of, "evilexample.com") == "handoff"


def test_another_port_of_the_same_name_shares_its_cookies() -> None:
    """RFC 6265bis §8.5: cookies know no ports."""
    of = replace(made(None), hosts=HOSTS | {"auth.example.com:8443"})

    assert entrance(of, "auth.example.com:8443") == "auth_host"
    assert start_location(of, "auth.example.com:8443", "/x") == (
        b"https://auth.example.com/oauth2/start?rd=https%3A%2F%2Fauth.example.com%3A8443%2Fx"
    )


def test_the_hosts_that_are_handed_over() -> None:
    assert handoff_hosts(made()) == {"b.other", "b.other:8443"}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("auth.example.com", b"https://auth.example.com/oauth2/start?rd=%2Fx%3Fa%3D1%26b%3D%2525"),
        ("b.other", b"https://b.other/oauth2/start?rd=%2Fx%3Fa%3D1%26b%3D%2525"),
        ("b.other:8443", b"https://b.other:8443/oauth2/start?rd=%2Fx%3Fa%3D1%26b%3D%2525"),
        (
            "app1.example.com",
            b"https://auth.example.com/oauth2/start?rd=https%3A%2F%2Fapp1.example.com%2Fx%3Fa%3D1%26b%3D%2525",
        ),
    ],
)
def test_where_a_browser_begins_that_asked_at_a_host(host: str, expected: bytes) -> None:
    """The exact URL travels along, path and query as sent."""
    assert start_location(made(), host, "/x?a=1&b=%25") == expected
    assert start_location(made(), host, "/x?a=1&b=%25", cause="denied") == expected + b"&cause=denied"


def test_a_url_is_made_of_configured_names_only() -> None:
    """S49: whatever Host says."""
    assert origin_at(made(), "app1.example.com:9999") == "https://app1.example.com"
    assert origin_at(made(), "evil.example") == "https://auth.example.com"


def test_the_cookies_of_a_host_outside_of_the_domain_have_none() -> None:
    """A browser drops a cookie whose Domain does not cover the host that sets it."""
    for host, expected in (("b.other", False), ("app1.example.com", True), ("auth.example.com", True)):
        of = site_at(made(), host)
        field = build_set_cookie(of.cookie, b"name", b"", max_age_seconds=1)
        assert (b"Domain=example.com" in field) is expected
        # What other hosts are does not change with where it is asked.
        assert entrance(of, "app1.example.com") == "auth_host"
