"""Path and host patterns of rules: what may be written, and what it means.

A path pattern is anchored at both ends (S59), covers the whole path and compares exactly:

    /x          this path
    /x/**       this path and everything below it ("**" is any number of segments, none included)
    /a/*/b      "*" is one segment that is not empty
    /s/*.css    or any part of one segment, once in each

A slash at the end makes no difference: most servers take `/x` and `/x/` for one. Patterns are written as
readable text ("/café", not "/caf%C3%A9"). The query never takes part. What looks like another pattern
language (a regular expression, `{id}`, `:id`, a bare word) is refused with a mend, because a rule that
silently never matches leaves open what it should close.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote

from sidecar.core.emails import canonical_domain
from sidecar.core.errors import ConfigurationError

__all__ = ["Segment", "fold_segments", "host_keys", "parse_host_pattern", "parse_path_pattern"]

type Segment = str | tuple[str, str] | None
"""A part of a path pattern: a literal, (before, after) around a "*", or None for "**"."""

_FOREIGN: Final = re.compile(r'[\^|{}\[\]<>"`]')
_MAX_SEGMENTS: Final = 100  # a trie is compiled by recursion
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def parse_path_pattern(pattern: str) -> tuple[Segment, ...]:
    """Return the segments of `pattern`; raises `ConfigurationError` with a mend."""
    problem = _problem_of_path(pattern)
    if problem is not None:
        raise ConfigurationError(f"path: {pattern!r} {problem}.")
    segments: list[Segment] = []
    for text in pattern[1:].split("/") if pattern != "/" else ():
        segment = _parse_segment(pattern, text)
        if segment is not None or not segments or segments[-1] is not None:  # "**/**" is "**"
            segments.append(segment)
    return tuple(segments)


def _problem_of_path(pattern: str) -> str | None:
    if not pattern.startswith("/"):
        return (
            "does not start with a slash; rules cover whole paths, so write /admin for one path or /admin/**"
            " for all below it (substring rules and regular expressions do not exist, use /**)"
        )
    if "?" in pattern or "#" in pattern:
        return "holds a query or fragment, and neither ever decides; end it before"
    if "%" in pattern:
        readable = unquote(pattern)
        return f"holds a percent sign; write readable text ({readable!r}), or * for a segment that holds one"
    if ";" in pattern or "\\" in pattern or _CONTROL.search(pattern):
        return "holds a semicolon, backslash or control character, by which no path is known; write * there"
    if foreign := _FOREIGN.search(pattern):
        return f"holds {foreign[0]!r}, which means nothing here; write * for one segment, ** for any number"
    if len(pattern) > 1 and pattern.endswith("/"):
        bare = pattern.rstrip("/")
        return f"ends with a slash; write {bare}/** for all below it, or {bare or '/'} for that path alone"
    if "//" in pattern:
        return "holds an empty segment; write single slashes"
    if pattern.count("/") > _MAX_SEGMENTS:
        return f"has more than {_MAX_SEGMENTS} segments; write ** for the rest"
    return None


def _parse_segment(pattern: str, text: str) -> Segment:
    if text == "**":
        return None
    if text in {".", ".."}:
        raise ConfigurationError(f"path: {pattern!r} holds a dot segment; write the path that it leads to.")
    if text.startswith(":"):
        raise ConfigurationError(f"path: {pattern!r} holds {text!r}; write * for a segment of any name.")
    before, star, after = text.partition("*")
    if "*" in after:
        raise ConfigurationError(
            f"path: {pattern!r} holds {text!r}; a segment has at most one *, and ** stands alone."
        )
    return (before, after) if star else text


def fold_segments(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Fold the case of all literals."""
    return tuple(
        None if part is None else part.casefold() if isinstance(part, str) else _fold_pair(part)
        for part in segments
    )


def _fold_pair(pair: tuple[str, str]) -> tuple[str, str]:
    return pair[0].casefold(), pair[1].casefold()


def parse_host_pattern(pattern: str) -> str:
    """Return the key of a host pattern: the host in lower-case A-labels, with "*." in front if it had one.

    Raises `ConfigurationError` with a mend.
    """
    wildcard = "*." if pattern.startswith("*.") else ""
    name = pattern.removeprefix(wildcard)
    host = canonical_domain(name) or (None if wildcard else _ip_literal(name))
    if host is None:
        raise ConfigurationError(
            f"hosts: {pattern!r} is no host; write app.example.com, or *.example.com for all below it,"
            " without scheme, port or path."
        )
    return wildcard + host


def _ip_literal(text: str) -> str | None:
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return None


_PORT: Final = re.compile(r":[0-9]*\Z")


def host_keys(host: str) -> list[str]:
    """Return the keys of all patterns that would cover `host`, which may carry a port.

    The dot is a boundary: `evil-example.com` is not below example.com.
    """
    name = _PORT.sub("", host) if host.startswith("[") or host.count(":") == 1 else host
    name = name.removeprefix("[").removesuffix("]").removesuffix(".").lower()
    keys = [name]
    while "." in name:
        name = name.partition(".")[2]
        keys.append(f"*.{name}")
    return keys
