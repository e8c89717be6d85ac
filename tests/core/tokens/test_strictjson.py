from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.tokens.strictjson import parse_json_object


def test_an_object_is_read() -> None:
    assert parse_json_object(b'{"a": [1, "\xc3\xa9", null, {"b": true}]}') == {
        "a": [1, "é", None, {"b": True}]
    }


@pytest.mark.parametrize(
    "text",
    [
        b'{"sub": "a", "sub": "b"}',
        b'{"x": {"sub": "a", "sub": "b"}}',
        b'{"x": [{"a": 1, "a": 1}]}',
        b'{"a": 1, "\\u0061": 2}',
    ],
)
def test_a_name_that_occurs_twice_is_refused(text: bytes) -> None:
    """S17: the same name twice, at any depth and however it is spelled."""
    with pytest.raises(ValueError, match="twice"):
        parse_json_object(text)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b'["a"]', b'"a"', b"1", b"null", b"{", b'{"a": 1} x', b"\xef\xbb\xbf{}", b'{"a": "\xff"}'],
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    """S22: arrays, scalars, other encodings."""
    with pytest.raises(ValueError):
        parse_json_object(text)


@pytest.mark.parametrize("text", [b'{"exp": NaN}', b'{"exp": Infinity}', b'{"exp": -Infinity}'])
def test_what_only_python_takes_for_a_number_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        parse_json_object(text)


@pytest.mark.parametrize("text", [b'{"a": "\\ud800"}', b'{"\\udc00": 1}', b'{"a": ["\\ud800x"]}'])
def test_a_lone_surrogate_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        parse_json_object(text)


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse_json_object(b'{"a": "\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}


def test_deep_nesting_is_refused() -> None:
    """S25: a small document must not exhaust the stack."""
    with pytest.raises(ValueError):
        parse_json_object(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


def test_an_integer_of_ten_thousand_digits_is_refused() -> None:
    """S25: reading it would cost quadratic time."""
    with pytest.raises(ValueError):
        parse_json_object(b'{"exp": ' + b"9" * 10_000 + b"}")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_comes_it_is_an_object_or_a_value_error(text: bytes) -> None:
    try:
        value = parse_json_object(text)
    except ValueError:
        return
    assert json.loads(text) == value
