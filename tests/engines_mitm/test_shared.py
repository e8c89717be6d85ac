"""What the express engine's own tests say of an upstream and of time-outs, said of this engine."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sidecar.engines import mitm
from tests.engines import test_pool as pool
from tests.engines import test_timeouts as timeouts
from tests.engines.harness import PlainApplication
from tests.engines_mitm import mitmharness


@pytest.fixture(autouse=True)
def _on_mitmproxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def serving(
        application: PlainApplication, **options: object
    ) -> AbstractAsyncContextManager[mitm.MitmServer]:
        return mitmharness.serving(application, tmp_path, **options)  # type: ignore[arg-type]  # the same

    for module in (pool, timeouts):
        monkeypatch.setattr(module, "serving", serving)
        monkeypatch.setattr(module, "bounded", mitmharness.bounded)


class TestRetry(pool.TestRetry):
    """RFC 9112 §9.3.1, RFC 9110 §9.2.2."""


class TestReuse(pool.TestReuse):
    """S53. Connections are each client's own, so there is no pool for all to count."""

    test_one_connection_serves_many_requests = None  # type: ignore[assignment]
    test_idle_connections_are_few = None  # type: ignore[assignment]


class TestUnreachable(pool.TestUnreachable):
    """There are no upstreams on socket files: the configuration refuses them. 503 is in test_upstream.py."""

    test_a_refused_connection_is_503 = None  # type: ignore[assignment]
    test_a_missing_socket_file_is_503 = None  # type: ignore[assignment]
    test_an_upstream_may_be_a_socket_file = None  # type: ignore[assignment]


class TestCancelled(pool.TestCancelled):
    """S53."""


class TestBodies(timeouts.TestBodies):
    """S56."""


class TestAnswers(timeouts.TestAnswers):
    """S56."""
