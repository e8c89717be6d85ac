"""JSON answers of the provider, and its errors (RFC 6749 §5)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from sidecar.core.flows.parameters import Parameters, parse_parameters
from sidecar.core.http import NO_STORE, HeaderPair, Response, header_values
from sidecar.devidp.values import OAuthError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.devidp.values import ProviderRequest

__all__ = ["error_answer", "json_answer", "parse_form", "single_field"]

_JSON: Final[HeaderPair] = (b"Content-Type", b"application/json")
_FORM: Final = b"application/x-www-form-urlencoded"


def json_answer(
    document: Mapping[str, object], status: int = 200, headers: tuple[HeaderPair, ...] = (NO_STORE,)
) -> Response:
    """Return `document` as JSON; not to be kept unless `headers` say otherwise (RFC 6749 §5.1)."""
    return Response(status=status, headers=(_JSON, *headers), body=json.dumps(document).encode())


def error_answer(error: OAuthError, status: int = 400, headers: tuple[HeaderPair, ...] = ()) -> Response:
    """Return an error as RFC 6749 §5.2 has it."""
    document = {"error": error.code, "error_description": error.detail}
    return json_answer(document, status, (NO_STORE, *headers))


def parse_form(request: ProviderRequest) -> Parameters:
    """Read a form's fields. Raises OAuthError when it is none, or BadRequest when it can't be read."""
    media_type = (single_field(request, b"content-type") or b"").split(b";", 1)[0].strip().lower()
    if media_type != _FORM:
        raise OAuthError("invalid_request", "the body must be application/x-www-form-urlencoded")
    return parse_parameters(request.body)


def single_field(request: ProviderRequest, name: bytes) -> bytes | None:
    """Return the value of a header field. Raises OAuthError when it is there twice."""
    values = header_values(request.headers, name)
    if len(values) > 1:
        raise OAuthError("invalid_request", f"the header field {name.decode()} is there twice")
    return values[0] if values else None
