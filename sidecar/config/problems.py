"""What is wrong with a configuration: where, what and how to mend it.

A `Path` leads from the document's root to a value: keys and list positions. A problem with its place is
printed as `doorward.yaml:12:5: session.idel: unknown key; did you mean idle?`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Path", "Position", "Problem", "dotted", "quoted", "shown", "suggestion"]

type Path = tuple[str | int, ...]

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_<>-]+")
_USERINFO: Final = re.compile(r"//.*@")
_MAX_SHOWN: Final = 80


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the file; both count from 1, as editors do."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. `path` is empty for the document as a whole."""

    path: Path
    message: str
    position: Position | None = None

    def sentence(self, source: str) -> str:
        """Return the line that an operator reads; `source` is the file's name as they gave it."""
        place = source if self.position is None else f"{source}:{self.position.line}:{self.position.column}"
        return f"{place}: {dotted(self.path)}: {self.message}" if self.path else f"{place}: {self.message}"


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as `access[2].allow.claims["realm_access.roles"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def shown(value: object) -> str:
    """Return a value as it may be shown: on one line, not too long, without a URL's user and password."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = _USERINFO.sub("//***@", text)
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def quoted(value: object) -> str:
    """Return a value in quotes, shown as above."""
    return f'"{shown(value)}"'


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" when a known word is near, else nothing."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
