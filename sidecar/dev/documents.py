"""A configuration put together of the command line and files that hold a part of one.

Problems keep the file, line and column in which a developer wrote what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.config import read_config
from sidecar.config.yamltext import Document, parse_yaml
from sidecar.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.config.problems import Path as KeyPath

__all__ = ["add_provider", "add_rules", "one_line"]

_PROVIDER_KEYS = ("provider", "providers")


def add_rules(
    document: Document, rules: Sequence[str], file: Path | None, environment: Mapping[str, str]
) -> None:
    """Give `document` the rules of the command line, then those of `file`. Raises ConfigurationError.

    The file holds a list of rules, or a whole configuration, of which `access` is taken.
    """
    values = [_rule(text, environment) for text in rules]
    if file is not None:
        found = _parse(file, environment, "access")
        listed = found.value.get("access") if isinstance(found.value, Mapping) else found.value
        if not isinstance(listed, tuple):
            raise ConfigurationError(
                f"{file}: holds no rules; write a list such as - {{allow: authenticated}}"
            )
        inside: KeyPath = ("access",) if isinstance(found.value, Mapping) else ()
        _place(document, found, inside, "access", len(rules))
        values.extend(listed)
    _value_of(document)["access"] = tuple(values) or ({"allow": "authenticated"},)


def add_provider(document: Document, file: Path, environment: Mapping[str, str]) -> None:
    """Give `document` the providers of `file`: a configuration that has some, or one's settings alone.

    Raises ConfigurationError.
    """
    found = _parse(file, environment, *_PROVIDER_KEYS)
    if not isinstance(found.value, Mapping):
        raise ConfigurationError(f"{file}: holds no provider; write issuer, client_id and client_secret")
    given = {key: found.value[key] for key in _PROVIDER_KEYS if key in found.value}
    for key in given:
        _place(document, found, (key,), key)
    if not given:
        if "sites" in found.value or "issuer" not in found.value:
            raise ConfigurationError(
                f"{file}: holds no provider at its top; write issuer, client_id and so on"
            )
        given = {"provider": {"type": "oidc", **found.value}}
        _place(document, found, (), "provider")
    _value_of(document).update(given)


def one_line(error: ConfigurationError) -> str:
    """Return the first problem, and how many there are besides."""
    first, others = error.problems[0], len(error.problems) - 1
    return f"{first} (and {others} more)" if others else first


def _rule(text: str, environment: Mapping[str, str]) -> object:
    found = parse_yaml(text, environment)
    if found.problems or not isinstance(found.value, Mapping):
        said = found.problems[0].message if found.problems else "must be a mapping"
        raise ConfigurationError(
            f"--rule '{text}': {said}; write '{{path: /admin/**, allow: {{groups: [admins]}}}}'"
        )
    return found.value


def _parse(file: Path, environment: Mapping[str, str], *wanted: str) -> Document:
    """Return what `file` holds. Of a whole configuration only problems of what is `wanted` are told."""
    found = parse_yaml(read_config(file), environment)
    is_whole = isinstance(found.value, Mapping) and any(key in found.value for key in wanted)
    told = [
        problem
        for problem in found.problems
        if not is_whole or problem.path[:1] in {(), *((w,) for w in wanted)}
    ]
    if told:
        raise ConfigurationError(*(problem.sentence(str(file)) for problem in told))
    return found


def _value_of(document: Document) -> dict[str, object]:
    if not isinstance(document.value, dict):
        raise TypeError("the document begins as a mapping")
    return document.value


def _place(
    document: Document, found: Document, inside: KeyPath, under: str, first: int | None = None
) -> None:
    """Take over where the keys and values below `inside` stand, as those of `under`.

    With `first`, `inside` is a list whose entries are counted from there.
    """
    depth = len(inside)
    for own, theirs in ((document.keys, found.keys), (document.values, found.values)):
        for path, position in theirs.items():
            if len(path) <= depth or path[:depth] != inside:
                continue
            rest = path[depth:]
            own[under, *(rest if first is None else (int(rest[0]) + first, *rest[1:]))] = position
