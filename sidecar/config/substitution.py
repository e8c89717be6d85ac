"""`${NAME}` and `${NAME:-default}` in the strings of a configuration.

`NAME` is a variable of the environment; the default serves when it is unset or empty, as in a shell. `$${`
stands for `${` itself. What comes out is text and never read as YAML: a variable can hold anything without
becoming more than a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Self

__all__ = ["Substituted", "SubstitutionError", "substitute"]

# The last alternative catches every "${" that is none of the forms above it.
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|\$\{")


class Substituted(str):
    """Text that came, at least in part, from the environment; `source` is what the file says.

    The environment knows text only, so a number or a switch may be written as one in it.
    """

    __slots__ = ("source",)

    def __new__(cls, text: str, source: str) -> Self:
        """Hold `text` and what it was made from."""
        made = super().__new__(cls, text)
        made.source = source
        return made

    source: str


class SubstitutionError(ValueError):
    """A reference that can't be resolved; the message is for the operator."""


def substitute(text: str, environment: Mapping[str, str]) -> str:
    """Return `text` with its references resolved, as `Substituted` when there were any.

    Raises SubstitutionError when a variable without default is unset, or a reference is malformed.
    """
    if "${" not in text:
        return text

    def value_of(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if match[0] == "$${":
            return "${"
        if name is None:
            raise SubstitutionError(
                f"{match.string[match.start() : match.start() + 12]!r} is no reference to the environment;"
                " write ${NAME} or ${NAME:-default}, or $${ for the characters themselves"
            )
        value = environment.get(name)
        if value is None and default is None:
            raise SubstitutionError(
                f"the environment variable {name} is not set; set it, or give a default: ${{{name}:-default}}"
            )
        if default is not None and not value:
            return str(default)
        return value or ""

    return Substituted(_REFERENCE.sub(value_of, text), text)
