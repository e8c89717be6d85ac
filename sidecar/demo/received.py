"""What the application knows of a request: its headers as they arrived, and whom they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from sidecar.core.http import header_values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.http import HeaderPair

__all__ = ["Field", "Visitor", "read_fields", "read_visitor"]

_IDENTITY: Final = {
    "x-forwarded-user": "the user",
    "x-forwarded-email": "the e-mail address",
    "x-forwarded-groups": "the groups",
    "x-forwarded-preferred-username": "the user name",
    "x-forwarded-name": "the name to show",
    "x-department": "a claim of the provider's",
    "x-doorward-assertion": "all of it, signed",
}
_WAY: Final = frozenset(
    {"forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One header field. `kind`: "identity" and "way" are Doorward's, "own" is the browser's."""

    name: str
    value: str
    kind: str
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Whom the identity headers name."""

    user: str
    name: str
    email: str | None = None
    groups: tuple[str, ...] = ()


def read_fields(headers: Iterable[HeaderPair]) -> list[Field]:
    """Return the fields as received, Doorward's first."""
    fields = []
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1")
        about = _IDENTITY.get(name.lower(), "")
        kind = "identity" if about else "way" if name.lower() in _WAY else "own"
        fields.append(Field(name=name, value=raw_value.decode("latin-1"), kind=kind, about=about))
    order = ("identity", "way", "own")
    return sorted(fields, key=lambda field: order.index(field.kind))


def read_visitor(headers: Iterable[HeaderPair]) -> Visitor | None:
    """Return whom the headers name, None on a path that is open to anyone.

    Values are percent-encoded UTF-8; a list is split at its commas first and decoded then.
    """
    pairs = tuple(headers)
    user = _value(pairs, b"x-forwarded-user")
    if not user:
        return None
    groups = (_raw(pairs, b"x-forwarded-groups") or "").split(",")
    return Visitor(
        user=user,
        name=_value(pairs, b"x-forwarded-name") or _value(pairs, b"x-forwarded-preferred-username") or user,
        email=_value(pairs, b"x-forwarded-email"),
        groups=tuple(unquote(group) for group in groups if group),
    )


def _raw(pairs: tuple[HeaderPair, ...], name: bytes) -> str | None:
    values = header_values(pairs, name)
    return values[0].decode("latin-1") if len(values) == 1 else None


def _value(pairs: tuple[HeaderPair, ...], name: bytes) -> str | None:
    raw = _raw(pairs, name)
    return None if raw is None else unquote(raw)
