"""The token endpoint's answer (RFC 6749 §5.1, §5.2; OpenID Connect Core §3.1.3.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import InvalidToken, ProviderRefused, ProviderUnavailable
from sidecar.core.secret import Secret
from sidecar.core.tokens.strictjson import parse_json_object

if TYPE_CHECKING:
    from sidecar.core.effects import ProviderAnswer
    from sidecar.core.identity import Json

__all__ = ["TokenAnswer", "parse_token_answer", "safe_error_code"]

_OK: Final = 200
_CLIENT_ERRORS: Final = range(400, 500)
_RATE_LIMITED: Final = 429
_TIMEOUT: Final = 408
# RFC 6749 §5.2 allows nearly all of ASCII in an error code; those that exist look like this.
_ERROR_CODE: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
# RFC 6750 §2.1 and RFC 6749 A.12: visible characters. Anything else would split a header.
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")
_MAX_LIFETIME_SECONDS: Final = 10 * 366 * 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswer:
    """What a code or refresh token was redeemed for. `expires_in` (seconds) is None when not told.

    `unverified_id_token` has not been looked at.
    """

    access_token: Secret
    expires_in: float | None = None
    refresh_token: Secret | None = None
    unverified_id_token: str | None = None


def parse_token_answer(answer: ProviderAnswer) -> TokenAnswer:
    """Read the token endpoint's answer.

    Raises ProviderRefused when the provider says no (also with status 200, as some do), ProviderUnavailable
    when it asks for patience or answers with something that is no token answer, InvalidToken when the answer
    is one that we can't use. Of the provider's own words only the error code is kept (S27).
    """
    if answer.status in {_RATE_LIMITED, _TIMEOUT}:
        raise ProviderUnavailable("rate_limited", f"the token endpoint answered {answer.status}")
    try:
        members = parse_json_object(answer.body)
    except ValueError as error:
        detail = f"the token endpoint answered {answer.status}, {error}"
        raise ProviderUnavailable("token_answer_unreadable", detail) from error
    if "error" in members or answer.status in _CLIENT_ERRORS:
        raise ProviderRefused(safe_error_code(members.get("error")), f"status {answer.status}")
    if answer.status != _OK:
        raise ProviderUnavailable("token_answer_unreadable", f"the token endpoint answered {answer.status}")
    return _read(members)


def safe_error_code(value: object) -> str:
    """Return an OAuth error code fit for logs and metrics; "unknown_error" for what is none."""
    return value if isinstance(value, str) and _ERROR_CODE.fullmatch(value) else "unknown_error"


def _read(members: dict[str, Json]) -> TokenAnswer:
    kind = members.get("token_type")
    # RFC 6749 §5.1: required, and its case does not matter. We can use no other kind.
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise InvalidToken("token_type_refused")
    access_token = _token(members, "access_token")
    if access_token is None:
        raise InvalidToken("access_token_missing")
    id_token = members.get("id_token")
    if id_token is not None and not isinstance(id_token, str):
        raise InvalidToken("token_malformed", "id_token is no text")
    return TokenAnswer(
        access_token=access_token,
        expires_in=_lifetime(members.get("expires_in")),
        refresh_token=_token(members, "refresh_token"),
        unverified_id_token=id_token,
    )


def _token(members: dict[str, Json], name: str) -> Secret | None:
    value = members.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise InvalidToken("token_malformed", f"{name} holds what no token may hold")
    return Secret(value.encode("ascii"))


def _lifetime(value: Json) -> float | None:
    """Return the seconds of `expires_in`, which some providers send as text. Nonsense is "not told"."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len("1000000000000"):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= _MAX_LIFETIME_SECONDS else None
