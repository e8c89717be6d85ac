"""A document against the models: all problems at once, in the operator's words.

A value that does not fit is noted and replaced by its default or, where it must be there, by its example, and
what remains is checked again. So there is a whole model in the end for the checks that concern several
settings, and one bad value does not hide another; what concerns a replaced value is not told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from sidecar.config.fields import example_at, find_setting, is_secret, kind_of, known_keys, settings_of
from sidecar.config.models.base import LIST, MAPPING, TEXT, Model
from sidecar.config.models.document import LongDocument, ShortDocument
from sidecar.config.models.site import SiteSettings
from sidecar.config.problems import Path, Problem, quoted, suggestion
from sidecar.config.yamltext import Document
from sidecar.config.yamlwriting import flow

__all__ = ["Checked", "check_document"]

_TAGS: Final = frozenset({TEXT, LIST, MAPPING})
_KEY: Final = "[key]"
_FORM_WORDS: Final = {TEXT: "text", LIST: "a list", MAPPING: "a mapping"}
_MAX_ROUNDS: Final = 5
_MAX_LISTED: Final = 12


@dataclass(slots=True)
class Checked:
    """What came of it: a model unless nothing could be made of the document, and what was replaced in it."""

    model: ShortDocument | LongDocument | None = None
    problems: list[Problem] = field(default_factory=list)
    replaced: set[Path] = field(default_factory=set)

    def is_sound(self, *paths: Path) -> bool:
        """Tell whether the values at `paths` are the operator's own, above and below."""
        return not any(
            path[: len(bad)] == bad or bad[: len(path)] == path for path in paths for bad in self.replaced
        )


def check_document(document: Document) -> Checked:
    """Check a document that is a mapping; its own problems come first in the result."""
    checked = Checked(problems=list(document.problems))
    checked.replaced.update(problem.path for problem in document.problems)
    if not isinstance(document.value, Mapping):
        if not checked.problems:
            checked.problems.append(Problem((), _NO_MAPPING, document.position_of(())))
        return checked
    model: type[ShortDocument | LongDocument] = LongDocument if "sites" in document.value else ShortDocument
    value = _thawed(document.value)
    for _ in range(_MAX_ROUNDS):
        try:
            checked.model = model.model_validate(value)
        except ValidationError as error:
            value = _Round(document, model, checked).mend(value, error)
        else:
            break
    return checked


_NO_MAPPING: Final = "must be a mapping of settings: public_url, upstream, provider, session, access"


def _thawed(value: object) -> Any:  # noqa: ANN401  a value of any shape
    """Return a copy whose mappings can be changed; lists stay tuples, as the models want them."""
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    return tuple(_thawed(item) for item in value) if isinstance(value, tuple | list) else value


class _Round:
    """One round: note each error, then replace what it is about."""

    def __init__(self, document: Document, model: type[Model], checked: Checked) -> None:
        self._document = document
        self._model = model
        self._checked = checked

    def mend(self, value: Any, error: ValidationError) -> Any:  # noqa: ANN401  a value of any shape
        for details in error.errors(include_url=False):
            path, is_key = _path_of(details["loc"])
            if details["type"] == "too_short" and details["input"]:
                continue  # its entries have problems of their own
            if self._checked.is_sound(path):
                self._note(path, dict(details), is_key=is_key)
            is_removed = is_key or details["type"] == "extra_forbidden"
            value = _replaced(value, path, None if is_removed else self._substitute(path))
            self._checked.replaced.add(path)
        return value

    def _note(self, path: Path, details: dict[str, Any], *, is_key: bool) -> None:
        kind = details["type"]
        if kind == "missing":
            # The setting has no place of its own: that of the mapping it is missing in.
            position = self._document.position_of_key(path[:-1])
        elif is_key or kind == "extra_forbidden":
            position = self._document.position_of_key(path)
        else:
            position = self._document.position_of(path)
        self._checked.problems.append(Problem(path, self._message(path, details), position))

    def _substitute(self, path: Path) -> Any:  # noqa: ANN401  a value of any shape
        """Return what stands in for the value at `path`: its example, None for its default."""
        found = find_setting(self._model, path)
        is_optional = found is not None and found[0] == path and not found[1].is_required()
        return None if is_optional else _thawed(example_at(self._model, path))

    def _message(self, path: Path, details: dict[str, Any]) -> str:
        kind = details["type"]
        if kind == "doorward":
            return str(details["ctx"]["message"])
        say = _MESSAGES.get(kind)
        return say(self._model, path, details) if say is not None else str(details["msg"])


def _path_of(location: tuple[str | int, ...]) -> tuple[Path, bool]:
    """Return the path without the marks of forms, and whether it is the key that is wrong."""
    path = tuple(step for step in location if step not in _TAGS)
    return (path[:-1], True) if path and path[-1] == _KEY else (path, False)


def _replaced(value: Any, path: Path, new: Any) -> Any:  # noqa: ANN401  any shape
    """Return `value` with what is at `path` replaced by `new`; None takes it out.

    An entry of a list can't be taken out without moving the others, so the list goes as a whole.
    """
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        below = _replaced(value.get(step), rest, new)
        others = {key: item for key, item in value.items() if key != step}
        return others if below is None else {**value, step: below}
    if not isinstance(value, tuple) or not isinstance(step, int):
        return None
    below = _replaced(value[step], rest, new)
    return None if below is None else (*value[:step], below, *value[step + 1 :])


# The messages


def _unknown_key(model: type[Model], path: Path, _: dict[str, Any]) -> str:
    key = str(path[-1])
    if model is LongDocument and len(path) == 1 and key in dict(settings_of(SiteSettings)):
        return f"can't stand beside sites: move {key} into each site, or remove sites"
    known = known_keys(model, path[:-1])
    near = suggestion(key, known)
    if near:
        return f"unknown key{near}"
    elsewhere = _elsewhere(model, key)
    if elsewhere:
        return f"unknown key here; it belongs to {elsewhere}"
    return f"unknown key; known here: {', '.join(known)}" if len(known) <= _MAX_LISTED else "unknown key"


def _elsewhere(model: type[Model], key: str) -> str | None:
    """Return the section at the top that has such a key."""
    for section, _ in settings_of(model):
        if key in known_keys(model, (section,)):
            return section
    return None


def _missing(model: type[Model], path: Path, _: dict[str, Any]) -> str:
    if path[-1] == "access":
        return (
            "is missing, and who may pass is your choice: write `access: [{allow: authenticated}]` for"
            " everybody who can sign in, `[{allow: {email_domains: [example.com]}}]` for some of them,"
            " `[{allow: anyone}]` for the world"
        )
    return f"is missing; write `{path[-1]}: {flow(example_at(model, path))}`"


def _choice(_model: type[Model], _path: Path, details: dict[str, Any]) -> str:
    options = re.findall(r"'([^']*)'", details["ctx"]["expected"])
    written = flow(details["input"])
    mend = suggestion(str(details["input"]), options) or f"; write {_either(options)}"
    return f"{quoted(written.strip(chr(34)))} is not known here{mend}"


def _either(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _form(model: type[Model], path: Path, details: dict[str, Any]) -> str:
    tags = re.findall(r"'([^']*)'", details["ctx"]["expected_tags"])
    wanted = _either([_FORM_WORDS[tag] for tag in tags])
    return f"must be {wanted}, not {_FORM_WORDS[details['ctx']['tag']]}{_as_in(model, path)}"


def _mapping(model: type[Model], path: Path, _: dict[str, Any]) -> str:
    return f"must be a mapping{_as_in(model, path)}"


def _list(model: type[Model], path: Path, details: dict[str, Any]) -> str:
    value = details["input"]
    if is_secret(model, path) or isinstance(value, Mapping):
        return f"must be a list{_as_in(model, path)}"
    entries = re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else [value]
    return f"must be a list; write {flow(entries)}"


def _as_in(model: type[Model], path: Path) -> str:
    example = example_at(model, path)
    return "" if example is None else f", as in {flow(example)}"


def _empty(model: type[Model], path: Path, _: dict[str, Any]) -> str:
    found = find_setting(model, path)
    is_required = found is not None and found[1].is_required()
    return f"is empty; give it at least one entry{'' if is_required else ', or remove the key'}"


def _too_small(model: type[Model], path: Path, details: dict[str, Any]) -> str:
    return f"is too small; at least {_written(model, path, details['ctx']['ge'])}"


def _too_large(model: type[Model], path: Path, details: dict[str, Any]) -> str:
    return f"is too large; at most {_written(model, path, details['ctx']['le'])}"


def _written(model: type[Model], path: Path, limit: float) -> str:
    found = find_setting(model, path)
    kind = None if found is None else kind_of(found[1])
    return str(limit) if kind is None else kind.write(limit)


_MESSAGES: Final[Mapping[str, Callable[[type[Model], Path, dict[str, Any]], str]]] = {
    "dict_type": _mapping,
    "extra_forbidden": _unknown_key,
    "greater_than_equal": _too_small,
    "less_than_equal": _too_large,
    "literal_error": _choice,
    "missing": _missing,
    "model_type": _mapping,
    "too_short": _empty,
    "tuple_type": _list,
    "union_tag_invalid": _form,
}
