"""The headers that every page is sent with (S11, S15, S67)."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from typing import Final

from sidecar.core.http import NO_STORE, HeaderPair

__all__ = ["page_headers", "source_hash"]

_CONSTANT: Final[tuple[HeaderPair, ...]] = (
    (b"Content-Type", b"text/html; charset=utf-8"),
    NO_STORE,
    (b"Referrer-Policy", b"no-referrer"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
)
_ISOLATED: Final[HeaderPair] = (b"Cross-Origin-Opener-Policy", b"same-origin")
# An origin or a scheme as CSP takes it; anything else could add a directive of its own.
_TARGET: Final = re.compile(r"https?:(//[a-z0-9.\-\[\]:]+)?", re.ASCII)


def source_hash(text: str) -> str:
    """Return the CSP source that allows the inline element with exactly this text (CSP3 §2.3.1)."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{b64encode(digest).decode()}'"


def _policy(style: str, script: str | None, form_targets: tuple[str, ...], *, connects: bool) -> str:
    targets = [target for target in form_targets if _TARGET.fullmatch(target)]
    directives = [
        "default-src 'none'",
        f"style-src {style}",
        "img-src data:",  # the door in the browser's tab; no picture is ever fetched
        " ".join(["form-action 'self'", *targets]),
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
    if script is not None:
        directives.insert(1, f"script-src {script}")
    if connects:
        directives.insert(1, "connect-src 'self'")
    return "; ".join(directives)


def page_headers(
    style: str,
    script: str | None,
    form_targets: tuple[str, ...],
    *,
    is_isolated: bool,
    connects: bool = False,
) -> tuple[HeaderPair, ...]:
    """Build the headers of a page whose inline elements have these hashes.

    `form_targets` that are neither origins nor schemes are left out: such a form then does not work, which is
    the safe end.
    `connects` lets the script fetch from its own origin, which none of Doorward's own pages does.
    """
    policy = _policy(style, script, form_targets, connects=connects).encode("ascii")
    isolation = (_ISOLATED,) if is_isolated else ()
    return (*_CONSTANT, (b"Content-Security-Policy", policy), *isolation)
