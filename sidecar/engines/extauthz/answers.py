"""An answer of ours to a `CheckResponse`, whose messages Envoy publishes (`xds-protos`).

Envoy takes only the `value` of a field, never `raw_value`; it keeps several fields of a name apart where each
is appended, and adds ours to what the client sent unless they overwrite (S44).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from envoy.type.v3 import http_status_pb2

from sidecar.core.development import BANNER
from sidecar.core.hygiene import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

    from sidecar.application import WireResponse
    from sidecar.core.http import HeaderPair, RequestHead, Response

__all__ = ["build_answer", "deny"]

_OK: Final = 200
_FORBIDDEN: Final = 403
_PERMISSION_DENIED: Final = 7  # google.rpc.Code; 0 would be a yes, whatever stands beside it
_SET_COOKIE: Final = b"set-cookie"
# What a yes says to whoever hears it. The application behind must not take it for the browser's word.
_NOT_FOR_UPSTREAM: Final = frozenset({b"cache-control", BANNER.lower()})
# Neither 2xx, which would pass for the application's word, nor 304, which shows what a browser has kept.
_STATUSES: Final = frozenset(http_status_pb2.StatusCode.values()) - {*range(300), 304}
_OVERWRITE: Final = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
_APPEND: Final = base_pb2.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD


def build_answer(wire: WireResponse | Response, head: RequestHead | None) -> external_auth_pb2.CheckResponse:
    """Return the CheckResponse: OK for a 200 without content, a denial for all else."""
    if wire.status == _OK and not wire.body and head is not None:
        return _allow(wire.headers, head)
    return deny(wire.status, wire.headers, wire.body)


def deny(
    status: int, headers: Sequence[HeaderPair] = (), body: bytes = b""
) -> external_auth_pb2.CheckResponse:
    """Return a denial; a status that Envoy has none for, or that is no refusal, becomes 403."""
    answer = external_auth_pb2.CheckResponse()
    answer.status.code = _PERMISSION_DENIED
    denied = answer.denied_response
    denied.status.code = status if status in _STATUSES else _FORBIDDEN
    seen: set[bytes] = set()
    for name, value in headers:
        lower = name.lower()
        _put(denied.headers, name, value, _APPEND if lower in seen or lower == _SET_COOKIE else _OVERWRITE)
        seen.add(lower)
    denied.body = body.decode("utf-8", "replace")
    return answer


def _allow(headers: Sequence[HeaderPair], head: RequestHead) -> external_auth_pb2.CheckResponse:
    answer = external_auth_pb2.CheckResponse()
    answer.status.code = _PERMISSION_DENIED
    # Setting it makes it the answer, even when it holds nothing.
    answer.ok_response.SetInParent()
    ours: set[bytes] = set()
    for name, value in headers:
        lower = name.lower()
        if lower == _SET_COOKIE:
            _put(answer.ok_response.response_headers_to_add, name, value, _APPEND)
        elif lower not in _NOT_FOR_UPSTREAM:
            _put(answer.ok_response.headers, name, value, _OVERWRITE)
            ours.add(lower)
    answer.ok_response.headers_to_remove.extend(_aliases(ours, (name for name, _ in head.headers)))
    answer.status.code = 0
    return answer


def _aliases(ours: set[bytes], names: Iterable[bytes]) -> list[str]:
    """Return the client's names that some server would take for one of ours (S41)."""
    folded = {fold(name) for name in ours}
    return sorted(
        {name.decode("ascii") for name in names if fold(name) in folded and name.lower() not in ours}
    )


def _put(options: RepeatedCompositeFieldContainer, name: bytes, value: bytes, action: int) -> None:
    option = options.add()
    option.header.key = name.decode("ascii")
    option.header.value = value.decode("ascii")
    option.append_action = action
    option.keep_empty_value = True
