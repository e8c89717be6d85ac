"""Finding one's way through the models: which settings there are at a path.

For did-you-mean, examples in messages, the schema and the reference page: none of it is needed to load a
configuration that is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from sidecar.config.models.base import Model
from sidecar.config.problems import Path
from sidecar.config.values import Kind

__all__ = [
    "Setting",
    "alternatives",
    "find_setting",
    "is_secret",
    "kind_of",
    "known_keys",
    "models_at",
    "settings_of",
]

type Setting = tuple[str, FieldInfo]
"""A key as it is written, and what is declared of it."""


def settings_of(model: type[Model]) -> list[Setting]:
    """Return the settings of a model in the order in which they are declared."""
    if not model.__pydantic_complete__:
        model.model_rebuild()
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


def _annotation(field: FieldInfo) -> Any:  # noqa: ANN401  annotations have no type of their own
    """Return a field's annotation with what pydantic took off it."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def alternatives(annotation: Any) -> Iterator[tuple[Any, tuple[object, ...]]]:  # noqa: ANN401  see above
    """Yield the forms that an annotation allows, each with its metadata; None is no form."""
    if get_origin(annotation) is Annotated:
        for inner, metadata in alternatives(annotation.__origin__):
            yield inner, (*metadata, *annotation.__metadata__)
    elif type(None) in get_args(annotation) or _is_union(annotation):
        for part in get_args(annotation):
            yield from alternatives(part)
    elif annotation is not type(None):
        yield annotation, ()


def _is_union(annotation: Any) -> bool:  # noqa: ANN401  see above
    return getattr(get_origin(annotation), "__name__", "") in {"Union", "UnionType"}


def _below(annotation: Any, step: str | int) -> Iterator[Any]:  # noqa: ANN401  see above
    """Yield the annotations of what `step` leads to."""
    for form, _ in alternatives(annotation):
        origin = get_origin(form)
        if origin is tuple and isinstance(step, int):
            yield get_args(form)[0]
        elif origin is dict and isinstance(step, str):
            yield get_args(form)[1]
        elif isinstance(form, type) and issubclass(form, Model):
            yield from (_annotation(field) for key, field in settings_of(form) if key == step)


def _annotations_at(root: type[Model], path: Path) -> list[Any]:
    found: list[Any] = [root]
    for step in path:
        found = [below for annotation in found for below in _below(annotation, step)]
    return found


def models_at(root: type[Model], path: Path) -> list[type[Model]]:
    """Return the models that may stand at `path`."""
    forms = [form for annotation in _annotations_at(root, path) for form, _ in alternatives(annotation)]
    return [form for form in forms if isinstance(form, type) and issubclass(form, Model)]


def known_keys(root: type[Model], path: Path) -> list[str]:
    """Return the keys that a mapping at `path` may have."""
    return [key for model in models_at(root, path) for key, _ in settings_of(model)]


def find_setting(root: type[Model], path: Path) -> tuple[Path, FieldInfo] | None:
    """Return the setting that `path` is, or is inside of, with its own path; None for the document."""
    for end in range(len(path), 0, -1):
        step = path[end - 1]
        for model in models_at(root, path[: end - 1]):
            field = dict(settings_of(model)).get(step) if isinstance(step, str) else None
            if field is not None:
                return path[:end], field
    return None


def kinds_of(annotation: Any) -> Iterator[Kind]:  # noqa: ANN401  see above
    """Yield the kinds in an annotation, the outermost last."""
    for form, metadata in alternatives(annotation):
        if get_origin(form) in {tuple, dict}:
            yield from kinds_of(get_args(form)[-1 if get_origin(form) is dict else 0])
        yield from (item for item in metadata if isinstance(item, Kind))


def kind_of(field: FieldInfo) -> Kind | None:
    """Return the outermost kind of a setting, else that of its entries."""
    kinds = [item for item in field.metadata if isinstance(item, Kind)] or list(kinds_of(_annotation(field)))
    return kinds[-1] if kinds else None


def is_secret(root: type[Model], path: Path) -> bool:
    """Tell whether the value at `path` is, or lists, secrets."""
    return any(
        kind.word == "secret" for annotation in _annotations_at(root, path) for kind in kinds_of(annotation)
    )


def example_at(root: type[Model], path: Path) -> object:
    """Return an example of the value at `path`, None when there is none."""
    found = find_setting(root, path)
    if found is None or not found[1].examples:
        return None
    example: object = found[1].examples[0]
    for _ in path[len(found[0]) :]:
        match example:
            case list() | tuple() if example:
                example = example[0]
            case Mapping() if example:
                example = next(iter(example.values()))
            case _:
                return None
    return example
