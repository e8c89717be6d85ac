from __future__ import annotations

import re
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter

from sidecar.config.fields import models_at, settings_of
from sidecar.config.models.base import Model
from sidecar.config.models.document import LongDocument, ShortDocument
from sidecar.config.reference import PAGE, SECTIONS, reference_text
from sidecar.config.yamltext import parse_yaml
from sidecar.config.yamlwriting import flow


def test_the_page_is_what_the_models_say() -> None:
    message = "write it anew: python -m sidecar.config.reference"
    assert PAGE.read_text(encoding="utf-8") == reference_text(), message


def test_every_setting_has_a_meaning_and_an_example_or_a_section() -> None:
    titles = {model for _, model in SECTIONS}
    for title, model in SECTIONS:
        for key, field in settings_of(model):
            assert field.description, f"{title}.{key}"
            path_models = models_at(model, (key,))
            assert field.examples or any(found in titles for found in path_models), f"{title}.{key}"


def test_every_model_has_a_section() -> None:
    seen: set[type[Model]] = set()
    waiting: list[type[Model]] = [ShortDocument, LongDocument]
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        for key, _ in settings_of(model):
            for step in ((key,), (key, 0), (key, "x")):
                waiting.extend(models_at(model, step))
    sections = {model for _, model in SECTIONS}
    composed = {model for model in seen if set(model.__mro__[1:]) & sections}
    assert seen - composed <= sections


def test_links_lead_to_headings() -> None:
    page = reference_text()
    headings = {
        heading.lower().replace(" ", "-").replace(".", "")
        for heading in re.findall(r"^## (.*)$", page, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= headings


def tupled(value: object) -> object:
    """Return an example as the loader would give it."""
    if isinstance(value, dict):
        return {key: tupled(item) for key, item in value.items()}
    return tuple(map(tupled, value)) if isinstance(value, list) else value


@pytest.mark.parametrize(("title", "model"), SECTIONS, ids=[title for title, _ in SECTIONS])
def test_examples_are_right(title: str, model: type[Model]) -> None:
    for key, field in settings_of(model):
        for example in field.examples or ():
            annotation: Any = (
                Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            )
            TypeAdapter(annotation).validate_python(tupled(example))
            assert parse_yaml(f"{key}: {flow(example)}\n", {}).value == {key: tupled(example)}, title
