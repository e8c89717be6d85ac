"""Counters of one process, their sum over several, and the text that Prometheus reads."""

from __future__ import annotations

import io
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.core.decision import Note
from sidecar.core.http import RequestHead
from sidecar.core.reasons import EVENTS, WARNINGS
from sidecar.observe import Meters, Observation, merge_snapshots
from sidecar.observe.exposition import render_metrics
from sidecar.observe.logs import build_event_log


def observation(stream: io.StringIO | None = None) -> Observation:
    events = build_event_log(stream or io.StringIO(), lambda: 1_700_000_000.25)
    return Observation(Meters(), events, None)


def busy() -> Observation:
    seen = observation()
    head = RequestHead(b"GET", b"/", [], "192.0.2.1", "r")
    seen.request_done(head, Note(site="app", reason="allowed", user="ada"), 200, 10, 0.004, 0.003)
    seen.request_done(head, Note(site="app", reason="denied", user="bob"), 403, 10, 40.0, 0.0)
    seen.provider_call("oidc", "token", "ok", 0.2)
    seen.event("login_succeeded", (("provider", "oidc"),))
    seen.malformed("192.0.2.9", "invalid_request", "bare LF")
    seen.connection_opened()
    return seen


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_each_series_is_exposed_with_bounded_labels() -> None:
    found = samples(render_metrics(busy().meters.snapshot()))
    labels = (("reason", "allowed"), ("site", "app"), ("status", "200"))
    assert found["doorward_requests_total", labels] == 1
    assert found["doorward_request_seconds_bucket", (("le", "0.005"),)] == 1
    assert found["doorward_request_seconds_bucket", (("le", "+Inf"),)] == 2
    assert found["doorward_request_seconds_sum", ()] == pytest.approx(40.004)
    call = (("operation", "token"), ("outcome", "ok"), ("provider", "oidc"))
    assert found["doorward_provider_calls_total", call] == 1
    assert found["doorward_events_total", (("event", "login_succeeded"),)] == 1
    assert found["doorward_malformed_total", (("reason", "invalid_request"),)] == 1
    assert found["doorward_connections", ()] == 1


def test_no_user_is_ever_a_label() -> None:
    """S71: metrics hold no session data."""
    text = render_metrics(busy().meters.snapshot())
    assert b"ada" not in text
    assert b"192.0.2" not in text


def test_snapshots_of_workers_add_up() -> None:
    one, two = busy().meters.snapshot(), busy().meters.snapshot()
    total = samples(render_metrics(merge_snapshots([json.loads(json.dumps(one)), two])))
    single = samples(render_metrics(one))
    assert total == {key: value * 2 for key, value in single.items()}


def test_an_event_outside_the_closed_table_is_a_defect() -> None:
    with pytest.raises(ValueError, match="something_else"):
        observation().event("something_else", ())


def test_what_an_operator_should_look_at_is_a_warning() -> None:
    stream = io.StringIO()
    seen = observation(stream)
    for event in ("login_succeeded", "login_refused", "certificate_refused", "provider_call_failed"):
        seen.event(event, ())
    levels = {line["event"]: line["level"] for line in map(json.loads, stream.getvalue().splitlines())}
    assert levels == {
        "login_succeeded": "info",
        "login_refused": "info",
        "certificate_refused": "warning",
        "provider_call_failed": "warning",
    }
    assert set(EVENTS) >= WARNINGS


def test_a_defect_is_logged_with_its_traceback_and_without_local_variables() -> None:
    """S27: a local variable may be a token."""
    stream = io.StringIO()
    seen = observation(stream)
    unopened = bytes.fromhex("534543524554")

    def decide(token: bytes) -> None:
        if token:
            raise RuntimeError("broken")

    try:
        decide(unopened)
    except RuntimeError:
        seen.defect("decide", "r-7")
    line = json.loads(stream.getvalue())
    assert line["request_id"] == "r-7"
    assert line["time"] == "2023-11-14T22:13:20.250Z"
    assert "RuntimeError: broken" in line["exception"]
    assert "SECRET" not in stream.getvalue()
