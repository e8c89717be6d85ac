"""The kinds of value that settings have: how each is written, checked and described in the schema.

A kind is `Annotated` with a validator that takes what YAML gave and raises `ValueError` with the end of a
sentence for the operator: "is no duration; write 1h, 30m, 90s or seconds". Nothing here reads a file, the
environment or another setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from sidecar.config.problems import quoted
from sidecar.config.substitution import Substituted

__all__ = [
    "ClaimPath",
    "Duration",
    "FilePath",
    "HeaderName",
    "InboundName",
    "Kind",
    "PathPrefix",
    "Scalar",
    "Size",
    "Switch",
    "Text",
    "Whole",
    "complaint",
    "duration_text",
    "said",
    "size_text",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """What the reference page calls a kind of value, and how it writes one (for defaults)."""

    word: str
    write: Callable[[Any], str] = str


def complaint(message: str) -> PydanticCustomError:
    """Return the exception that says `message` of a value; its text is no template."""
    return PydanticCustomError("doorward", "{message}", {"message": message})


def _text(value: object) -> str:
    if not isinstance(value, str):
        mend = f"; put {_described(value)} in quotes" if isinstance(value, bool | int | float) else ""
        raise complaint(f"must be text{mend or f', not {_described(value)}'}")
    if not value:
        raise complaint("is empty; give it a value, or remove the key")
    if value != value.strip() or not value.isprintable():
        raise complaint(
            f"{quoted(value)} has white space around it or a control character in it; remove that"
        )
    return value


def _whole(value: object) -> int:
    if isinstance(value, Substituted) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise complaint(f"must be a whole number, not {_described(value)}")
    return value


def _switch(value: object) -> bool:
    if isinstance(value, Substituted) and value in {"true", "false"}:
        return value == "true"
    if not isinstance(value, bool):
        raise complaint(f"must be true or false, not {_described(value)}")
    return value


def _scalar(value: object) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float) else _text(value)


def _described(value: object) -> str:
    match value:
        case str():
            return quoted(value)
        case bool():
            return _write_switch(value)
        case int() | float():
            return str(value)
        case tuple():
            return "a list"
        case _:
            return "a mapping"


def _write_switch(value: object) -> str:
    return str(value).lower()


Text = Annotated[
    str,
    BeforeValidator(_text),
    WithJsonSchema({"type": "string", "minLength": 1}),
    Kind("text"),
]
Whole = Annotated[int, BeforeValidator(_whole), Kind("whole number")]
Switch = Annotated[bool, BeforeValidator(_switch), Kind("true or false", _write_switch)]
Scalar = Annotated[
    bool | int | float | str,
    BeforeValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
    Kind("text, number, true or false"),
]


# Durations and sizes

_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_PATTERN: Final = r"([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?"
_DURATION: Final = re.compile(_DURATION_PATTERN)
_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_MAX_SECONDS: Final = 10 * 366 * 86400.0


def _duration(value: object) -> float:
    """Return seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise complaint(f"must be a duration such as 1h, 30m or 90s, not {_described(value)}")
    seconds = _parse_duration(value) if isinstance(value, str) else float(value)
    if seconds is None:
        raise complaint(f"{quoted(value)} is no duration; write 12h, 30m, 90s, 1h30m or plain seconds")
    if not 0 < seconds <= _MAX_SECONDS:
        raise complaint(
            f"{_described(value)} is no duration that makes sense here; it is above 0, at most 10 years"
        )
    return seconds


def _parse_duration(text: str) -> float | None:
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        return None
    parts = (re.fullmatch(r"([0-9]{1,12})([a-z]+)", part) for part in found.groups() if part)
    return sum(float(part[1]) * _UNITS[part[2]] for part in parts if part is not None)


def duration_text(seconds: float) -> str:
    """Write seconds as a duration: "1h30m"; days only where nothing is left."""
    milliseconds = round(seconds * 1000)
    units = (
        {"d": 86_400_000}
        if milliseconds % 86_400_000 == 0
        else {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
    )
    text = ""
    for unit, size in units.items():
        count, milliseconds = divmod(milliseconds, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema(
        {
            "$comment": "duration",
            "anyOf": [
                {"type": "string", "pattern": f"^(?=[0-9]){_DURATION_PATTERN}$|^[0-9]+$|[$][{{]"},
                {"type": "number", "exclusiveMinimum": 0},
            ],
        }
    ),
    Kind("duration", duration_text),
]

_BYTES: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?(B|KiB|MiB|GiB|)")


def _size(value: object) -> int:
    """Return bytes."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise complaint(f"must be a size such as 64KiB, not {_described(value)}")
    found = _SIZE.fullmatch(str(value))
    if found is None or int(found[1]) == 0:
        raise complaint(f"{quoted(value)} is no size; write 64KiB, 1MiB or plain bytes")
    return int(found[1]) * _BYTES[found[2]]


def size_text(size: int) -> str:
    """Write bytes as a size: "64KiB"."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return str(size)


Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {
            "$comment": "size",
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB)?$|[$][{]"},
                {"type": "number", "minimum": 1},
            ],
        }
    ),
    Kind("size", size_text),
]


def said[T](check: Callable[[str], T]) -> Callable[[str], T]:
    """Turn a check's ValueError into one whose text pydantic leaves alone."""

    def checked(text: str) -> T:
        try:
            return check(text)
        except ValueError as error:
            raise complaint(str(error)) from None

    return checked


# Paths and names

_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def _path_prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text) or "/./" in f"{text}/" or "/../" in f"{text}/":
        raise ValueError(
            f"{quoted(text)} is no prefix; write /oauth2: a slash in front, none at the end,"
            " letters, digits and . _ ~ - between"
        )
    return text


PathPrefix = Annotated[Text, AfterValidator(said(_path_prefix)), Kind("path")]

_HEADER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} is no header that arrives everywhere; write letters, digits and - only"
            " (_ and . are folded into - or dropped by many servers)"
        )
    return text


HeaderName = Annotated[Text, AfterValidator(said(_header_name)), Kind("header name")]

_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.1


def _field_name(text: str) -> str:
    if not _FIELD_NAME.fullmatch(text):
        raise ValueError(f"{quoted(text)} is no header; write its name alone, as in X_Api_Key")
    return text


InboundName = Annotated[Text, AfterValidator(said(_field_name)), Kind("header name")]
"""A header that others send: they may use any sign that HTTP allows."""


def _claim_path(text: str) -> str:
    if "" in text.split("."):
        raise ValueError(f"{quoted(text)} is no claim; write its name, or a path such as realm_access.roles")
    return text


FilePath = Annotated[Text, Kind("file")]
ClaimPath = Annotated[Text, AfterValidator(said(_claim_path)), Kind("claim")]
