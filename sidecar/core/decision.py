"""What the core answers to a request head: a closed set of values that an engine carries out.

    Respond   we answer ourselves
    Forward   pass it to an upstream, with these header changes
    Flow      neither yet: run these steps (a generator of effects), which end in one of the two above

An engine calls `gate.decide`, matches on the type and does as it is told. It adds framing (RFC 9112 §6),
Date and connection handling, nothing else.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sidecar.core.effects import Effect
    from sidecar.core.http import HeaderPair, RequestHead, Response
    from sidecar.core.runtime import Site, Upstream

__all__ = ["Decision", "Edits", "Finish", "Flow", "Forward", "Lease", "Note", "Respond", "Steps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Why: what the access line and the metrics say of a decision. Prepared once where possible.

    `reason` is a stable snake_case code from the closed list in `core.reasons`; `rule` names the rule
    (its `name`, else its position such as "access[2]"); `user` is for logs only and never a metric label.
    """

    site: str
    reason: str
    rule: str | None = None
    user: str | None = None
    session_id: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Edits:
    """Header fields that we add upstream, prepared once and used for many requests.

    `block` is the same as bytes: each field as `Name: value` with CRLF at its end.
    """

    pairs: tuple[HeaderPair, ...]
    block: bytes

    @classmethod
    def of(cls, pairs: tuple[HeaderPair, ...]) -> Edits:
        """Prepare the block of `pairs`; names and values are already safe (S47)."""
        return cls(pairs, b"".join(b"%b: %b\r\n" % pair for pair in pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """How long a connection that outlives its request may stay open.

    Engines keep a registry of tunnels and of streams that last longer than a second, by lease; expiry,
    revocation and a changed policy end them. `not_after` is the absolute end (seconds since the epoch).
    Traffic in a tunnel counts as activity for the idle limit: the engine calls `state.touch(session_id)`.
    """

    session_id: str
    user: str
    not_after: float
    idle_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The core's word on the upstream's answer: input of `core.answer.finish_answer`.

    `set_cookies` are complete Set-Cookie values of ours to append (the answer is then
    `Cache-Control: private`); `own_cookie_names` are names that the upstream must not set (exact bytes, or
    with a trailing `*` a prefix); `is_websocket` tells that a valid WebSocket handshake was forwarded, so
    that a 101 may become a tunnel when `websocket_key` fits its Sec-WebSocket-Accept; `set_headers` are
    further fields for the answer (a development banner, say).
    """

    own_cookie_names: frozenset[bytes]
    set_cookies: tuple[bytes, ...] = ()
    set_headers: tuple[HeaderPair, ...] = ()
    is_websocket: bool = False
    websocket_key: bytes = b""


@dataclass(frozen=True, slots=True)
class Respond:
    """We answer ourselves."""

    response: Response
    note: Note


class Forward:
    """Pass the request to `upstream`.

    `method` and `target` (origin-form) go out as they are; then the fields of `kept` (the client's, already
    cleaned: hop-by-hop, spoofed names and our cookies removed; Host first), then each block of `edits`.
    Body framing fields (Content-Length, Transfer-Encoding, Expect) are never in `kept`: an engine writes its
    own from what it parsed. `Connection: Upgrade` and `Upgrade: websocket` are written by the engine when
    `finish.is_websocket`. A plain slots class because one is made for each request.
    """

    __slots__ = ("edits", "finish", "kept", "lease", "method", "note", "target", "upstream")

    def __init__(  # noqa: PLR0917  one positional call on the hot path
        self,
        upstream: Upstream,
        method: bytes,
        target: bytes,
        kept: list[HeaderPair],
        edits: tuple[Edits, ...],
        finish: Finish,
        lease: Lease | None,
        note: Note,
    ) -> None:
        """Keep the parts."""
        self.upstream = upstream
        self.method = method
        self.target = target
        self.kept = kept
        self.edits = edits
        self.finish = finish
        self.lease = lease
        self.note = note


type Steps[T] = Generator[Effect, Any, T]
"""A generator that yields effects, is sent each one's result (or thrown its error) and returns a T."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Run `steps` to know. `name` (such as "callback" or "refresh") is for logs and metrics.

    `head` and `site` are those of the request, for the answer when the flow ends in an error; applications
    other than the gate have no site.
    """

    name: str
    steps: Steps[Respond | Forward]
    head: RequestHead
    site: Site | None = None


type Decision = Respond | Forward | Flow
