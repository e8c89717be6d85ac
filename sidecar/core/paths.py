"""The request target, and every reading that a back end may give to its path (S57, S58).

Theory of operation. A proxy that judges one reading of a path while the back end serves another can be
walked around: `/public/..%2fadmin` is below /public to one and /admin to the other. Normalising before
forwarding would break the applications that mean what they send (`%2F` in RabbitMQ, GitLab, Argo CD). So the
path goes on byte for byte, and is judged in *all* readings: `parse_target` starts with the path as sent and
applies each step that real back ends take (`core.readings`) until nothing new appears, in any order and as
often as it changes something. Whoever judges lets the request pass when every reading may pass.

Refused outright, in every reading: control characters, backslashes, overlong UTF-8. Refused as sent: bad
escapes, octets beyond ASCII (RFC 3986 §2 has them escaped; all browsers do), "#". Letters' case is not a
reading: `core.rules` compares both ways by itself. The query is nobody's business here: it is kept as sent
and never decides (S59).
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.core.errors import BadRequest
from sidecar.core.readings import readings_of

__all__ = ["ParsedTarget", "parse_target"]


class ParsedTarget:
    """A request target taken apart. A plain slots class, because one is made for each request.

    `target` is the origin-form, exactly as it goes upstream; `path` and `query` are its parts as sent (no
    "?"); `readings` are all distinct readings of the path, the one as sent first; `canonical` is the path
    decoded once, slashes merged, dot segments resolved. `authority` is set when the target came in
    absolute-form (RFC 9112 §3.2.2): the gate compares it with Host (S55).
    """

    __slots__ = ("authority", "canonical", "path", "query", "readings", "target")

    def __init__(  # noqa: PLR0917  one positional call on the hot path
        self,
        target: bytes,
        path: bytes,
        query: bytes,
        readings: tuple[str, ...],
        canonical: str,
        authority: bytes | None = None,
    ) -> None:
        """Keep the parts."""
        self.target = target
        self.path = path
        self.query = query
        self.readings = readings
        self.canonical = canonical
        self.authority = authority

    def __repr__(self) -> str:
        """Show what is safe to log: no query."""
        return f"ParsedTarget({self.path!r}, readings={self.readings!r})"


def parse_target(target: bytes) -> ParsedTarget:
    """Take `target` apart and return all readings of its path.

    Raises `BadRequest`: "invalid_path" when it holds something that no reading accepts, "ambiguous_path"
    when it has more readings than a path that anybody means.
    """
    plain = _PLAIN.match(target)
    if plain is None:
        return _parse_unusual(target)
    path, query = plain.groups(b"")
    text = path.decode("ascii")
    return ParsedTarget(target, path, query, (text,), text)


# The common case, recognised with one match: a path that every back end reads alike. Visible ASCII without
# "#", "%", ";" and "\"; no empty segment but a last one; no segment that begins or ends with a dot.
_PLAIN: Final = re.compile(
    rb"(/|(?:/[!\"$&-\-0-:<->@-\[\]-~][!\"$&-.0-:<->@-\[\]-~]*+(?<!\.))++/?+)(?:\?([!\"$-~]*+))?+\Z"
)


# RFC 9112 §3.2.2, with what RFC 3986 §3.2 allows in an authority; no userinfo (RFC 9110 §4.2.4).
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([A-Za-z0-9._~!$&'()*+,;=:%\[\]-]+)(?=[/?]|\Z)")
_NOT_SENT: Final = re.compile(rb"[^!-~]|#")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def _parse_unusual(target: bytes) -> ParsedTarget:
    authority, origin = None, target
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            # CONNECT's authority-form and OPTIONS' asterisk-form ask for a proxy's own services (S55).
            raise BadRequest("invalid_path", "the target is neither a path nor an http URL")
        authority, rest = absolute[1], target[absolute.end() :]
        origin = rest if rest.startswith(b"/") else b"/" + rest
    if wrong := _NOT_SENT.search(origin):
        raise BadRequest("invalid_path", f"the target holds {wrong[0]!r}")
    path, _, query = origin.partition(b"?")
    if _BAD_ESCAPE.search(path):
        raise BadRequest("invalid_path", "the path holds a bad percent escape")
    found = readings_of(path)
    return ParsedTarget(origin, path, query, found.readings, found.canonical, authority)
