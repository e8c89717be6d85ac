"""What the express engine's own tests say of an upstream and of time-outs, said of this engine."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sidecar.engines import mitm
from tests.engines import test_answers as answers
from tests.engines import test_flows as flows
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

    for module in (answers, flows, pool, timeouts):
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


_BEGUN = {"a first chunk that is none", "a second chunk that is none"}
_NO_ANSWERS = {name: answer for name, answer in answers.BROKEN.items() if name not in _BEGUN}


class TestBroken(answers.TestBroken):
    """S53. A head goes on before the first chunk is read: if that is broken, so is the answer, with no 502.

    mitmproxy does not tell a reset from an end; docs/engines.md says so.
    """

    test_an_answer_up_to_the_close_that_ends_in_a_reset_is_broken_off = None  # type: ignore[assignment]

    @pytest.mark.parametrize("answer", _NO_ANSWERS.values(), ids=_NO_ANSWERS.keys())
    def test_what_is_no_answer_is_502(self, answer: bytes) -> None:
        """S53: and its connection is never used again."""
        super().test_what_is_no_answer_is_502(answer)


class TestFraming(answers.TestFraming):
    """RFC 9112 §6. mitmproxy decides by itself how long a client's connection lasts, and does not tell."""

    test_http_10_may_keep_its_connection = None  # type: ignore[assignment]
    test_close_is_told_and_done = None  # type: ignore[assignment]


class TestFlowBody(flows.TestBody):
    """S56. What breaks a body's framing is answered by the engine, before the flow hears of it."""

    test_a_broken_body_is_refused = None  # type: ignore[assignment]


def test_a_client_that_leaves_cancels_its_flow_and_is_reported() -> None:
    flows.test_a_client_that_leaves_cancels_its_flow_and_is_reported()


def test_a_half_closed_client_that_waits_too_long_for_a_flow_is_given_up() -> None:
    flows.test_a_half_closed_client_that_waits_too_long_for_a_flow_is_given_up()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_no_answer_reaches_another(seed: int) -> None:
    """S53: under pipelining, aborts and bad manners; and each request that was decided is reported."""
    pool.test_no_answer_reaches_another(seed)
