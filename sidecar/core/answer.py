"""The core's word on an upstream's answer head: what of it reaches the downstream.

Removed: hop-by-hop fields (RFC 9110 §7.6.1), framing (the engine's), a Set-Cookie under one of our names
(S40), our own mark on answers that are not ours. Added: our cookies, and then caching is made private. All
else passes as it is, duplicates and order kept, the application's own identity headers too.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Final

from sidecar.core.hygiene import nominated_names, without_nominated
from sidecar.core.recurring import Recurring

if TYPE_CHECKING:
    from sidecar.core.decision import Finish
    from sidecar.core.http import HeaderPair

__all__ = ["INTERCEPTED", "AnswerHead", "finish_answer", "websocket_accept"]

INTERCEPTED: Final = b"Doorward-Intercepted"
"""The field by which an answer of ours names its author and reason (S37). No upstream may set it."""


class AnswerHead:
    """The head of an upstream's answer after the core's word on it.

    `headers` are complete but for framing; `is_tunnel` is True only for a 101 that may become a WebSocket;
    `is_acceptable` False means that the upstream answered something that must not be passed on (502). A plain
    slots class because one is made for each answer.
    """

    __slots__ = ("headers", "is_acceptable", "is_tunnel")

    def __init__(
        self, headers: list[HeaderPair], *, is_tunnel: bool = False, is_acceptable: bool = True
    ) -> None:
        """Keep the parts."""
        self.headers = headers
        self.is_tunnel = is_tunnel
        self.is_acceptable = is_acceptable


_KEEP: Final = 0
_DROP: Final = 1
_SET_COOKIE: Final = 2
_CONNECTION: Final = 3

_KINDS: Final[dict[bytes, int]] = {
    b"connection": _CONNECTION,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"proxy-authenticate": _DROP,
    b"proxy-authentication-info": _DROP,
    b"te": _DROP,
    b"trailer": _DROP,
    b"transfer-encoding": _DROP,
    b"content-length": _DROP,
    b"upgrade": _DROP,
    b"set-cookie": _SET_COOKIE,
    INTERCEPTED.lower(): _DROP,
}
_MAX_REMEMBERED: Final = 2048
_MAX_REMEMBERED_BYTES: Final = 64

_SWITCHING_PROTOCOLS: Final = 101
_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

# A directive of Cache-Control: a comma inside quotes does not end it (RFC 9111 §5.2).
_DIRECTIVE: Final = re.compile(rb'[^",\s][^",]*(?:"[^"]*"[^",]*)*')
_SHARED_DIRECTIVES: Final = frozenset({b"public", b"private", b"s-maxage"})


def _kind(name: bytes) -> int:
    return _KINDS.get(name.lower(), _KEEP)


_kinds: Final = Recurring(_kind, entries=_MAX_REMEMBERED, max_bytes=_MAX_REMEMBERED_BYTES)


def finish_answer(finish: Finish, status: int, headers: list[HeaderPair]) -> AnswerHead:
    """Return what of an answer's head reaches the downstream."""
    kept: list[HeaderPair] = []
    connection: list[bytes] = []
    kinds, keep = _kinds, kept.append
    for pair in headers:
        kind = kinds[pair[0]]
        if not kind or (kind == _SET_COOKIE and not _sets_own(finish.own_cookie_names, pair[1])):
            keep(pair)
        elif kind == _CONNECTION and pair[1] not in {b"close", b"keep-alive"}:
            connection.append(pair[1])
    if connection:
        kept = without_nominated(kept, nominated_names(connection))
    if finish.set_headers:
        kept.extend(finish.set_headers)
    if finish.set_cookies:
        kept = [*_made_private(kept), *((b"Set-Cookie", value) for value in finish.set_cookies)]
    if status == _SWITCHING_PROTOCOLS:
        is_handshake = _is_handshake(finish, headers)
        return AnswerHead(kept, is_tunnel=is_handshake, is_acceptable=is_handshake)
    return AnswerHead(kept)


def _sets_own(own_names: frozenset[bytes], set_cookie: bytes) -> bool:
    """Tell whether a Set-Cookie value would set, or delete, one of our cookies.

    Browsers take SP and HTAB off the name (RFC 6265bis §5.6); some take more, so every control does not count
    here. A cookie without a name is sent back as its bare value, so `=ours=x` would come back as ours.
    """
    pair = set_cookie.partition(b";")[0].lstrip(_SPACES_AND_EQUALS)
    name = pair.partition(b"=")[0].strip(_SPACES)
    return name in own_names or any(own.endswith(b"*") and name.startswith(own[:-1]) for own in own_names)


_SPACES: Final = bytes(range(0x21)) + b"\x7f"
_SPACES_AND_EQUALS: Final = _SPACES + b"="


def _made_private(headers: list[HeaderPair]) -> list[HeaderPair]:
    """Return the headers so that no shared cache keeps an answer that carries a cookie of ours.

    `no-store` is stricter than `private` and stays. What speaks to shared caches past Cache-Control goes
    (RFC 9213, and Surrogate-Control before it).
    """
    kept: list[HeaderPair] = []
    directives: list[bytes] = []
    for pair in headers:
        name = pair[0].lower()
        if name == b"cache-control":
            directives += (found.strip() for found in _DIRECTIVE.findall(pair[1]))
        elif name != b"surrogate-control" and not name.endswith(b"cdn-cache-control"):
            kept.append(pair)
    names = {directive.partition(b"=")[0].strip().lower() for directive in directives}
    own = [d for d in directives if d.partition(b"=")[0].strip().lower() not in _SHARED_DIRECTIVES]
    if b"no-store" not in names:
        own.insert(0, b"private")
    kept.append((b"Cache-Control", b", ".join(own)))
    return kept


def websocket_accept(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 §4.2.2)."""
    return b64encode(hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest())


def _is_handshake(finish: Finish, headers: list[HeaderPair]) -> bool:
    """Tell whether a 101 completes the WebSocket handshake that we forwarded (RFC 6455 §4.2.2, S54)."""
    if not finish.is_websocket:
        return False
    values: dict[bytes, list[bytes]] = {b"upgrade": [], b"sec-websocket-accept": []}
    for name, value in headers:
        if (lower := name.lower()) in values:
            values[lower].append(value.strip(b" \t"))
    return [value.lower() for value in values[b"upgrade"]] == [b"websocket"] and values[
        b"sec-websocket-accept"
    ] == [websocket_accept(finish.websocket_key)]
