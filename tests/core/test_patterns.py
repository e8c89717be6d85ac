"""What an operator may write for a path or a host, and the mend for everything else."""

from __future__ import annotations

import pytest

from sidecar.core.errors import ConfigurationError
from sidecar.core.patterns import Segment, fold_segments, host_keys, parse_host_pattern, parse_path_pattern


class TestPathPatterns:
    @pytest.mark.parametrize(
        ("pattern", "segments"),
        [
            ("/", ()),
            ("/x", ("x",)),
            ("/**", (None,)),
            ("/a/**/**/b", ("a", None, "b")),
            ("/api/*/items", ("api", ("", ""), "items")),
            ("/s/*.css", ("s", ("", ".css"))),
            ("/a-*-b", (("a-", "-b"),)),
            ("/café/a b", ("café", "a b")),
            ("/.well-known/...", (".well-known", "...")),
            ("/v1/x:cancel/$batch", ("v1", "x:cancel", "$batch")),
        ],
    )
    def test_a_pattern_is_its_segments(self, pattern: str, segments: tuple[Segment, ...]) -> None:
        assert parse_path_pattern(pattern) == segments

    @pytest.mark.parametrize(
        ("pattern", "mend"),
        [
            ("", "write /admin for one path or /admin/**"),
            ("admin", "substring rules and regular expressions do not exist, use /**"),
            ("*admin*", "substring rules and regular expressions do not exist, use /**"),
            ("^/admin/.*$", "substring rules and regular expressions do not exist, use /**"),
            ("/admin?x=1", "holds a query or fragment, and neither ever decides"),
            ("/admin#x", "holds a query or fragment, and neither ever decides"),
            ("/caf%C3%A9", "write readable text ('/café')"),
            ("/a;b", "holds a semicolon"),
            ("/a\\b", "backslash"),
            ("/a\nb", "control character"),
            ("/(a|b)", "holds '|', which means nothing here; write * for one segment"),
            ("/users/{id}", "holds '{', which means nothing here; write * for one segment"),
            ("/users/[0-9]", "holds '['"),
            ("/users/:id", "holds ':id'; write * for a segment of any name"),
            ("/admin/", "write /admin/** for all below it, or /admin for that path alone"),
            ("//", "write /** for all below it, or / for that path alone"),
            ("/a//b", "holds an empty segment"),
            ("/a/./b", "holds a dot segment"),
            ("/a/../b", "holds a dot segment"),
            ("/a/b**", "holds 'b**'; a segment has at most one *, and ** stands alone"),
            ("/a/***", "holds '***'"),
            ("/a/*b*", "holds '*b*'"),
            ("/x" * 101, "has more than 100 segments"),
        ],
    )
    def test_what_looks_like_another_language_is_refused_with_a_mend(self, pattern: str, mend: str) -> None:
        """S59, S61: no substring rule exists; a bad pattern is an error, not a rule that never matches."""
        with pytest.raises(ConfigurationError) as refused:
            parse_path_pattern(pattern)
        assert mend in str(refused.value)
        assert str(refused.value).startswith(f"path: {pattern!r} ")

    def test_folding_leaves_wildcards(self) -> None:
        assert fold_segments(("Straße", ("A", "B"), None)) == ("strasse", ("a", "b"), None)


class TestHostPatterns:
    @pytest.mark.parametrize(
        ("pattern", "key"),
        [
            ("App.Example.com", "app.example.com"),
            ("*.Example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("2001:DB8::0:1", "2001:db8::1"),
        ],
    )
    def test_a_pattern_is_compared_in_lower_case_ascii(self, pattern: str, key: str) -> None:
        assert parse_host_pattern(pattern) == key

    @pytest.mark.parametrize(
        "pattern",
        [
            *("", "*", "*.", "*example.com", "a.*.com", "https://a.example", "a.example/x", "a.example:443"),
            *(".example.com", "a..b", "a b", "ex\u212aample.com", "*.[::1]"),
        ],
    )
    def test_what_is_no_host_is_refused(self, pattern: str) -> None:
        """S61: an error, never a rule that does not match."""
        with pytest.raises(ConfigurationError, match=r"write app\.example\.com"):
            parse_host_pattern(pattern)

    @pytest.mark.parametrize(
        ("host", "keys"),
        [
            ("App.example.com", ["app.example.com", "*.example.com", "*.com"]),
            ("app.example.com.:443", ["app.example.com", "*.example.com", "*.com"]),
            ("localhost:8080", ["localhost"]),
            ("[::1]:8080", ["::1"]),
            ("[::1]", ["::1"]),
            ("2001:db8::1", ["2001:db8::1"]),
        ],
    )
    def test_a_host_is_looked_for_by_itself_and_by_each_domain_above(
        self, host: str, keys: list[str]
    ) -> None:
        assert host_keys(host) == keys
