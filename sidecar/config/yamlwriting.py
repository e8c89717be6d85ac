"""Small values as YAML on one line, for messages and the reference page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["flow"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./*<$][A-Za-z0-9_./*@:<>$+-]*(?: [A-Za-z0-9_.-]+)*")
_AMBIGUOUS: Final = re.compile(r"[-+]?[0-9.]+|0[xo].*|true|false|null|~", re.IGNORECASE)


def flow(value: object) -> str:
    """Return `value` in YAML's flow style: `{file: /run/secrets/client}`."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
        case bool():
            return str(value).lower()
        case str():
            return value if _is_plain(value) else f'"{_escaped(value)}"'
        case _:
            return str(value)


def _is_plain(text: str) -> bool:
    is_key_like = text.endswith(":") or ": " in text or text.startswith("*")
    return bool(_PLAIN.fullmatch(text)) and not _AMBIGUOUS.fullmatch(text) and not is_key_like


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
