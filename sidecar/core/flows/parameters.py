"""Parameters of a query or form: decoded strictly, and none of them twice unseen (S17)."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from sidecar.core.errors import BadRequest

__all__ = ["Parameters", "parse_parameters"]

_MAX_PARAMETERS: Final = 100


class Parameters:
    """Names and values in order."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: tuple[tuple[str, str], ...]) -> None:
        """Keep the pairs."""
        self.pairs = pairs

    def single(self, name: str) -> str | None:
        """Return the value of `name`, None when absent. Raises BadRequest when it is there twice."""
        values = [value for key, value in self.pairs if key == name]
        if len(values) > 1:
            raise BadRequest("duplicate_parameter", name)
        return values[0] if values else None

    def unique(self) -> tuple[tuple[str, str], ...]:
        """Return the parameters that are there once: whoever gets one twice may read another one than we."""
        names = [name for name, _ in self.pairs]
        return tuple(pair for pair in self.pairs if names.count(pair[0]) == 1)

    def require_unique(self) -> None:
        """Raise BadRequest when any name is there twice: last-wins here is first-wins elsewhere."""
        names = [name for name, _ in self.pairs]
        if len(set(names)) != len(names):
            raise BadRequest("duplicate_parameter")


def parse_parameters(text: bytes) -> Parameters:
    """Decode application/x-www-form-urlencoded. Raises BadRequest for too many, or for what is not UTF-8."""
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadRequest("parameters_unreadable") from error
    return Parameters(tuple(pairs))
