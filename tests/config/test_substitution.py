from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.substitution import Substituted, SubstitutionError, substitute

_ENVIRONMENT = {"HOST": "app.example.com", "EMPTY": "", "YAML": "x: [1]"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("https://${HOST}/", "https://app.example.com/"),
        ("${HOST}${HOST}", "app.example.comapp.example.com"),
        ("${NOPE:-x}", "x"),
        ("${NOPE:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY}", ""),
        ("${HOST:-x}", "app.example.com"),
        ("$${HOST}", "${HOST}"),
        ("$HOST and $", "$HOST and $"),
        ("${YAML}", "x: [1]"),
    ],
)
def test_references_are_replaced(text: str, expected: str) -> None:
    assert substitute(text, _ENVIRONMENT) == expected


def test_what_came_from_the_environment_knows_where_from() -> None:
    found = substitute("${HOST}", _ENVIRONMENT)
    assert isinstance(found, Substituted)
    assert found.source == "${HOST}"
    assert not isinstance(substitute("plain", _ENVIRONMENT), Substituted)


def test_a_variable_without_default_must_be_set() -> None:
    with pytest.raises(SubstitutionError) as caught:
        substitute("a ${NOPE} b", {})
    assert str(caught.value) == (
        "the environment variable NOPE is not set; set it, or give a default: ${NOPE:-default}"
    )


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A", "${A-x}", "${A:x}", "${A:-${B}}"])
def test_what_looks_like_a_reference_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(SubstitutionError, match="is no reference to the environment"):
        substitute(text, {})


@given(st.text(alphabet="${}:-AB ", max_size=30))
def test_a_result_holds_nothing_unresolved(text: str) -> None:
    try:
        found = substitute(text, {"A": "1", "B": "2"})
    except SubstitutionError:
        return
    assert "${" not in found.replace("${", "") or "$${" in text
