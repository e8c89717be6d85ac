"""What a flow may ask for: frozen values, carried out by `sidecar.effects.Runner` for every engine.

A flow yields one of these and is sent the result named in its docstring; errors are thrown into the flow
at the `yield`. Tests drive a flow by hand: `next(steps)`, `steps.send(result)`, `steps.throw(error)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sidecar.core.decision import Steps
    from sidecar.core.http import HeaderPair
    from sidecar.core.runtime import Provider

__all__ = [
    "CallProvider",
    "ClaimOnce",
    "DeleteStored",
    "Effect",
    "Emit",
    "LoadKeys",
    "LoadMetadata",
    "LoadStored",
    "Once",
    "ProviderAnswer",
    "ReadBody",
    "Revoke",
    "SaveStored",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBody:
    """Read the request's body, at most `max_bytes`. Sends bytes; throws BadRequest when larger or broken."""

    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProvider:
    """Make one HTTP request to a provider. Sends a ProviderAnswer; throws ProviderUnavailable.

    `operation` names it for metrics ("token", "userinfo", "revocation", ...). The runner holds to the
    provider's `call_seconds` in total and `call_max_bytes` decoded, its CA, its outbound proxy, and follows
    no redirect to another origin.
    """

    provider: Provider
    operation: str
    method: Literal["GET", "POST"]
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str], ...] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAnswer:
    """What a provider answered: any status below 500, body decoded and complete."""

    status: int
    headers: tuple[HeaderPair, ...]
    body: bytes = field(repr=False)

    @property
    def content_type(self) -> str:
        """Return the media type in lower case, without parameters."""
        for name, value in self.headers:
            if name.lower() == b"content-type":
                return value.split(b";", 1)[0].strip().lower().decode("latin-1")
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMetadata:
    """Get the provider's checked metadata. Sends core.tokens.ProviderMetadata; throws ProviderUnavailable."""

    provider: Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadKeys:
    """Get the provider's signing keys. Sends a core.tokens.KeySet; throws ProviderUnavailable.

    With `unknown_kid` the runner refetches, at most once per interval for all requests (S21), and sends what
    it then has.
    """

    provider: Provider
    unknown_kid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """Run `steps` once for all who ask with the same `key`; all are sent (or thrown) the one result.

    The work goes on when the request that started it hangs up. A success is kept for `keep_seconds`, so that
    a late asker gets it too; an error is not kept. Holds within one process and, where the Coordinator spans
    workers, across them, so the result is bytes and holds no secret in clear.
    """

    key: bytes
    steps: Callable[[], Steps[bytes]] = field(repr=False)
    keep_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOnce:
    """Claim a one-time value. Sends True to the first who claims `key` before `until`, False to others."""

    key: bytes
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """Put a session id on the revocation list of every worker until `until`. Sends None once all know."""

    session_id: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveStored:
    """Save sealed session data server-side under `key` until `until`. Sends None; throws StoreUnavailable."""

    store: str
    key: str
    sealed: bytes = field(repr=False)
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStored:
    """Load what SaveStored saved. Sends bytes or None; throws StoreUnavailable."""

    store: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteStored:
    """Delete it. Sends None; throws StoreUnavailable."""

    store: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """Tell operators that something happened (log line and metric). Sends None, never throws.

    `event` is a past fact in snake_case from the table in `core.reasons`; `fields` hold no secret.
    """

    event: str
    fields: tuple[tuple[str, str | int | float | None], ...] = ()


type Effect = (
    ReadBody
    | CallProvider
    | LoadMetadata
    | LoadKeys
    | Once
    | ClaimOnce
    | Revoke
    | SaveStored
    | LoadStored
    | DeleteStored
    | Emit
)
