"""Cookies on the wire: RFC 6265bis §4.1 (Set-Cookie) and §5.6 (pairs)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core.cookies import (
    build_clearing_cookie,
    build_set_cookie,
    is_own_name,
    parse_cookies,
    without,
)
from tests.core.sessionsetup import COOKIE


def is_ours(name: bytes) -> bool:
    return is_own_name(COOKIE, name)


class TestParsing:
    def test_pairs_keep_their_order_and_duplicates(self) -> None:
        assert parse_cookies(b"a=1; b=2; a=3") == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]

    def test_spaces_around_name_and_value_are_removed(self) -> None:
        assert parse_cookies(b" a = 1 ;\tb=2;c=3") == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]

    @pytest.mark.parametrize(
        "prefix",
        ["\u2000".encode(), "\x85".encode(), b"\x85", "\xa0".encode(), b"\xa0", b"\x1f", b"\x0b", b"\x00"],
        ids=repr,
    )
    def test_no_other_character_is_stripped(self, prefix: bytes) -> None:
        """S30: a sibling domain can't reach our name through what Python's str.strip takes off."""
        name = prefix + b"__Host-doorward"
        assert parse_cookies(name + b"=planted") == [(name, b"planted")]
        assert not is_ours(name)

    @pytest.mark.parametrize("name", [b"__host-doorward", b"__Host-Doorward", b"__Host-doorwardx"])
    def test_names_are_exact_bytes(self, name: bytes) -> None:
        """S30: neither case nor a longer name is ours."""
        assert not is_ours(name)

    @pytest.mark.parametrize(
        "malformed", [b"\xff\xfe", b"{json", b"=empty", b"a b=c", b'q="', b"=", b"\x00", b"x[y]=z"]
    )
    def test_one_malformed_pair_never_drops_another(self, malformed: bytes) -> None:
        """S31: a sibling application can't lock anybody out."""
        pairs = parse_cookies(b"first=1; " + malformed + b"; last=2")
        assert pairs[0] == (b"first", b"1")
        assert pairs[-1] == (b"last", b"2")

    def test_quotes_belong_to_the_value_and_swallow_nothing(self) -> None:
        """S31: the cookie sandwich."""
        pairs = parse_cookies(b'open="x; __Host-doorward=secret; close=y"')
        assert pairs == [(b"open", b'"x'), (b"__Host-doorward", b"secret"), (b"close", b'y"')]

    def test_part_without_equals_sign_is_a_value_without_a_name(self) -> None:
        assert parse_cookies(b"__Host-doorward") == [(b"", b"__Host-doorward")]

    def test_empty_parts_are_nothing(self) -> None:
        assert parse_cookies(b"") == []
        assert parse_cookies(b"; ;\t;") == []

    def test_value_keeps_further_equals_signs(self) -> None:
        assert parse_cookies(b"a=b=c==") == [(b"a", b"b=c==")]

    @given(st.binary(max_size=200))
    def test_every_field_parses_part_by_part(self, value: bytes) -> None:
        alone = [pair for part in value.split(b";") for pair in parse_cookies(part)]
        assert parse_cookies(value) == alone


class TestCutting:
    def test_our_cookies_are_cut_and_the_others_stay_byte_for_byte(self) -> None:
        """S40: what of ours a browser sends never reaches the upstream."""
        field = b'a= 1 ; __Host-doorward=x;b="2"; __Host-doorward.0=y; __Host-login.abcd1234=z;  c=3'
        assert without(field, is_ours) == b'a= 1 ;b="2";  c=3'

    def test_nothing_left_is_none(self) -> None:
        assert without(b"__Host-doorward=x; __Host-login.q=1", is_ours) is None

    def test_field_without_ours_is_untouched(self) -> None:
        field = b" a=1;; b "
        assert without(field, is_ours) is field

    @pytest.mark.parametrize(
        ("field", "left"),
        [
            (b"__Host-doorward=x; a=1", b"a=1"),
            (b"a=1; __Host-doorward=x", b"a=1"),
            (b"a=1; __Host-doorward=x; b=2", b"a=1; b=2"),
            (b"a=1; __Host-doorward", b"a=1"),
            (b"a=1;\t__Host-doorward\t=x;b=2", b"a=1;b=2"),
            (b"__Host-doorward=x; ", None),
        ],
    )
    def test_cut_leaves_well_formed_fields(self, field: bytes, left: bytes | None) -> None:
        assert without(field, is_ours) == left

    @given(
        st.lists(st.sampled_from([b"a=1", b" b=2", b"__Host-doorward=x", b" __Host-login.x=1", b"", b" "]))
    )
    @example([b"__Host-doorward=x"])
    def test_cut_field_has_the_other_pairs_and_none_of_ours(self, parts: list[bytes]) -> None:
        field = b";".join(parts)
        left = without(field, is_ours)
        expected = [pair for pair in parse_cookies(field) if not is_ours(pair[0])]
        assert parse_cookies(left or b"") == expected


class TestSetting:
    def test_attributes(self) -> None:
        """S28: host only, every path, HTTPS only, out of scripts' reach, Lax."""
        value = build_set_cookie(COOKIE, b"__Host-doorward", b"v", max_age_seconds=60)
        assert value == b"__Host-doorward=v; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax"

    def test_loopback_cookie_is_not_secure(self) -> None:
        policy = replace(COOKIE, secure=False)
        assert b"Secure" not in build_set_cookie(policy, b"n", b"v", max_age_seconds=None)

    def test_same_site_none_is_always_secure(self) -> None:
        policy = replace(COOKIE, secure=False)
        value = build_set_cookie(policy, b"n", b"v", max_age_seconds=None, same_site="None")
        assert value == b"n=v; Path=/; Secure; HttpOnly; SameSite=None"

    def test_partitioned_and_domain_are_options(self) -> None:
        policy = replace(COOKIE, same_site="None", partitioned=True, domain="example.com")
        value = build_set_cookie(policy, b"n", b"v", max_age_seconds=1)
        assert value == (
            b"n=v; Path=/; Max-Age=1; Domain=example.com; Secure; HttpOnly; SameSite=None; Partitioned"
        )

    def test_clearing_carries_the_same_attributes(self) -> None:
        value = build_clearing_cookie(COOKIE, b"__Host-doorward")
        assert value == b"__Host-doorward=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"

    @pytest.mark.parametrize("name", [b"", b"a=b", b"a;b", b"a b", b"a\r\nb", b"\xe9"])
    def test_bad_name_is_refused(self, name: bytes) -> None:
        with pytest.raises(ValueError, match="cookie name"):
            build_set_cookie(COOKIE, name, b"v", max_age_seconds=1)

    @pytest.mark.parametrize(
        "value", [b"a;b", b"a b", b'"', b"a,b", b"\\", b"\r\n", b"\x7f", b"\xff", b"\x00"]
    )
    def test_bad_value_is_refused(self, value: bytes) -> None:
        with pytest.raises(ValueError, match="cookie name"):
            build_set_cookie(COOKIE, b"n", value, max_age_seconds=1)
