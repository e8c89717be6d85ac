"""The table of pages against the templates and against the core, which asks for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.pages import PAGES
from sidecar.pages.dress import Wardrobe

SOURCE = Path(__file__).parents[2] / "sidecar"


def page_calls() -> Iterator[tuple[str, ast.Call]]:
    """Return each `Page(...)` that the package's source makes."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Page":
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((part.value for part in call.keywords if part.arg == name), None)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_the_table_has_a_template_that_compiles(name: str) -> None:
    assert Wardrobe().environment().get_template(f"{name}.html").name == f"{name}.html"


def test_every_page_that_the_source_names_is_in_the_table() -> None:
    """An unknown page is found here, and not by the person who would have got it."""
    names = {place: keyword(call, "name") for place, call in page_calls()}
    unknown = {
        place: node.value
        for place, node in names.items()
        if isinstance(node, ast.Constant) and node.value not in PAGES
    }
    assert unknown == {}


def test_every_page_that_the_source_makes_has_the_values_it_needs() -> None:
    wrong = {}
    for place, call in page_calls():
        name, values = keyword(call, "name"), keyword(call, "values")
        if isinstance(name, ast.Constant) and isinstance(values, ast.Dict) and None not in values.keys:
            given = {str(key.value) for key in values.keys if isinstance(key, ast.Constant)}
            spec = PAGES[str(name.value)]
            if not (spec.required <= given <= spec.names):
                wrong[place] = (spec.required - given, given - spec.names)
    assert wrong == {}
