"""What a request target may be, and what is known of it before any rule is asked."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core.errors import BadRequest
from sidecar.core.paths import parse_target

# What paths that mean harm are made of, and some that mean none.
PARTS = [
    *("/", "//", ".", "..", "/.", "/..", ";", ";a=1", "a", "b", "admin", "A", "%", "%2", "%41", "%61", "%2e"),
    *("%2E", "%2f", "%2F", "%252e", "%252f", "%25", "%3b", "%3f", "%23", "%20", "%00", "%0a", "%5c", "\\"),
    *("%c0%ae", "%c3%a9", "%e9", "%ff", "%e0%80%af", "%f8%80%80%80%af", "?", "#", " ", "\x00", "\xe9", "~"),
]
hostile_targets = st.lists(st.sampled_from(PARTS), max_size=12).map(
    lambda parts: b"/" + "".join(parts).encode("latin-1")
)


def refusal(target: bytes) -> str:
    with pytest.raises(BadRequest) as refused:
        parse_target(target)
    return refused.value.code


class TestForms:
    """RFC 9112 §3.2."""

    def test_origin_form_is_taken_apart_and_kept_as_sent(self) -> None:
        parsed = parse_target(b"/a%20b/c?d=%zz&e=\\d")

        assert (parsed.target, parsed.path, parsed.query) == (
            b"/a%20b/c?d=%zz&e=\\d",
            b"/a%20b/c",
            b"d=%zz&e=\\d",
        )
        assert parsed.authority is None

    def test_an_empty_query_is_kept_in_the_target(self) -> None:
        parsed = parse_target(b"/admin?")

        assert (parsed.target, parsed.path, parsed.query, parsed.readings) == (
            b"/admin?",
            b"/admin",
            b"",
            ("/admin",),
        )

    @pytest.mark.parametrize(
        ("target", "origin_form", "authority"),
        [
            (b"http://app.example.com/a?b", b"/a?b", b"app.example.com"),
            (b"HTTPS://App.example.com:8443", b"/", b"App.example.com:8443"),
            (b"http://[::1]:80?b", b"/?b", b"[::1]:80"),
        ],
    )
    def test_absolute_form_gives_its_authority_to_be_held_against_host(
        self, target: bytes, origin_form: bytes, authority: bytes
    ) -> None:
        """S55: the gate refuses a target for another host."""
        parsed = parse_target(target)

        assert (parsed.target, parsed.authority) == (origin_form, authority)

    @pytest.mark.parametrize(
        "target",
        [
            *(b"", b"*", b"?a", b"admin", b"app.example.com:443", b"ftp://a/", b"http:/a", b"http:///a"),
            *(b"http://", b"http://user@a/", b"http://a\\b/", b"http://a b/", b"javascript:alert(1)"),
        ],
    )
    def test_what_is_neither_path_nor_http_url_is_refused(self, target: bytes) -> None:
        """S55: asterisk-form and authority-form ask for a proxy's own services."""
        assert refusal(target) == "invalid_path"

    @pytest.mark.parametrize(
        "target",
        [
            b"/\xc3\xa9",
            b"/a b",
            b"/\t",
            b"/a\x00",
            b"/a\r\nb",
            b"/\x7f",
            b"/a#b",
            b"/?a#b",
            b"/?\xe9",
            b"/? ",
        ],
    )
    def test_octets_that_a_target_can_not_hold_are_refused(self, target: bytes) -> None:
        assert refusal(target) == "invalid_path"

    @pytest.mark.parametrize("target", [b"/%", b"/a%2", b"/%zz", b"/%u002f", b"/100%"])
    def test_a_bad_escape_is_refused(self, target: bytes) -> None:
        assert refusal(target) == "invalid_path"


class TestPlain:
    @pytest.mark.parametrize(
        "target",
        [
            *(b"/", b"/a", b"/a/", b"/a/b.css", b"/a..b/c", b"/~user/@scope", b"/(a)+b,c=d&e:f!g$h'i*j"),
            *(b"/a|b^c[d]{e}", b'/"<>`', b"/ADMIN", b"/a?b//c/../d%2f;e"),
        ],
    )
    def test_a_plain_path_has_one_reading(self, target: bytes) -> None:
        path = target.partition(b"?")[0].decode()

        assert parse_target(target).readings == (path,)
        assert parse_target(target).canonical == path

    @pytest.mark.parametrize("target", [b"/.well-known/openid-configuration", b"/a/.git/b"])
    def test_a_hidden_name_is_no_dot_segment(self, target: bytes) -> None:
        assert parse_target(target).readings == (target.decode(),)

    def test_what_is_shown_of_a_target_holds_no_query(self) -> None:
        assert repr(parse_target(b"/a?code=secret")) == "ParsedTarget(b'/a', readings=('/a',))"


class TestFuzzing:
    @given(st.binary(max_size=60) | hostile_targets)
    @example(b"/%25" + b"25" * 40)
    @example(b"/" + b"%252e;%252f/./%2520%25%2e//%e9" * 10)
    def test_any_bytes_are_parsed_or_refused(self, target: bytes) -> None:
        try:
            parsed = parse_target(target)
        except BadRequest:
            assert refusal(target) in {"invalid_path", "ambiguous_path"}
            return
        assert parsed.authority is not None or parsed.target == target
        assert parsed.target.partition(b"?")[::2] == (parsed.path, parsed.query)
        assert len(set(parsed.readings)) == len(parsed.readings)
        assert all(reading.startswith("/") for reading in parsed.readings)
        for character in ("\x00", "\n", "\r", "\x7f"):
            assert character not in "".join(parsed.readings)

    @given(hostile_targets)
    def test_the_canonical_path_holds_no_dot_segment_and_no_empty_one(self, target: bytes) -> None:
        try:
            canonical = parse_target(target).canonical
        except BadRequest:
            return
        assert not {".", ".."} & set(canonical.split("/"))
        assert "//" not in canonical

    @given(hostile_targets)
    def test_the_canonical_path_of_a_canonical_path_is_itself(self, target: bytes) -> None:
        try:
            canonical = parse_target(target).canonical
        except BadRequest:
            return
        if "\\" in canonical:
            return  # shows an octet that is no UTF-8, and is no path
        assert parse_target(quote(canonical).encode()).canonical == canonical

    @given(hostile_targets, hostile_targets)
    def test_the_query_changes_no_reading(self, target: bytes, query: bytes) -> None:
        """S59: a query can never satisfy a path rule."""
        try:
            with_query = parse_target(target.partition(b"?")[0] + b"?" + query)
        except BadRequest:
            return
        assert with_query.readings == parse_target(target.partition(b"?")[0]).readings
