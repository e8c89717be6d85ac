"""What is a secret in a request, by where it stands, what it is called, and how it looks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dev.masking import masked_fields, masked_url

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlLW9mLWl0"
SECRET = "secret-value-of-it"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cookie", f"a={SECRET}; b={SECRET}"),
        ("cookie", SECRET),
        ("Set-Cookie", f"a={SECRET}; Path=/; HttpOnly"),
        ("Authorization", f"Bearer {SECRET}"),
        ("Authorization", SECRET),
        ("Proxy-Authorization", f"Basic {SECRET}"),
        ("X-Api-Key", SECRET),
        ("X-CSRF-Token", SECRET),
        ("X-Amz-Security-Token", SECRET),
        ("X-Session-Id", SECRET),
        ("Location", f"https://id.example/cb?code={SECRET}&state={SECRET}"),
        ("Location", f"https://app.example/#access_token={SECRET}"),
        ("Referer", f"https://app.example/x?id_token_hint={SECRET}"),
    ],
)
def test_a_field_shows_no_secret(name: str, value: str) -> None:
    """S27."""
    ((_, shown),) = masked_fields([(name.encode(), value.encode())])
    assert SECRET not in shown.decode()


def test_what_is_no_secret_stays_as_it_is() -> None:
    fields = [
        (b"Host", b"app.example"),
        (b"X-Forwarded-User", b"ann"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"Accept-Language", "d\xe4nisch".encode("latin-1")),
        (b"Location", b"/reports?year=2026&q=a%2Fb"),
    ]
    assert masked_fields(fields) == fields


def test_a_cookie_keeps_its_name_and_attributes() -> None:
    ((_, shown),) = masked_fields([(b"Set-Cookie", f"sid={SECRET}; Path=/; HttpOnly".encode())])
    assert shown.decode() == f"sid=secr… ({len(SECRET)} characters); Path=/; HttpOnly"


def test_a_jwt_is_masked_wherever_it_stands() -> None:
    """S27: an assertion goes under whatever name the configuration gives it."""
    ((_, shown),) = masked_fields([(b"X-Whoever", f"it is {JWT}".encode())])
    assert JWT not in shown.decode()
    assert JWT not in masked_url(f"/x/{JWT}?y={JWT}&{JWT}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/cb?code=abcdefghijkl&iss=https%3A%2F%2Fid", "/cb?code=abcd…&iss=https%3A%2F%2Fid"),
        ("/x?id_token_hint=abcdefghijkl", "/x?id_token_hint=abcd…"),
        ("/x?redirect_uri=https%3A%2F%2Fapp&response_type=code", None),
        ("/x?q=token&page=2", None),
        ("/x;jsessionid=abcdefghijkl?a=1", "/x;jsessionid=~?a=1"),
        ("/start?rd=%2Fx%3Ftoken%3Dabcdefghijkl%26b%3D1", "/start?rd=/x?token=abcd…%26b=1"),
        ("/x#access_token=abcdefghijkl", "/x#…"),
        ("/x?", None),
        ("*", None),
    ],
)
def test_a_url_shows_no_secret_and_stays_readable(url: str, shown: str | None) -> None:
    """S27."""
    assert masked_url(url) == (url if shown is None else shown)


@given(st.binary(max_size=200), st.sampled_from([b"Cookie", b"Location", b"Set-Cookie", b"X-Any", b"Link"]))
def test_whatever_comes_is_masked_without_an_error(value: bytes, name: bytes) -> None:
    masked_fields([(name, value)])
    masked_url(value.decode("utf-8", "surrogateescape"))
