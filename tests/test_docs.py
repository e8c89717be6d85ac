"""The pages that people wrote by hand say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar.core.reasons import REASONS
from sidecar.core.runtime import Limits, SessionPolicy
from sidecar.core.seal import KeyRing
from sidecar.core.secret import Secret
from sidecar.observe import Meters
from sidecar.observe.exposition import GAUGES, render_metrics

DOCS = Path(__file__).parent.parent / "docs"
OPERATING = (DOCS / "operating.md").read_text("utf-8")
HEADERS = (DOCS / "headers.md").read_text("utf-8")


def test_every_gauge_is_in_the_page_for_operators() -> None:
    assert [name for name, _ in GAUGES.values() if name not in OPERATING] == []


def test_every_series_that_the_page_names_exists() -> None:
    meters = Meters()
    meters.requests["s", "allowed", 200] += 1
    meters.provider_calls["p", "token", "ok"] += 1
    meters.provider_seconds["p", "token"].observe(0.1)
    meters.events["login_succeeded"] += 1
    meters.malformed["invalid_request"] += 1
    meters.gauges.update(dict.fromkeys(GAUGES, 0.0))
    exposed = render_metrics(meters.snapshot()).decode()
    named = re.findall(r"`(doorward_[a-z_]+)", OPERATING)
    assert named
    assert [name for name in named if f"# HELP {name.removesuffix('_total')}" not in exposed] == []


@pytest.mark.parametrize(
    "endpoint", ["start", "callback", "sign_in", "sign_out", "auth", "handoff", "userinfo", "jwks"]
)
def test_every_endpoint_is_described(endpoint: str) -> None:
    assert f"| `{endpoint}" in OPERATING


def test_defaults_that_the_page_names_are_the_defaults() -> None:
    assert f"`limits.drain` ({Limits().drain_seconds:.0f} s)" in OPERATING
    hours = SessionPolicy(keys=KeyRing.from_secrets([Secret(bytes(32))])).absolute_seconds / 3600
    assert f"`session.absolute` ({hours:.0f} h)" in OPERATING


def test_reasons_in_examples_exist() -> None:
    for reason in re.findall(r'(?:Doorward-Intercepted: |"reason": ")([a-z_]+)', HEADERS + OPERATING):
        assert reason in REASONS
