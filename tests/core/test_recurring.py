"""Answers remembered from the second time on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.recurring import Recurring


class Making:
    """Counts what it makes."""

    def __init__(self) -> None:
        self.made: list[bytes] = []

    def __call__(self, key: bytes) -> bytes:
        if key == b"bad":
            raise ValueError
        self.made.append(key)
        return key.upper()


def test_what_is_asked_for_again_is_made_twice_and_no_more() -> None:
    make = Making()
    recurring = Recurring(make, entries=4, max_bytes=8)
    assert [recurring[b"a"] for _ in range(5)] == [b"A"] * 5
    assert make.made == [b"a", b"a"]


def test_what_comes_once_takes_no_place() -> None:
    recurring = Recurring(Making(), entries=4, max_bytes=8)
    for number in range(100):
        assert recurring[b"%d" % number]
    assert not recurring


def test_a_long_key_is_never_kept() -> None:
    make = Making()
    recurring = Recurring(make, entries=4, max_bytes=8)
    for _ in range(3):
        assert recurring[b"123456789"]
    assert (len(recurring), len(make.made)) == (0, 3)


def test_it_starts_over_when_full_and_what_recurs_comes_back() -> None:
    recurring = Recurring(Making(), entries=2, max_bytes=8)
    for key in (b"a", b"a", b"b", b"b", b"c", b"c"):
        assert recurring[key]
    assert set(recurring) == {b"c"}
    assert recurring[b"a"] == b"A"
    assert set(recurring) == {b"a", b"c"}


def test_what_make_raises_is_not_remembered() -> None:
    recurring = Recurring(Making(), entries=2, max_bytes=8)
    for _ in range(3):
        with pytest.raises(ValueError, match=r"^$"):
            recurring[b"bad"]
    assert not recurring


@given(st.lists(st.binary(max_size=3)))
def test_its_answers_are_those_of_make_and_bounded(keys: list[bytes]) -> None:
    recurring = Recurring(bytes.upper, entries=3, max_bytes=2)
    for key in keys:
        assert recurring[key] == key.upper()
        assert len(recurring) <= 3
