"""The look-up of path patterns, held against asking each pattern in turn."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.errors import BadRequest
from sidecar.core.pathtrie import Entry, PathTrie
from sidecar.core.patterns import Segment, parse_path_pattern

WORDS = ["a", "b", "ab", "aab", "ba", "abb", ""]
GLOBS = ["*", "a*", "*b", "a*b", "ab*", "*ab", "**"]
patterns = st.lists(st.sampled_from([*WORDS[:-1], *GLOBS, "**", "*"]), max_size=6).map(
    lambda parts: parse_path_pattern("/" + "/".join(parts))
)
method_sets = st.none() | st.sets(st.sampled_from([b"GET", b"POST", b"PUT"]), min_size=1).map(frozenset)
rule_sets = st.lists(st.tuples(patterns, method_sets), max_size=25)
paths = st.lists(st.sampled_from(WORDS), max_size=8)

type Rules = list[tuple[tuple[Segment, ...], frozenset[bytes] | None]]


def covers(pattern: tuple[Segment, ...], path: list[str]) -> bool:
    """Say what a pattern covers in the plainest way."""
    if not pattern:
        return not path
    first, rest = pattern[0], pattern[1:]
    if first is None:
        return any(covers(rest, path[skipped:]) for skipped in range(len(path) + 1))
    if not path or not path[0]:
        return False
    if isinstance(first, str):
        fits = path[0] == first
    else:
        before, after = first
        fits = (
            len(path[0]) >= len(before) + len(after)
            and path[0].startswith(before)
            and path[0].endswith(after)
        )
    return fits and covers(rest, path[1:])


def first_in_turn(rules: Rules, path: list[str], method: bytes) -> int | None:
    for index, (pattern, methods) in enumerate(rules):
        if (methods is None or method in methods) and covers(pattern, path):
            return index
    return None


def build(rules: Rules) -> PathTrie[int]:
    return PathTrie((Entry(i, methods, i), pattern) for i, (pattern, methods) in enumerate(rules))


def find(trie: PathTrie[int], path: list[str], method: bytes = b"GET") -> int | None:
    found = trie.find(path, method)
    return None if found is None else found.value


def trie_of(*texts: str) -> PathTrie[int]:
    return build([(parse_path_pattern(text), None) for text in texts])


class TestFirstMatch:
    @settings(max_examples=500, deadline=None)
    @given(rule_sets, st.lists(paths, min_size=1, max_size=5), st.sampled_from([b"GET", b"POST", b"HEAD"]))
    def test_the_first_pattern_that_covers_the_path_is_found(
        self, rules: Rules, some_paths: list[list[str]], method: bytes
    ) -> None:
        """S59: exactly what asking each pattern in turn would give."""
        trie = build(rules)
        for path in some_paths:
            assert find(trie, path, method) == first_in_turn(rules, path, method)

    @settings(deadline=None)
    @given(rule_sets, paths, st.integers(0, 25))
    def test_a_better_one_known_before_is_kept(self, rules: Rules, path: list[str], known: int) -> None:
        expected = first_in_turn(rules[:known], path, b"GET")

        found = build(rules).find(path, b"GET", Entry(known, None, known))

        assert found is not None
        assert found.value == (known if expected is None else expected)

    def test_ten_thousand_patterns_are_told_apart(self) -> None:
        rng = random.Random(7)
        texts = [
            "/"
            + "/".join(
                rng.choice([f"s{rng.randrange(40)}", "*", "x*", "**"]) for _ in range(rng.randint(1, 6))
            )
            for _ in range(10_000)
        ]
        rules: Rules = [(parse_path_pattern(text), None) for text in texts]
        trie = build(rules)

        for _ in range(200):
            path = [rng.choice([f"s{rng.randrange(60)}", "x1", "y"]) for _ in range(rng.randint(0, 7))]
            assert find(trie, path) == first_in_turn(rules, path, b"GET")

    def test_no_patterns_match_nothing(self) -> None:
        assert find(trie_of(), []) is None
        assert find(trie_of(), ["a"]) is None

    def test_a_pattern_ends_where_the_path_ends(self) -> None:
        """S59: anchored at both ends."""
        trie = trie_of("/a/b")

        assert [find(trie, path) for path in (["a"], ["a", "b"], ["a", "b", "c"], ["x", "a", "b"])] == [
            None,
            0,
            None,
            None,
        ]


class TestBounds:
    NESTED = tuple(f"/**/{a}/**/{b}/**/{c}" for a in "abcd" for b in "abcd" for c in "abcd")

    def test_a_search_that_takes_too_long_is_given_up_and_nothing_is_admitted(self) -> None:
        """S61: what can't be decided is refused."""
        trie = trie_of(*self.NESTED)
        rng = random.Random(7)

        with pytest.raises(BadRequest, match="more segments than the rules can be searched for"):
            find(trie, [rng.choice("abcd") for _ in range(4000)] + ["z"])

    def test_nested_wildcards_are_searched_for_paths_that_people_send(self) -> None:
        trie = trie_of(*self.NESTED)

        assert find(trie, ["d"] * 100) == 63
        assert find(trie, ["x"] * 3000) is None

    def test_a_hundred_nested_wildcards_in_one_pattern_are_searched(self) -> None:
        trie = trie_of("/" + "**/a/" * 49 + "b", "/**/z")

        assert find(trie, ["a"] * 80 + ["b"]) == 0
        assert find(trie, ["a"] * 80 + ["c"]) is None

    def test_a_wildcard_reached_many_times_is_followed_once(self) -> None:
        trie = trie_of("/**/a/**/b/c", "/**/a/**/b/d")

        assert find(trie, ["a"] * 2000 + ["b", "d"]) == 1
