"""What is told to the layers of a gate: its settings once, and when something is to end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mitmproxy.proxy import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy.http import HTTPFlow, Response

    from sidecar.core.runtime import Limits
    from sidecar.engines.express.requesthead import HeadRefused

__all__ = ["EndNow", "LayerSettings", "Tick"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSettings:
    """What the layers of one gate share. `malformed` builds our answer to what is no request."""

    limits: Limits
    malformed: Callable[[HeadRefused, str], Response]
    clock: Callable[[], float] = time.monotonic


@dataclass
class Tick(events.Event):
    """Says once a second what time it is, on the monotonic clock: what waits too long is ended."""

    now: float


@dataclass
class EndNow(events.Event):
    """Ends what is under way of `flow`: its lease is over, or it took too long.

    Where the answer has not begun and `failure` is given (reason, status), it is answered so.
    """

    flow: HTTPFlow
    failure: tuple[str, int] | None = None
