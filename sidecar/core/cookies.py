"""Cookies on the wire: a parser that treats bytes as bytes, and the Set-Cookie fields that we send.

Python's own parser is not used: one malformed pair makes it drop all that follow, quotes swallow their
neighbours, and `str.strip` takes Unicode spaces off a name, so that a sibling domain could plant a cookie
under our name (S30, S31). Here a pair is what stands between two semicolons; SP and HTAB around name and
value are removed (RFC 6265bis §5.6), nothing else is, and a pair never affects another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from sidecar.core.runtime import CookiePolicy

__all__ = [
    "CookiePair",
    "build_clearing_cookie",
    "build_set_cookie",
    "is_own_name",
    "parse_cookies",
    "without",
]

type CookiePair = tuple[bytes, bytes]
type SameSite = Literal["Lax", "Strict", "None"]

_SPACE: Final = b" \t"
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[!#-+\--:<-\[\]-~]*")


def parse_cookies(value: bytes) -> list[CookiePair]:
    """Return the pairs of one Cookie field in order, duplicates kept.

    A part without "=" is a cookie with an empty name, as in browsers (RFC 6265bis §5.6). Quotes belong to
    the value. Never raises.
    """
    pairs: list[CookiePair] = []
    for part in value.split(b";"):
        name, equals, content = part.partition(b"=")
        if equals:
            pairs.append((name.strip(_SPACE), content.strip(_SPACE)))
        elif bare := part.strip(_SPACE):
            pairs.append((b"", bare))
    return pairs


def is_own_name(policy: CookiePolicy, name: bytes) -> bool:
    """Tell whether `name` is one of our cookies of this site: session, its chunks, logins under way."""
    return name in {policy.session_name, policy.transaction_name} or name.startswith(
        (policy.session_name + b".", policy.transaction_name + b".")
    )


def without(value: bytes, own: Callable[[bytes], bool]) -> bytes | None:
    """Return a Cookie field's value without the pairs whose name is `own`, or None when nothing is left.

    What stays, stays byte for byte.
    """
    parts = value.split(b";")
    kept = [part for part in parts if not own(part.partition(b"=")[0].strip(_SPACE))]
    if len(kept) == len(parts):
        return value
    left = b";".join(kept)
    if kept and kept[0] is not parts[0]:
        left = left.lstrip(_SPACE)
    return left or None


def build_set_cookie(
    policy: CookiePolicy,
    name: bytes,
    value: bytes,
    *,
    max_age_seconds: int | None,
    same_site: SameSite | None = None,
    path: bytes = b"/",
) -> bytes:
    """Return the value of a Set-Cookie field; `max_age_seconds` None lasts as long as the browser runs.

    `same_site` overrides the policy's. Raises ValueError for a name or value that is not one (RFC 6265bis
    §4.1.1): those are made by us, so it is a defect of ours.
    """
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError("not a cookie name and value")
    chosen = same_site or policy.same_site
    parts = [name + b"=" + value, b"Path=" + path]
    if max_age_seconds is not None:
        parts.append(b"Max-Age=%d" % max_age_seconds)
    if policy.domain is not None and policy.outside is None:
        parts.append(b"Domain=" + policy.domain.encode("ascii"))
    # SameSite=None without Secure is ignored by browsers (RFC 6265bis §5.7).
    if policy.secure or chosen == "None":
        parts.append(b"Secure")
    parts += [b"HttpOnly", b"SameSite=" + chosen.encode("ascii")]
    if policy.partitioned:
        parts.append(b"Partitioned")
    return b"; ".join(parts)


def build_clearing_cookie(policy: CookiePolicy, name: bytes, *, same_site: SameSite | None = None) -> bytes:
    """Return the Set-Cookie value that deletes the cookie: the same attributes, no value, no time left."""
    return build_set_cookie(policy, name, b"", max_age_seconds=0, same_site=same_site)
