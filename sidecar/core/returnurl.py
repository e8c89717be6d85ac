r"""Which URLs we may send a browser back to (S62-S66).

What counts is what a browser does with the text in a Location field, that is the URL Standard's parser
(WHATWG), not RFC 3986's: it takes a backslash for a slash, drops tabs and line ends wherever they stand,
cuts control characters and spaces off both ends, does not mind how many slashes follow `https:`, decodes
`%65` in a host and reads `0x7f.1` as an address. `urllib.parse.urlsplit` does some of that, and some
otherwise: it finds no host in `////evil.example`, `https:evil.example` and `/\evil.example` (S64). So it is
not used. Nor is anything repaired: what holds a character that the two kinds of parser treat differently is
refused, and what is left is simple enough to be taken apart by one expression.

Two forms are accepted: a path, beginning with exactly one slash, and `http(s)://host[:port]` followed by
nothing, `/`, `?` or `#`, where the host is compared letter by letter with the configured ones. A separator
that is percent-encoded in a path (`/%2f/evil.example`, `/%5cevil.example`, `/%09/evil.example`) leads no
browser elsewhere, since nothing in a path is decoded before a URL is resolved, and applications need them:
they pass. So does `/.//evil.example`: dot segments are resolved within the path, after the host is settled.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from sidecar.core.runtime import Site

__all__ = ["MAX_RETURN_URL_BYTES", "safe_return_url"]

MAX_RETURN_URL_BYTES: Final = 8192
"""Longer than any server would accept as a request line."""

_FALLBACK: Final = "/"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# S63: backslash, NUL to space, DEL. A lone surrogate can't be written in UTF-8.
_REFUSED: Final = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_PATH: Final = re.compile(r"/(?!/)")
_ABSOLUTE: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[^/?#@:\[\]]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?#].*)?",
    re.IGNORECASE | re.ASCII,
)
# Nobody wants to be back at the endpoints that log in, log out or answer programs; `start` would be a loop.
_UNWANTED_ENDPOINTS: Final = ("start", "callback", "sign_in", "sign_out", "auth")


def safe_return_url(site: Site, raw: str) -> str:
    """Return `raw` in ASCII when a browser of `site` may be sent there, else "/".

    Query and fragment are kept. Absolute URLs may name the site's own hosts with the scheme of its
    `public_url`, and its `return_hosts`, each with the port that stands there (none: the scheme's default).
    No host stands for those below it.
    """
    if len(raw) > MAX_RETURN_URL_BYTES or _REFUSED.search(raw):
        return _FALLBACK
    if _PATH.match(raw):
        return _checked_length(_FALLBACK if _is_unwanted(site, raw) else _to_ascii(raw))
    found = _ABSOLUTE.fullmatch(raw)
    if found is None:
        return _FALLBACK
    origin = _permitted_origin(site, found["scheme"].lower(), found["host"], found["port"])
    if origin is None:
        return _FALLBACK
    rest = found["rest"] or "/"
    rest = rest if rest.startswith("/") else "/" + rest
    if _is_own(site, origin) and _is_unwanted(site, rest):
        return _FALLBACK
    return _checked_length(origin + _to_ascii(rest))


def _permitted_origin(
    site: Site, scheme: str, unverified_host: str, unverified_port: str | None
) -> str | None:
    """Return scheme, host and port as we write them, or None."""
    host = _ascii_host(unverified_host)
    port = _DEFAULT_PORTS[scheme] if unverified_port is None else int(unverified_port)
    if host is None:
        return None
    authority = host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
    origin = f"{scheme}://{authority}"
    if _is_own(site, origin):
        return origin
    # From https nobody is sent to http: what they do there could be read and changed on the way.
    if scheme != "https" and site.public_url.scheme == "https":
        return None
    return origin if authority in site.return_hosts else None


def _is_own(site: Site, origin: str) -> bool:
    scheme, _, authority = origin.partition("://")
    return scheme == site.public_url.scheme and (authority in site.hosts or origin == str(site.public_url))


def _ascii_host(unverified_host: str) -> str | None:
    """Return the host in lower-case ASCII. Raises nothing; None when it is no host name.

    A name in another script is compared in its IDNA form. Python's table and that of browsers differ for
    some characters: no harm, because what we send the browser to is our ASCII spelling, never the text.
    """
    if unverified_host.isascii():
        return unverified_host.lower()
    try:
        host = unverified_host.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    return host.lower()


def _is_unwanted(site: Site, path: str) -> bool:
    if not path.startswith(site.prefix + "/"):
        return False
    endpoint = re.split(r"[/?#]", path[len(site.prefix) + 1 :], maxsplit=1)[0]
    return endpoint in _UNWANTED_ENDPOINTS


def _to_ascii(text: str) -> str:
    """Percent-encode what is not ASCII, as browsers do; everything else stays as it is."""
    return text if text.isascii() else quote(text, safe="".join(map(chr, range(0x21, 0x7F))))


def _checked_length(url: str) -> str:
    return url if len(url) <= MAX_RETURN_URL_BYTES else _FALLBACK
