"""What every page keeps to, whatever it is given to show."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser
from typing import Final

import pytest
from markupsafe import Markup

from sidecar.core.http import Page
from sidecar.pages import PAGES, RenderedPage, render

HOSTILE: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "</style><script>alert(1)</script>",
    "</title><svg onload=alert(1)>",
    "javascript:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "//evil.example/",
    "/\\evil.example/",
    "https:evil.example",
    "https://user@evil.example/",
    "{{ 7 * 7 }}{% include 'style.css' %}",
    "<!--",
    "]]>",
    "\x00<b>\x1b[31m\ud800\u202etxt.exe",
    "&lt;b&gt;&quot;",
)
LIST_VALUES: Final = frozenset({"groups", "roles"})


class Seen(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: dict[str, str] = {}
        self.visible = ""
        self._inside = ""
        self.feed(body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag if tag in {"style", "script", "title"} else self._inside

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.text[self._inside] = self.text.get(self._inside, "") + data
        else:
            self.visible += data

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


def filled(name: str, value: str) -> dict[str, object]:
    """Return values for the page `name` in which everything that can hold text holds `value`."""
    values: dict[str, object] = dict.fromkeys(PAGES[name].names, value)
    values |= {key: [value, value] for key in LIST_VALUES & values.keys()}
    if name == "sign_in":
        values["providers"] = [{"name": value, "url": value}, {"name": value, "url": "/oauth2/start"}]
    return values


def sample(name: str, **values: object) -> RenderedPage:
    ordinary = filled(name, "/x") | {"status": 502} | values
    return render(Page(name=name, values=ordinary), "request-1")


def header(page: RenderedPage, name: bytes) -> list[str]:
    return [value.decode() for key, value in page.headers if key == name]


def sha256_source(text: str) -> str:
    return "'sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_add_no_element_attribute_or_link(name: str, value: str) -> None:
    """S67: whatever a claim, an error or a URL holds, the page is made of the same elements as ever."""
    page = Seen(render(Page(name=name, values=filled(name, value)), "request-1").body)
    assert not set(page.tags) & {"img", "iframe", "object", "embed", "b", "base"}
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    for link in page.values("href") + page.values("action"):
        assert link.startswith(("/oauth2/start", "data:image/svg+xml,"))
    assert page.tags.count("script") == (1 if name == "sign_in" else 0)
    assert "alert" not in page.text["style"] + page.text.get("script", "")


@pytest.mark.parametrize("name", PAGES)
def test_a_string_that_claims_to_be_html_is_escaped_all_the_same(name: str) -> None:
    """S67: only files of this package are written unescaped, never a value."""
    page = Seen(render(Page(name=name, values=filled(name, Markup("<i>x</i>"))), "request-1").body)
    assert "i" not in page.tags


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_private_unframed_and_carries_no_referrer(name: str) -> None:
    """S11, S15: the headers of each page."""
    page = sample(name)
    assert header(page, b"Content-Type") == ["text/html; charset=utf-8"]
    assert header(page, b"Cache-Control") == ["no-store"]
    assert header(page, b"Referrer-Policy") == ["no-referrer"]
    assert header(page, b"X-Content-Type-Options") == ["nosniff"]
    assert header(page, b"X-Frame-Options") == ["DENY"]
    [policy] = header(page, b"Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("name", PAGES)
def test_style_and_script_are_named_by_the_hash_of_their_text(name: str) -> None:
    """S67: no inline element runs but the ones whose text we know."""
    page = sample(name)
    seen = Seen(page.body)
    [policy] = header(page, b"Content-Security-Policy")
    assert f"style-src {sha256_source(seen.text['style'])}" in policy
    if "script" in seen.text:
        assert f"script-src {sha256_source(seen.text['script'])}" in policy
    else:
        assert "script-src" not in policy
    assert not seen.values("style")


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_fetched_from_anywhere(name: str) -> None:
    """S11: no third-party content, no content of our own either."""
    page = Seen(sample(name).body)
    assert not page.values("src")
    assert not page.values("srcset")
    assert [value[:5] for tag, key, value in page.attributes if (tag, key) == ("link", "href")] == ["data:"]
    assert "@import" not in page.text["style"]
    assert set(re.findall(r"url\(([^)]*)\)", page.text["style"])) <= {"#glow", "#spill", "#halo", "#bricks"}


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_language_title_heading_and_landmarks(name: str) -> None:
    page = Seen(sample(name).body)
    assert ("html", "lang", "en") in page.attributes
    assert page.text["title"].strip()
    assert page.tags.count("h1") == 1
    assert page.tags.count("main") == 1
    assert page.tags.count("footer") == 1
    assert ("meta", "content", "width=device-width, initial-scale=1") in page.attributes


@pytest.mark.parametrize("name", PAGES)
def test_only_pages_with_something_to_report_show_the_request_id(name: str) -> None:
    shows = "request-1" in Seen(sample(name).body).visible
    assert shows == (name in {"error", "denied", "login_loop"})


@pytest.mark.parametrize("target", ["https://id.example.com", "http://localhost:9000", "https:", "http:"])
def test_a_form_may_lead_to_the_origins_or_the_scheme_that_the_page_names(target: str) -> None:
    page = Page(name="signed_out", values={"sign_in_url": "/"}, form_targets=(target,))
    [policy] = header(render(page, "request-1"), b"Content-Security-Policy")
    assert f"form-action 'self' {target};" in policy


@pytest.mark.parametrize(
    "target", ["*", "https:*", "https: *", "https://a; script-src *", "https://a/path", "data:", "'self'"]
)
def test_a_form_target_that_is_no_origin_or_scheme_adds_nothing_to_the_policy(target: str) -> None:
    page = Page(name="signed_out", values={"sign_in_url": "/"}, form_targets=(target,))
    [policy] = header(render(page, "request-1"), b"Content-Security-Policy")
    assert "form-action 'self';" in policy


def test_the_sign_in_page_runs_a_script_only_when_it_keeps_the_fragment() -> None:
    assert "script" in Seen(sample("sign_in", keeps_fragment=True).body).tags
    assert "script" not in Seen(sample("sign_in", keeps_fragment=False).body).tags


def test_the_sign_in_page_offers_each_provider_by_name() -> None:
    providers = [
        {"name": "Büro & Söhne", "url": "/oauth2/start/a?rd=%2F"},
        {"name": "B", "url": "/oauth2/start/b"},
    ]
    page = Seen(sample("sign_in", providers=providers, keeps_fragment=False).body)
    assert [value for tag, key, value in page.attributes if (tag, key) == ("a", "href")] == [
        "/oauth2/start/a?rd=%2F",
        "/oauth2/start/b",
    ]
    assert "Büro & Söhne" in page.visible


def test_the_sign_in_page_without_a_provider_says_so() -> None:
    assert "No way to sign in" in Seen(sample("sign_in", providers=[]).body).visible


def test_pages_that_a_pop_up_passes_through_keep_its_opener() -> None:
    assert not header(sample("sign_in"), b"Cross-Origin-Opener-Policy")
    assert header(sample("who_am_i"), b"Cross-Origin-Opener-Policy") == ["same-origin"]


def test_the_confirmation_posts_its_csrf_token_and_nothing_else() -> None:
    page = Seen(sample("sign_out_confirm", action="/oauth2/sign_out", csrf_token='t"1').body)
    assert ("form", "method", "post") in page.attributes
    assert ("form", "action", "/oauth2/sign_out") in page.attributes
    assert page.values("name") == ["viewport", "color-scheme", "robots", "csrf_token"]
    assert 't"1' in page.values("value")


def test_an_error_never_says_what_it_was_told_from_outside() -> None:
    """S67: title and message come from a closed table."""
    page = Seen(sample("error", status=403, title="Call 0900-123456", message="to get in").body)
    assert "0900" not in page.visible
    assert "to get in" not in page.visible
    assert "This is not open to you" in page.visible


def test_a_lost_form_is_said_to_be_lost() -> None:
    assert "was not saved" in Seen(sample("session_ended", was_form=True).body).visible
    assert "was not saved" not in Seen(sample("session_ended", was_form=False).body).visible


def test_who_am_i_shows_the_first_fifty_of_very_many_groups() -> None:
    """S25: ten thousand groups make a page that can still be read."""
    page = sample("who_am_i", groups=[f"group-{number}" for number in range(10_000)])
    assert "and 9950 more" in Seen(page.body).visible
    assert len(page.body) < 40_000


@pytest.mark.parametrize("expires", [None, "soon", float("nan"), float("inf"), 1e300, True])
def test_who_am_i_leaves_out_an_end_that_is_no_time(expires: object) -> None:
    assert "time" not in Seen(sample("who_am_i", expires=expires).body).tags


def test_who_am_i_shows_the_end_in_utc() -> None:
    assert "2030-03-17, 17:46 UTC" in Seen(sample("who_am_i", expires=1900000000.5).body).visible


def test_a_missing_value_is_a_defect_and_no_half_page() -> None:
    with pytest.raises(KeyError, match="sign_in_url"):
        render(Page(name="signed_out"), "request-1")


def test_a_value_that_is_no_plain_data_is_a_defect() -> None:
    with pytest.raises(TypeError, match="object"):
        render(Page(name="signed_out", values={"sign_in_url": object()}), "request-1")
