"""What an examination finds: one row for each probe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Verdict"]


class Verdict(StrEnum):
    """What an answer means. `UNKNOWN`: it can't be seen from here, or it is no hole but not right either."""

    OK = "ok"
    OPEN = "open"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One probe: what was sent (never a cookie), what came back, and what that means.

    `group` says which part of an ingress's configuration is concerned (`mends`).
    """

    group: str
    probe: str
    sent: str
    came: str
    verdict: Verdict
