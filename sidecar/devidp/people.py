"""Whom one can be: three people with different rights, or anybody one types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from sidecar.devidp.values import OAuthError, Person

if TYPE_CHECKING:
    from sidecar.core.flows.parameters import Parameters
    from sidecar.core.identity import Json

__all__ = ["PEOPLE", "PROTOCOL_CLAIMS", "typed_person"]

PEOPLE: Final = (
    Person(
        sub="ada",
        name="Ada Lovelace",
        email="ada@example.com",
        groups=("admins", "staff"),
        about="runs the place",
        claims={"department": "Analysis"},
    ),
    Person(
        sub="ben",
        name="Ben Okafor",
        email="ben@example.com",
        groups=("staff",),
        about="works here",
        claims={"department": "Sales"},
    ),
    Person(
        sub="cleo", name="Cléo Marchand", email="cleo@example.org", groups=("guests",), about="is visiting"
    ),
)

PROTOCOL_CLAIMS: Final = frozenset(
    {
        *("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "nonce", "azp", "auth_time", "acr", "amr"),
        *("at_hash", "c_hash", "s_hash", "sid", "events", "cnf", "doorward_development"),
    }
)
"""What a token says about itself: never taken from what somebody typed."""

_MAX_GROUPS: Final = 200
_MAX_TEXT: Final = 255


def typed_person(form: Parameters) -> Person:
    """Read the person that somebody typed. Raises OAuthError with a sentence about what to mend."""
    sub = _text(form, "user")
    if not sub:
        raise OAuthError("invalid_request", "Who do you want to be? The user is empty.")
    email = _text(form, "email")
    if email and email.count("@") != 1:
        raise OAuthError("invalid_request", "An e-mail address has exactly one @.")
    groups = [name.strip() for name in _text(form, "groups", 8192).split(",")]
    if len(groups) > _MAX_GROUPS:
        raise OAuthError("invalid_request", f"More than {_MAX_GROUPS} groups.")
    return Person(
        sub=sub,
        name=_text(form, "name"),
        email=email or None,
        email_verified=form.single("unverified") is None,
        groups=tuple(name for name in groups if name),
        claims=_claims(_text(form, "claims", 8192, is_one_line=False)),
    )


def _text(form: Parameters, name: str, max_length: int = _MAX_TEXT, *, is_one_line: bool = True) -> str:
    value = (form.single(name) or "").strip()
    if len(value) > max_length or (is_one_line and not value.isprintable()):
        raise OAuthError("invalid_request", f"The field {name} is too long or holds a control character.")
    return value


def _claims(text: str) -> dict[str, Json]:
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OAuthError("invalid_request", "The claims are not JSON.") from error
    if not isinstance(value, dict):
        raise OAuthError(
            "invalid_request", 'The claims are not a JSON object, such as {"department": "Sales"}.'
        )
    if taken := PROTOCOL_CLAIMS & value.keys():
        raise OAuthError("invalid_request", f"The provider itself says {', '.join(sorted(taken))}.")
    return value
