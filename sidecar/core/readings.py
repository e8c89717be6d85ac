r"""All readings of one path: the steps that back ends take, applied until nothing new appears.

The set is closed: any step applied to a reading gives a reading of the set, so that every order and number of
steps is covered, double decoding included. It holds more than any one back end would make, which costs
nothing as long as the rules treat them alike.

Readings are text. As sent, an octet that can't be sent raw (a space, anything beyond ASCII) is shown decoded,
because its escape is the only way to send it; all other escapes stay. An octet that is no UTF-8 is shown as
`\xe9`, which no pattern can hold. Old applications do use `%E9` (RFC 3986 §2.5 allows any octet), so it is
not refused; but decoders differ in what they make of it, and so the readings as Latin-1, without such octets,
and without the sequence that such an octet announces are in the set too.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from sidecar.core.errors import BadRequest

__all__ = ["STEPS", "Readings", "readings_of"]

_MAX_READINGS: Final = 32
_MAX_OCTETS: Final = 32768
"""All readings of a path together, so that the most hostile target costs a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Readings:
    """`readings`: each once, the one as sent first; `canonical`: decoded once, merged and resolved."""

    readings: tuple[str, ...]
    canonical: str


def readings_of(path: bytes) -> Readings:
    """Return all readings of `path`, which begins with "/" and holds visible ASCII and good escapes only.

    Raises `BadRequest`: "invalid_path" when a reading holds what none may, "ambiguous_path" when there are
    more than anybody means.
    """
    sent = _sent(path)
    found = {sent: None}
    waiting = deque([sent])
    octets = len(sent)
    while waiting:
        reading = waiting.popleft()
        _check(reading)
        for step in STEPS:
            other = step(reading)
            if other in found:
                continue
            octets += len(other)
            if len(found) == _MAX_READINGS or octets > _MAX_OCTETS:
                raise BadRequest("ambiguous_path", "the path has too many readings")
            found[other] = None
            waiting.append(other)
    canonical = _resolved(_merged(_decoded(path)))
    return Readings(tuple(dict.fromkeys(map(_text, found))), _text(canonical))


def _text(reading: bytes) -> str:
    return reading.decode("utf-8", "backslashreplace")


# Control characters end strings and header lines; a backslash is a slash to IIS, to .NET and to browsers.
_NEVER: Final = re.compile(rb"[\x00-\x1f\x7f\\]")
# RFC 3629 §10: an overlong sequence is another spelling of a shorter one, such as C0 AF of "/". C0 and C1
# begin nothing else, so they are refused with whatever follows (IIS once took C0 2F); the others only when
# what follows makes them overlong, since they are letters of Latin-1 too.
_OVERLONG: Final = re.compile(rb"[\xc0\xc1]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]|\xf8[\x80-\x87]|\xfc[\x80-\x83]")


def _check(reading: bytes) -> None:
    if found := _NEVER.search(reading):
        raise BadRequest("invalid_path", f"a reading of the path holds {found[0]!r}")
    if not reading.isascii() and (found := _OVERLONG.search(reading)):
        raise BadRequest("invalid_path", f"a reading of the path holds overlong UTF-8 ({found[0]!r})")


_UNSENDABLE: Final = re.compile(rb"%(20|[89A-Fa-f][0-9A-Fa-f])")
_ENCODED_SLASH: Final = re.compile(rb"(%2[Ff])")
_UNRESERVED: Final = re.compile(rb"%(2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])")


def _octet(escape: re.Match[bytes]) -> bytes:
    return bytes((int(escape[1], 16),))


def _sent(path: bytes) -> bytes:
    """Decode what can't be sent raw."""
    return _UNSENDABLE.sub(_octet, path)


def _decoded(reading: bytes) -> bytes:
    """Decode all escapes once; what is no escape stays."""
    return unquote_to_bytes(reading) if b"%" in reading else reading


def _decoded_but_slashes(reading: bytes) -> bytes:
    """Decode all but "%2F": Tomcat, Apache (NoDecode), Envoy, Go's routers can be set or are made so."""
    if b"%" not in reading:
        return reading
    parts = _ENCODED_SLASH.split(reading)  # the slashes themselves at odd places
    parts[::2] = map(unquote_to_bytes, parts[::2])
    return b"".join(parts)


def _decoded_unreserved(reading: bytes) -> bytes:
    """Decode the unreserved characters, as RFC 3986 §6.2.2.2 normalises."""
    return _UNRESERVED.sub(_octet, reading) if b"%" in reading else reading


_SLASHES: Final = re.compile(rb"/{2,}")


def _merged(reading: bytes) -> bytes:
    """Merge slashes, as nginx and all file systems do."""
    return _SLASHES.sub(b"/", reading) if b"//" in reading else reading


def _resolved(reading: bytes) -> bytes:
    """Resolve dot segments (RFC 3986 §5.2.4)."""
    if b"/." not in reading:
        return reading
    return _resolve(reading.split(b"/"), (b".",), (b"..",))


_DOT: Final = (b".", b"%2e")
_DOTS: Final = (b"..", b".%2e", b"%2e.", b"%2e%2e")


def _resolved_encoded(reading: bytes) -> bytes:
    """Resolve dot segments, encoded ones too, and decode nothing else (the WHATWG URL parser)."""
    if b"/." not in reading and b"/%2" not in reading:
        return reading
    return _resolve(reading.split(b"/"), _DOT, _DOTS)


def _resolve(segments: list[bytes], dot: tuple[bytes, ...], dots: tuple[bytes, ...]) -> bytes:
    kept: list[bytes] = []
    for segment in segments[1:]:
        name = segment.lower()
        if name in dots:
            del kept[-1:]
        elif name not in dot:
            kept.append(segment)
    if segments[-1].lower() in dot + dots:
        kept.append(b"")  # "/a/.." is "/", "/a/." is "/a/"
    return b"/" + b"/".join(kept)


_PARAMETERS: Final = re.compile(rb";[^/]*")


def _without_parameters(reading: bytes) -> bytes:
    """Drop what follows ";" in each segment, as servlet containers do: `/..;/` is `/../`."""
    return _PARAMETERS.sub(b"", reading) if b";" in reading else reading


_DELIMITER: Final = re.compile(rb"[?#]")


def _cut(reading: bytes) -> bytes:
    """End the path at a decoded "?" or "#", as whoever decodes and then parses again does."""
    return _DELIMITER.split(reading, maxsplit=1)[0]


def _trimmed(reading: bytes) -> bytes:
    """Drop spaces around and dots behind each segment, as Windows does and some frameworks do."""
    if b" " not in reading and b"./" not in reading and not reading.endswith(b"."):
        return reading
    return b"/".join(map(_trim, reading.split(b"/")))


def _trim(segment: bytes) -> bytes:
    bare = segment.strip(b" ")
    return bare.rstrip(b". ") or bare  # a dot segment stays one


def _without_authority(reading: bytes) -> bytes:
    """Take `//host/path` for a network-path reference (RFC 3986 §4.2), as `new URL(path, base)` does.

    The WHATWG parser skips any number of slashes before the host.
    """
    return b"/" + reading.lstrip(b"/").partition(b"/")[2] if reading.startswith(b"//") else reading


def _is_utf8(reading: bytes) -> bool:
    try:
        reading.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_latin_1(reading: bytes) -> bytes:
    """Take octets that are no UTF-8 for Latin-1."""
    if reading.isascii() or _is_utf8(reading):
        return reading
    return reading.decode("latin-1").encode()


def _without_stray_octets(reading: bytes) -> bytes:
    """Drop octets that are no UTF-8, as lenient decoders do: `.%FF.` is `..`."""
    return reading if reading.isascii() else reading.decode("utf-8", "ignore").encode()


# A lead octet (RFC 3629 §3) with as many octets as it announces, be they continuations or not.
_ANNOUNCED: Final = re.compile(
    rb"([\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})"
    rb"|[\xc2-\xdf].?|[\xe0-\xef].{0,2}|[\xf0-\xff].{0,3}|[\x80-\xbf]",
    re.DOTALL,
)


def _without_announced(reading: bytes) -> bytes:
    """Drop each stray lead octet with the octets that it announces, as old decoders do."""
    if reading.isascii() or _is_utf8(reading):
        return reading
    return _ANNOUNCED.sub(lambda match: match[1] or b"", reading)


STEPS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    _decoded,
    _decoded_but_slashes,
    _decoded_unreserved,
    _merged,
    _resolved,
    _resolved_encoded,
    _without_parameters,
    _cut,
    _trimmed,
    _without_authority,
    _as_latin_1,
    _without_stray_octets,
    _without_announced,
)
"""What back ends do to a path; each takes a reading and returns one, the same when it changes nothing."""
