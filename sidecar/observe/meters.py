"""The counters of one process: plain dictionaries, because a Prometheus counter costs a microsecond.

`snapshot()` is JSON-ready and `merge_snapshots` adds several up, so that the metrics of one worker speak for
all. Labels are bounded: site names, reason codes, status codes, provider keys; never a user, path or id.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LATENCY_BOUNDS", "Histogram", "HistogramData", "Meters", "Snapshot", "merge_snapshots"]

LATENCY_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds; a last, unbounded bucket follows."""

_SEPARATOR: Final = "\x1f"  # joins label values in a snapshot's keys; no label value holds a control byte


class HistogramData(TypedDict):
    """A histogram as data: a count for each bucket, and the sum of what was observed."""

    buckets: list[int]
    sum: float


class Snapshot(TypedDict):
    """All series of a process (or of several, added up). Keys join label values with U+001F."""

    requests: dict[str, int]
    request_seconds: HistogramData
    provider_calls: dict[str, int]
    provider_seconds: dict[str, HistogramData]
    events: dict[str, int]
    malformed: dict[str, int]
    gauges: dict[str, float]


class Histogram:
    """Counts observations in fixed buckets."""

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        """Start empty."""
        self.buckets = [0] * (len(LATENCY_BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self.buckets[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.sum += seconds

    def data(self) -> HistogramData:
        """Return it as data."""
        return {"buckets": list(self.buckets), "sum": self.sum}


class Meters:
    """The counters that one process keeps."""

    __slots__ = (
        "access_lines_lost",
        "connections",
        "events",
        "gauges",
        "malformed",
        "provider_calls",
        "provider_seconds",
        "request_seconds",
        "requests",
    )

    def __init__(self) -> None:
        """Start at zero."""
        self.requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self.request_seconds = Histogram()
        self.provider_calls: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.provider_seconds: defaultdict[tuple[str, str], Histogram] = defaultdict(Histogram)
        self.events: defaultdict[str, int] = defaultdict(int)
        self.malformed: defaultdict[str, int] = defaultdict(int)
        self.connections = 0
        self.access_lines_lost = 0
        self.gauges: dict[str, float] = {}

    def snapshot(self) -> Snapshot:
        """Return all counters as JSON-ready data."""
        return {
            "requests": {
                _joined(site, reason, str(status)): n for (site, reason, status), n in self.requests.items()
            },
            "request_seconds": self.request_seconds.data(),
            "provider_calls": {_joined(*labels): n for labels, n in self.provider_calls.items()},
            "provider_seconds": {_joined(*labels): h.data() for labels, h in self.provider_seconds.items()},
            "events": dict(self.events),
            "malformed": dict(self.malformed),
            "gauges": {**self.gauges, "connections": float(self.connections)},
        }


def _joined(*labels: str) -> str:
    return _SEPARATOR.join(labels)


def label_values(key: str) -> tuple[str, ...]:
    """Take a snapshot's key apart."""
    return tuple(key.split(_SEPARATOR))


def merge_snapshots(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Add snapshots up: counters, buckets and gauges alike."""
    total = Meters().snapshot()
    for snapshot in snapshots:
        for counters, more in (
            (total["requests"], snapshot["requests"]),
            (total["provider_calls"], snapshot["provider_calls"]),
            (total["events"], snapshot["events"]),
            (total["malformed"], snapshot["malformed"]),
        ):
            for key, count in more.items():
                counters[key] = counters.get(key, 0) + count
        for gauge, value in snapshot["gauges"].items():
            total["gauges"][gauge] = total["gauges"].get(gauge, 0.0) + value
        _add_histogram(total["request_seconds"], snapshot["request_seconds"])
        for key, data in snapshot["provider_seconds"].items():
            _add_histogram(total["provider_seconds"].setdefault(key, Histogram().data()), data)
    return total


def _add_histogram(into: HistogramData, data: HistogramData) -> None:
    into["buckets"] = [a + b for a, b in zip(into["buckets"], data["buckets"], strict=True)]
    into["sum"] += data["sum"]
