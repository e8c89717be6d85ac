"""E-mail addresses and domains in the one form in which a policy compares them (S24).

Case is folded; a domain is compared as its A-labels (RFC 5890), so that `bücher.example` and
`xn--bcher-kva.example` are one. What merely looks alike is refused, not mapped: a letter beyond ASCII that
some folding turns into an ASCII one (the Kelvin sign, a full-width a, a long s) makes an address unusable.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

__all__ = ["canonical_domain", "canonical_email"]

_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_UNUSABLE: Final = re.compile(r"[\x00-\x20\x7f\"(),:;<>\[\\\]]")
_MAX_EMAIL_CHARACTERS: Final = 254  # RFC 5321 §4.5.3.1.3, less the brackets


@lru_cache(maxsize=1024)
def canonical_email(text: str) -> str | None:
    """Return `text` in the form to compare and to store, or None when it can't be used for policy.

    Exactly one "@", no white space, quotes or brackets; the local part is folded too, as all providers in
    use do (RFC 5321 §2.4 would allow them not to).
    """
    local, at, domain = text.partition("@")
    if not at or "@" in domain or len(text) > _MAX_EMAIL_CHARACTERS or _UNUSABLE.search(text):
        return None
    folded, ascii_domain = _folded(local), canonical_domain(domain)
    return f"{folded}@{ascii_domain}" if folded and ascii_domain else None


@lru_cache(maxsize=1024)
def canonical_domain(text: str) -> str | None:
    """Return the domain in lower-case A-labels, or None when it is none."""
    folded = _folded(text)
    if folded is None or not text:
        return None
    labels = [_a_label(label) for label in folded.split(".")]
    return None if None in labels else ".".join(label or "" for label in labels)


def _a_label(label: str) -> str | None:
    if not label.isascii():
        try:
            encoded = label.encode("idna").decode("ascii")
            # IDNA 2003 maps some letters away (ß to ss) that IDNA 2008 keeps: what does not come back is
            # two names in one.
            if encoded.encode("ascii").decode("idna") != label:
                return None
        except UnicodeError:
            return None
        label = encoded
    return label if _LABEL.fullmatch(label) else None


def _folded(text: str) -> str | None:
    """Fold case; None when a letter beyond ASCII would become an ASCII one by any usual folding."""
    if text.isascii():
        return text.lower()
    for character in text:
        if not character.isascii() and _holds_ascii(
            unicodedata.normalize("NFKC", character.lower() + character.casefold())
        ):
            return None
    return unicodedata.normalize("NFC", text.lower())


def _holds_ascii(text: str) -> bool:
    return any(character.isascii() for character in text)
