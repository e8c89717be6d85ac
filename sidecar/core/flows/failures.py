"""The one place where an error that a flow leaves unhandled becomes an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core import refusals
from sidecar.core.errors import BadRequest, DoorwardError, ProviderUnavailable, StoreUnavailable

if TYPE_CHECKING:
    from sidecar.core.decision import Flow, Respond

__all__ = ["answer_failure"]

_BAD_REQUESTS: Final = {"too_large": 413, "timeout": 408}
_PROVIDER_TIMEOUT: Final = "provider_timeout"


def answer_failure(flow: Flow, error: DoorwardError) -> Respond:
    """Return the page for `error`: whose fault it is decides the status; the detail stays in the log."""
    match error:
        case BadRequest():
            reason = error.code if error.code in _BAD_REQUESTS else "invalid_request"
            status = _BAD_REQUESTS.get(error.code, 400)
        case ProviderUnavailable():
            reason, status = "provider_unavailable", 504 if error.code == _PROVIDER_TIMEOUT else 502
        case StoreUnavailable():
            reason, status = "store_unavailable", 503
        case _:
            # A token or an answer that fails a check: the login is refused.
            reason, status = "login_failed", 403
    return refusals.refuse(flow.site, reason, status, flow.head.request_id, flow.head)
