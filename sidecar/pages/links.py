"""Which values may become a link (S67).

A template never writes a value into `href` or `action` but through `safe_link`.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["safe_link"]

# One slash, then anything but a second one or a backslash, both of which browsers read as "another host".
_PATH: Final = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", re.ASCII)
# A host without user information; what follows it starts with "/", "?" or "#".
_ABSOLUTE: Final = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:[/?#][\x21-\x5b\x5d-\x7e]*)?",
    re.ASCII | re.IGNORECASE,
)


def safe_link(value: object) -> str:
    """Return `value` if it is an absolute path or an http or https URL, else "" (no link is shown).

    Control characters, spaces, backslashes and anything outside ASCII refuse the value instead of being
    cleaned away: whatever we make has none. This says what a link *is*; where a browser may be sent back to
    is `core.returnurl`'s question.
    """
    if not isinstance(value, str):
        return ""
    is_link = _PATH.fullmatch(value) or _ABSOLUTE.fullmatch(value)
    return str(value) if is_link else ""
