"""What marks development mode, so that nothing of it is ever taken for the real thing (S72).

The embedded provider puts `MARKER` into its metadata and into every token it signs. A relying party refuses
both unless its provider's settings say `is_development`, which no configuration file can: only the commands
that start the embedded provider themselves set it. Cookies of development mode are sealed under a key of
another label (`core.seal`), and each answer carries the field `BANNER`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["BANNER", "ISSUER_PATH", "MARKER", "is_marked"]

MARKER: Final = "doorward_development"
"""Member of metadata, claim of tokens. Its presence marks, whatever its value."""

ISSUER_PATH: Final = "/doorward-development"
"""The path of every issuer of the embedded provider: also whoever only sees its name knows what it is."""

BANNER: Final = b"Doorward-Development"
"""The field of answers."""


def is_marked(document: Mapping[str, object]) -> bool:
    """Tell whether metadata or claims come from an embedded provider."""
    issuer = document.get("iss", document.get("issuer"))
    return MARKER in document or (isinstance(issuer, str) and issuer.endswith(ISSUER_PATH))
