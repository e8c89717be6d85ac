from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from sidecar.core.decision import Flow
from sidecar.core.errors import (
    BadRequest,
    DoorwardError,
    InvalidToken,
    ProviderRefused,
    ProviderUnavailable,
    StoreUnavailable,
)
from sidecar.core.flows.failures import answer_failure
from tests.core.gatesetup import head, site


def flow() -> Flow:
    def steps() -> Generator[Any, Any, Any]:
        yield from ()

    return Flow("callback", steps(), head=head(), site=site())


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (BadRequest("anything"), 400, "invalid_request"),
        (BadRequest("too_large"), 413, "too_large"),
        (BadRequest("timeout"), 408, "timeout"),
        (ProviderUnavailable("provider_unreachable"), 502, "provider_unavailable"),
        (ProviderUnavailable("provider_timeout"), 504, "provider_unavailable"),
        (StoreUnavailable("down"), 503, "store_unavailable"),
        (InvalidToken("nonce_mismatch"), 403, "login_failed"),
        (ProviderRefused("access_denied"), 403, "login_failed"),
    ],
)
def test_whose_fault_it_is_decides_the_status(error: DoorwardError, status: int, reason: str) -> None:
    respond = answer_failure(flow(), error)

    assert respond.response.status == status
    assert respond.note.reason == reason


def test_the_detail_stays_inside() -> None:
    """S27, S67: a browser is told a fixed sentence and the request id."""
    respond = answer_failure(flow(), ProviderUnavailable("provider_unreachable", "10.0.0.7 refused"))

    assert b"10.0.0.7" not in respond.response.body
    assert b"req-1" in respond.response.body
