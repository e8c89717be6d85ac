"""The Prometheus text of a snapshot, written by prometheus-client (imported at the first scrape)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.observe.meters import LATENCY_BOUNDS, label_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from sidecar.observe.meters import HistogramData, Snapshot

__all__ = ["CONTENT_TYPE", "GAUGES", "render_metrics"]

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

GAUGES = {
    "connections": ("doorward_connections", "Downstream connections open now."),
    "revocations": ("doorward_revocations", "Session ids on the revocation list (of one worker)."),
    "revocation_floor": (
        "doorward_revocation_floor_seconds",
        "Sessions that end before it are refused, because the list was full (0: never was).",
    ),
    "access_lines_lost": ("doorward_access_lines_lost", "Access lines that nobody was there to read."),
    "sessions_cached": ("doorward_sessions_cached", "Opened sessions held in memory."),
    "sessions_cached_bytes": ("doorward_sessions_cached_bytes", "Bytes that those take, estimated."),
    "workers": ("doorward_workers", "Workers that serve now."),
    "worker_restarts": ("doorward_worker_restarts", "Workers that ended and were started anew."),
    "ready": ("doorward_ready", "1 when every worker is ready."),
}


def render_metrics(snapshot: Snapshot) -> bytes:
    """Return the text exposition of `snapshot`."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Collector:
        def collect(self) -> Iterator[Metric]:
            yield from _metrics(snapshot)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return bytes(generate_latest(registry))


def _metrics(snapshot: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    requests = CounterMetricFamily(
        "doorward_requests",
        "Requests answered, by site, reason and status.",
        labels=("site", "reason", "status"),
    )
    for key, count in sorted(snapshot["requests"].items()):
        requests.add_metric(label_values(key), count)
    yield requests
    seconds = HistogramMetricFamily(
        "doorward_request_seconds", "Time from a request's head to its answer's end."
    )
    seconds.add_metric((), *_histogram(snapshot["request_seconds"]))
    yield seconds
    calls = CounterMetricFamily(
        "doorward_provider_calls",
        "Calls to providers, by outcome.",
        labels=("provider", "operation", "outcome"),
    )
    for key, count in sorted(snapshot["provider_calls"].items()):
        calls.add_metric(label_values(key), count)
    yield calls
    latency = HistogramMetricFamily(
        "doorward_provider_seconds", "Duration of calls to providers.", labels=("provider", "operation")
    )
    for key, data in sorted(snapshot["provider_seconds"].items()):
        latency.add_metric(label_values(key), *_histogram(data))
    yield latency
    events = CounterMetricFamily("doorward_events", "What happened, by event.", labels=("event",))
    for key, count in sorted(snapshot["events"].items()):
        events.add_metric((key,), count)
    yield events
    malformed = CounterMetricFamily(
        "doorward_malformed", "What arrived that is no request.", labels=("reason",)
    )
    for key, count in sorted(snapshot["malformed"].items()):
        malformed.add_metric((key,), count)
    yield malformed
    for name, value in sorted(snapshot["gauges"].items()):
        yield GaugeMetricFamily(*GAUGES[name], value=value)


def _histogram(data: HistogramData) -> tuple[list[tuple[str, float]], float]:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, LATENCY_BOUNDS), "+Inf"), data["buckets"], strict=True):
        total += count
        buckets.append((bound, total))
    return buckets, data["sum"]
