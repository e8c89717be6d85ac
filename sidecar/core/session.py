"""The session value and its clocks.

All times are whole or fractional seconds since the epoch on *our* clock, never the provider's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.identity import Identity
    from sidecar.core.secret import Secret

__all__ = ["Session"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A login that has been completed.

    `id` is 128 random bits or more in URL-safe text, new at each login (S35) and kept by refreshes;
    `generation` counts refreshes: the cookie of generation n is superseded by that of n + 1.
    `seen_at` moves with activity (idle limit), `absolute_end` never does. `access_expires_at` is None when
    the provider told no life time. `id_token` is kept only where the provider's logout needs it.
    `sid` is the provider's own session id (back-channel logout).
    """

    id: str
    site: str
    provider: str
    identity: Identity
    created_at: float
    seen_at: float
    absolute_end: float
    generation: int = 0
    sid: str | None = None
    access_token: Secret | None = field(default=None, repr=False)
    access_issued_at: float | None = None
    access_expires_at: float | None = None
    refresh_token: Secret | None = field(default=None, repr=False)
    id_token: Secret | None = field(default=None, repr=False)
    auth_time: float | None = None
    acr: str | None = None
    nonce: str | None = None
