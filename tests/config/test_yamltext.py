from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.problems import Position
from sidecar.config.yamltext import MAX_DEPTH, parse_yaml


def sentences(text: str) -> list[str]:
    return [problem.sentence("f") for problem in parse_yaml(text, {}).problems]


class TestScalars:
    """YAML 1.2's core schema (§10.3.2), less exponents."""

    @pytest.mark.parametrize(
        ("written", "value"),
        [
            ("true", True),
            ("False", False),
            ("yes", "yes"),
            ("no", "no"),
            ("on", "on"),
            ("12", 12),
            ("-3", -3),
            ("0x10", 16),
            ("0o17", 15),
            ("010", 10),
            ("1.5", 1.5),
            ("1e3", "1e3"),
            ("1:30", "1:30"),
            ("2026-01-31", "2026-01-31"),
            ("12345678901234567890123", "12345678901234567890123"),
            ('"true"', "true"),
            ("'12'", "12"),
            ("!!str 12", "12"),
            ("=", "="),
        ],
    )
    def test_scalar_is_read_as_yaml_1_2_says(self, written: str, value: object) -> None:
        found = parse_yaml(f"a: {written}\n", {}).value
        assert found == {"a": value}
        assert isinstance(found, dict)
        assert type(found["a"]) is type(value)

    def test_sequences_are_tuples(self) -> None:
        assert parse_yaml("a: [1, [2]]", {}).value == {"a": (1, (2,))}


class TestPositions:
    def test_keys_and_values_have_places(self) -> None:
        document = parse_yaml("a:\n  b: c\n  d: [e,\n    f]\n", {})
        assert document.keys["a", "b"] == Position(2, 3)
        assert document.values["a", "b"] == Position(2, 6)
        assert document.values["a", "d", 1] == Position(4, 5)

    def test_columns_count_characters(self) -> None:
        assert parse_yaml("é: {ü: x}\n", {}).values["é", "ü"] == Position(1, 8)

    def test_a_path_that_is_not_there_has_the_place_of_what_is_above_it(self) -> None:
        document = parse_yaml("a:\n  b: c\n", {})
        assert document.position_of(("a", "x", "y")) == Position(2, 3)
        assert document.position_of_key(("a", "x")) == Position(1, 1)
        assert document.position_of_key(("a", "b")) == Position(2, 3)


class TestMerges:
    def test_own_keys_go_before_merged_ones(self) -> None:
        text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n"
        assert parse_yaml(text, {}).value == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}

    def test_the_first_of_several_goes_first(self) -> None:
        text = "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}\n"
        value = parse_yaml(text, {}).value
        assert isinstance(value, dict)
        assert value["c"] == {"x": 1, "y": 2}

    def test_a_merged_mapping_may_merge_itself(self) -> None:
        text = "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}\n"
        value = parse_yaml(text, {}).value
        assert isinstance(value, dict)
        assert value["c"] == {"x": 1, "y": 2}

    def test_a_merge_that_holds_itself_is_a_problem(self) -> None:
        assert sentences("a: &a\n  <<: *a\n") == [
            "f:1:4: a.<<: this alias holds itself; write the values out"
        ]

    def test_a_quoted_key_is_no_merge(self) -> None:
        assert parse_yaml('"<<": {x: 1}', {}).value == {"<<": {"x": 1}}


class TestSize:
    @pytest.mark.slow
    def test_aliases_that_grow_without_end_are_stopped(self) -> None:
        lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
        for one, two in zip("abcdefgh", "bcdefghi", strict=True):
            lines.append(f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]")
        assert sentences("\n".join(lines)) == [
            "f: holds more than 250000 values once its aliases are expanded"
        ]

    def test_deep_nesting_is_a_problem(self) -> None:
        text = "a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH
        path = "[0]" * (MAX_DEPTH - 1)
        assert sentences(text) == [f"f:1:{MAX_DEPTH + 3}: a{path}: is nested more than 32 levels deep"]

    @pytest.mark.slow
    def test_very_deep_nesting_is_a_problem_and_no_crash(self) -> None:
        assert sentences("[" * 20_000) == ["f: is nested too deeply; no setting needs that"]


class TestFaults:
    def test_a_control_character_is_named(self) -> None:
        assert sentences("a: b\nc: \x01\n") == ["f:2:4: is not YAML: U+0001 may not be in it; remove it"]

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n"])
    def test_an_empty_file_says_where_to_begin(self, text: str) -> None:
        begin = "begin with public_url, upstream, provider, session and access (config/doorward.example.yaml)"
        assert sentences(text) == [f"f: is empty; {begin}"]

    def test_a_problem_leaves_the_rest_readable(self) -> None:
        document = parse_yaml("a: 1\na: 2\nb: !x y\nc: 3\n", {})
        assert document.value == {"a": 1, "c": 3}
        assert [problem.path for problem in document.problems] == [("a",), ("b",)]

    @given(st.text(max_size=200))
    def test_no_text_raises(self, text: str) -> None:
        document = parse_yaml(text, {})
        assert all("\n" not in problem.sentence("f") for problem in document.problems)

    @given(st.text(alphabet="ab:- \n[]{}&*<!'\"|>#?,~12", max_size=60))
    def test_nothing_that_looks_like_yaml_raises(self, text: str) -> None:
        document = parse_yaml(text, {})
        assert all("\n" not in problem.sentence("f") for problem in document.problems)
