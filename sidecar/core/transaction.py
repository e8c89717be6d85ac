"""One login under way, between our redirect to the provider and its callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from sidecar.core.cookies import CookiePair
    from sidecar.core.runtime import Provider, Site
    from sidecar.core.secret import Secret

__all__ = ["MAX_ATTEMPTS", "Found", "Transaction", "begin", "clear", "find"]

MAX_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One login under way. `state` is the parameter that goes to the provider and comes back.

    `attempts` counts the logins in a row that came back without their cookie: at MAX_ATTEMPTS a flow shows
    the `login_loop` page instead of beginning another one. `claim_key` names it for ClaimOnce until `until`.
    """

    id: str
    state: str
    nonce: str
    code_verifier: Secret = field(repr=False)
    provider: str
    issuer: str
    return_to: str
    created_at: float
    until: float
    attempts: int = 0

    @property
    def claim_key(self) -> bytes:
        """Return the key under which the callback claims it once."""
        return b"transaction:" + self.id.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a callback's state says.

    "found": `transaction` may go on. "no_cookie": the state is ours, but this browser does not hold its
    cookie (dropped for newer tabs, blocked, another browser) or used it already; "expired": likewise, too
    old. In both cases nothing may be redeemed; a new login may begin with `return_to`, `provider` (a key)
    and `attempts` + 1. "invalid": not a state of ours.
    """

    reason: Literal["found", "no_cookie", "expired", "invalid"]
    transaction: Transaction | None = None
    return_to: str = "/"
    provider: str | None = None
    attempts: int = 0


def begin(  # noqa: PLR0917  the agreed order
    site: Site,
    provider: Provider,
    return_to: str,
    now: float,
    entropy: Callable[[int], bytes],
    *,
    cookies: Sequence[CookiePair],
    attempts: int = 0,
) -> tuple[Transaction, tuple[bytes, ...]]:
    """Begin a login: the transaction, and the Set-Cookie values that go with the redirect."""
    raise NotImplementedError


def find(site: Site, cookies: Sequence[CookiePair], state_param: str, now: float) -> Found:
    """Return the login that `state_param` belongs to, if this browser began it."""
    raise NotImplementedError


def clear(site: Site, transaction: Transaction) -> tuple[bytes, ...]:
    """Return the Set-Cookie values that delete the transaction's cookie."""
    raise NotImplementedError
