"""The values of HTTP as the core sees them: request head, response, page.

Bytes are what the wire carries; a header is a pair of bytes in the order and case in which it arrived,
duplicates kept. Nothing here parses a stream: engines do, and hand over a `RequestHead` that is already
syntactically valid (RFC 9112).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["RECURS", "HeaderPair", "Page", "RequestHead", "Response", "header_values", "single_header"]

RECURS: Final = "recurs"
"""In the memo of fields that are expected on other connections of their peer too."""

type HeaderPair = tuple[bytes, bytes]


class RequestHead:
    """The head of one request: all that a decision may depend on.

    A plain slots class instead of a frozen dataclass, because one is made for each request and a frozen
    dataclass costs three times as much to make. By convention nobody changes one, but for `client_ip`.

    `method` as sent (RFC 9110 §9 methods are case-sensitive); `target` the request target as sent
    (origin-form, or absolute-form as an engine received it); `headers` in order, as received;
    `peer` the textual address of the direct TCP peer, or "unix"; `is_tls` whether our own listener did TLS;
    `request_id` a short printable id that logs and error pages share; `client_ip` is the peer, until the gate
    has found the user agent's address behind trusted proxies and notes it here, for the log.

    `memo` is None, or a dictionary that an engine hands over with each request of one connection whose
    fields are the very same bytes (as those of a keep-alive client mostly are): what depends on `headers`,
    `peer` and `is_tls` alone may be kept there instead of worked out again. It may vanish at any time. Once
    `RECURS` is in it (whatever its value), it may come with the same bytes on that peer's other connections.
    """

    __slots__ = ("client_ip", "headers", "is_tls", "memo", "method", "peer", "request_id", "target")

    def __init__(  # noqa: PLR0917  one positional call on the hot path
        self,
        method: bytes,
        target: bytes,
        headers: list[HeaderPair],
        peer: str,
        request_id: str,
        is_tls: bool = False,  # noqa: FBT001, FBT002  likewise
        memo: dict[object, object] | None = None,
    ) -> None:
        """Keep the parts as they are; the engine has checked their syntax."""
        self.method = method
        self.target = target
        self.headers = headers
        self.peer = peer
        self.client_ip = peer
        self.request_id = request_id
        self.is_tls = is_tls
        self.memo = memo

    def __repr__(self) -> str:
        """Show what is safe to log: no header value, no query."""
        path = self.target.partition(b"?")[0]
        return f"RequestHead({self.method!r} {path!r} from {self.peer}, {len(self.headers)} headers)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One of our HTML pages, before rendering.

    `name` is a template of `sidecar.pages`; `values` are its variables (escaped when rendered, whatever they
    hold); `form_targets` are origins (or a scheme, "https:") besides our own to which a form of the page may
    lead, redirects included (CSP `form-action` covers those too).
    """

    name: str
    values: Mapping[str, object] = field(default_factory=dict)
    form_targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer of our own. Either `body` or `page` carries the content; an engine adds the framing.

    `headers` never hold Content-Length, Transfer-Encoding, Connection or Date: those are the engine's.
    For a `page` the renderer adds Content-Type, Content-Security-Policy and their kin.
    """

    status: int
    headers: tuple[HeaderPair, ...] = ()
    body: bytes = b""
    page: Page | None = None


NO_STORE: Final[HeaderPair] = (b"Cache-Control", b"no-store")


def header_values(headers: Iterable[HeaderPair], name: bytes) -> list[bytes]:
    """Return each value of `name` (given in lower case), in order."""
    return [value for key, value in headers if key.lower() == name]


def single_header(headers: Iterable[HeaderPair], name: bytes) -> bytes | None:
    """Return the value of `name` (lower case) if it occurs exactly once, else None.

    For headers whose duplicates make them untrustworthy: a caller that must tell "absent" from
    "twice" uses `header_values`.
    """
    values = header_values(headers, name)
    return values[0] if len(values) == 1 else None
