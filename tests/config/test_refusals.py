"""S16, S29, S61, S71, S74: what is refused, where and with which words (`refusals.txt`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.config.files import KEY, problems

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet

_ENVIRONMENT = {"WORD": "many", "SAME_KEY": KEY}
_BLOCKS = (Path(__file__).parent / "refusals.txt").read_text(encoding="utf-8").split("\n== ")[1:]


def _case(block: str) -> ParameterSet:
    title, _, rest = block.partition("\n")
    lines = rest.rstrip("\n").split("\n")
    text = "".join(f"{line}\n" for line in lines if not line.startswith("-> "))
    expected = [line.removeprefix("-> ") for line in lines if line.startswith("-> ")]
    return pytest.param(text, expected, id=title)


_CASES = [_case(block) for block in _BLOCKS]


@pytest.mark.parametrize(("text", "expected"), _CASES)
def test_what_does_not_fit_is_refused_with_place_and_mend(text: str, expected: list[str]) -> None:
    text = text.replace("[KEY", f"[{KEY}")
    assert problems(text, _ENVIRONMENT) == expected


@pytest.mark.parametrize(("text", "expected"), _CASES)
def test_a_refusal_never_repeats_a_secret(text: str, expected: list[str]) -> None:
    """S74: every secret in these files holds the word hush."""
    assert "hush" not in "\n".join(problems(text.replace("[KEY", f"[{KEY}"), _ENVIRONMENT))
    assert expected
