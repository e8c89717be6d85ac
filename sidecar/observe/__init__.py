"""What operators see: access lines, event lines and metrics.

Owns: the encoding of access lines, the counters of one process, their sum over workers, the Prometheus
text. Depends on: `core` values, structlog (events only), prometheus-client (exposition only, lazily).
Leaves to others: who listens on the admin address (`sidecar.admin`), how snapshots travel between
processes (`sidecar.supervisor`).

Secrets are kept out by construction (S27): a line holds the path without its query, no header value, no
body, and of cookies and tokens nothing.
"""

from sidecar.observe.access import AccessLog
from sidecar.observe.meters import Meters, Snapshot, merge_snapshots
from sidecar.observe.observation import Observation

__all__ = ["AccessLog", "Meters", "Observation", "Snapshot", "merge_snapshots"]
