"""Which values become a link."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.pages.links import safe_link


@pytest.mark.parametrize(
    "url",
    [
        "/",
        "/oauth2/sign_in?rd=%2Fa%2Fb&x=1#top",
        "/a//b",
        "https://id.example.com",
        "https://id.example.com:8443/a?b#c",
        "http://localhost:8080/oauth2/start",
        "http://127.0.0.1:1/",
        "http://[::1]:8080/",
        "HTTPS://EXAMPLE.COM/",
    ],
)
def test_paths_and_web_addresses_are_links(url: str) -> None:
    assert safe_link(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        7,
        b"/x",
        "relative",
        "?a",
        "#a",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\\b",
        "/a b",
        "/a\tb",
        "/\n/evil.example",
        "/a\n",
        " /a",
        "/ä",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://a/b",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "https://",
        "https://a@b/",
        "https://a:b@c/",
        "https://a\\@b/",
        "https://exa mple/",
        "https://müller.example/",
        "https://a:999999/",
        "https://-a/",
        "https://a%2eb/",
    ],
)
def test_anything_else_is_not(url: object) -> None:
    """S67: nothing that runs, nothing that only looks like a path."""
    assert safe_link(url) == ""


@given(st.text(alphabet=st.sampled_from("/\\:@.#?ahtpsjvcrie \t\n\x00%[]1;-é"), max_size=30))
def test_a_link_leads_to_a_path_or_to_http_and_nowhere_else(value: str) -> None:
    link = safe_link(value)
    if link:
        assert link == value
        parts = urlsplit(link)
        assert parts.scheme in {"", "http", "https"}
        assert bool(parts.netloc) == bool(parts.scheme)
        assert "@" not in parts.netloc
        assert parts.scheme or (link[0] == "/" and link[1:2] not in {"/", "\\"})
