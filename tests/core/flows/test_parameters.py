from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import BadRequest
from sidecar.core.flows.parameters import parse_parameters


def test_names_and_values_are_decoded_in_order() -> None:
    assert parse_parameters(b"a=1&b=%C3%BC+x&c&d=").pairs == (("a", "1"), ("b", "ü x"), ("c", ""), ("d", ""))


def test_only_an_ampersand_separates() -> None:
    """S17: what reads `;` too would see another parameter."""
    assert parse_parameters(b"a=1;b=2").pairs == (("a", "1;b=2"),)


@pytest.mark.parametrize("text", [b"a=%ff", b"%c3%28=1", "a=ü".encode(), b"&".join([b"a=1"] * 101)])
def test_what_cannot_be_read_for_sure_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest, match="parameters_unreadable"):
        parse_parameters(text)


@pytest.mark.parametrize("text", [b"a=1&a=2", b"a=1&a=1", b"a=1&%61=1", b"a&a="])
def test_a_name_that_is_there_twice_is_refused(text: bytes) -> None:
    """S17: however it is spelled."""
    parameters = parse_parameters(text)

    with pytest.raises(BadRequest, match="duplicate_parameter"):
        parameters.single("a")
    with pytest.raises(BadRequest, match="duplicate_parameter"):
        parameters.require_unique()
    assert parameters.single("b") is None


@given(st.binary(max_size=200))
def test_whatever_comes_it_is_pairs_or_a_bad_request(text: bytes) -> None:
    try:
        pairs = parse_parameters(text).pairs
    except BadRequest:
        return
    assert parse_parameters(urlencode(pairs).encode()).pairs == pairs
