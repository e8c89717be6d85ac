"""The one argument of gate and flows: a request together with what is already known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.http import RequestHead
    from sidecar.core.runtime import Runtime, Site
    from sidecar.core.session import Session
    from sidecar.core.state import State

__all__ = ["Call"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request on its way through the core.

    `path` is the canonical path, percent-decoded, starting with "/"; `query` is as sent, without "?".
    `cookies` are all pairs of the Cookie fields in order, exact bytes (S30, S31). `client_ip` is the address
    of the user agent after the rightmost-untrusted rule (S48). `session` is set once a cookie has opened and
    is neither expired nor revoked. `now` is the clock at the head's arrival.
    """

    runtime: Runtime
    site: Site
    state: State
    head: RequestHead
    now: float
    path: str
    query: bytes
    cookies: tuple[tuple[bytes, bytes], ...]
    client_ip: str
    session: Session | None = None
