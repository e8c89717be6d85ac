"""Answers remembered for as long as they are asked for."""

from __future__ import annotations

import pytest

from sidecar.core.recent import Recent


class Made:
    """Makes an answer of a word and notes that it had to."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, word: str) -> str:
        if not word:
            raise ValueError(word)
        self.words.append(word)
        return word.upper()


def test_an_answer_is_made_once() -> None:
    made = Made()
    recent = Recent(made, len, entries=4, max_weight=8)

    assert [recent["a"], recent["b"], recent["a"]] == ["A", "B", "A"]
    assert made.words == ["a", "b"]


def test_what_is_asked_for_stays_and_the_rest_goes() -> None:
    made = Made()
    recent = Recent(made, len, entries=2, max_weight=8)

    for word in ("a", "b", "a", "c", "a", "d", "a", "e", "a", "f", "b"):
        assert recent[word] == word.upper()

    assert made.words == ["a", "b", "c", "d", "e", "f", "b"]
    assert len(recent) <= 2


def test_a_heavy_key_is_not_kept() -> None:
    made = Made()
    recent = Recent(made, len, entries=2, max_weight=3)

    assert [recent["long"], recent["long"]] == ["LONG", "LONG"]
    assert not recent
    assert made.words == ["long", "long"]


def test_an_error_is_not_remembered() -> None:
    recent = Recent(Made(), len, entries=2, max_weight=3)

    for _ in range(2):
        with pytest.raises(ValueError, match=r"^$"):
            recent[""]
    assert not recent


def test_an_answer_that_is_false_is_remembered_too() -> None:
    made: list[int] = []

    def make(key: int) -> None:
        made.append(key)

    recent = Recent(make, lambda _: 1, entries=1, max_weight=1)

    for key in (1, 2, 1, 2, 1):
        assert recent[key] is None
    assert made == [1, 2]
