"""The few field names and values that framing depends on (RFC 9110 §7, RFC 9112 §6, §9).

Names arrive in any case. A dictionary by exact spelling spares the lower-casing for all that was seen
before; it is bounded in entries and in bytes, since a peer chooses the spellings.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CLOSE",
    "CONNECTION",
    "CONTENT_LENGTH",
    "DATE",
    "EXPECT",
    "HOST",
    "KEEP_ALIVE",
    "KINDS",
    "TRANSFER_ENCODING",
    "classify",
    "connection_options",
    "parse_length",
]

HOST: Final = 1
CONNECTION: Final = 2
CONTENT_LENGTH: Final = 3
TRANSFER_ENCODING: Final = 4
EXPECT: Final = 5
DATE: Final = 6

_BY_NAME: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"expect": EXPECT,
    b"date": DATE,
}

KINDS: Final[dict[bytes, int]] = {}
"""Kind by exact spelling, 0 for a name of no interest. A miss goes through `classify`."""

CLOSE: Final = 1
KEEP_ALIVE: Final = 2

_OPTIONS: Final[dict[bytes, int]] = {
    b"keep-alive": KEEP_ALIVE,
    b"Keep-Alive": KEEP_ALIVE,
    b"close": CLOSE,
    b"Close": CLOSE,
    b"Upgrade": 0,
    b"upgrade": 0,
}

_MAX_SPELLINGS = 2048
_MAX_SPELLING_BYTES = 48
# RFC 9110 §8.6 sets no limit; 18 digits stay below 2**63, where every implementation agrees.
_MAX_LENGTH_DIGITS = 18


def classify(name: bytes) -> int:
    """Return the kind of `name`, and remember it for `KINDS`."""
    kind = _BY_NAME.get(name.lower(), 0)
    if len(name) <= _MAX_SPELLING_BYTES:
        if len(KINDS) >= _MAX_SPELLINGS:
            KINDS.clear()  # else one flood of names would keep everybody's from being known
        KINDS[name] = kind
    return kind


def connection_options(value: bytes) -> int:
    """Return which of CLOSE and KEEP_ALIVE one Connection field names (RFC 9110 §7.6.1)."""
    known = _OPTIONS.get(value)
    if known is not None:
        return known
    options = 0
    for token in value.lower().split(b","):
        options |= _OPTIONS.get(token.strip(b" \t"), 0)
    return options


def parse_length(value: bytes) -> int:
    """Return the number in a Content-Length, -1 unless it is digits alone (no sign, list or white space).

    `int` would take `+5`, `5_0` and white space (S51).
    """
    if value.isdigit() and len(value) <= _MAX_LENGTH_DIGITS:
        return int(value)
    return -1
