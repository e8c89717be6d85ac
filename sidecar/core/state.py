"""What the core remembers between requests of one process, and what it is given from the outside.

Lives outside the `Runtime`, so that a reload loses nothing. Bounded everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.core.plan import Plans

if TYPE_CHECKING:
    from sidecar.core.revocation import RevocationList
    from sidecar.core.sessioncache import SessionCache

__all__ = ["State", "Surroundings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The clock (seconds since the epoch) and the source of random bytes."""

    clock: Callable[[], float]
    entropy: Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The memory of one process: opened sessions by cookie, revoked session ids, what the gate prepared."""

    surroundings: Surroundings
    sessions: SessionCache
    revocations: RevocationList
    plans: Plans = field(default_factory=Plans)
