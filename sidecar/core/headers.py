"""Identity headers: which fields tell an upstream who somebody is, and how a value becomes one.

How a value is written (S47). A field holds visible ASCII, and spaces inside; everything else in a claim is
percent-encoded UTF-8 (RFC 3986 §2.1), "%" itself included: decoding percent-escapes always gives back what
the provider said, and two different claims never become the same field. `Zoë` is `Zo%C3%AB`, `50%` is
`50%25`. A list is joined by a comma, and a comma *inside* a member is written `%2C`: split first, decode
then, and a group named `a,admin` stays one group. Empty members are left out.

Tokens are the exception: they go out as they are, or not at all when they hold anything but visible ASCII.

Absent claims make no field. That the client can't supply one in its place is `core.hygiene`'s work (S44).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core.decision import Edits
from sidecar.core.policy import lookup_claim
from sidecar.core.runtime import HeaderRule

if TYPE_CHECKING:
    from sidecar.core.http import HeaderPair
    from sidecar.core.identity import Identity, Json
    from sidecar.core.runtime import HeaderPolicy
    from sidecar.core.secret import Secret
    from sidecar.core.session import Session

__all__ = [
    "PRESETS",
    "HeaderPreset",
    "absent_fields",
    "auth_response_headers",
    "encode_list",
    "encode_value",
    "identity_edits",
    "identity_pairs",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderPreset:
    """A family of identity headers under one name, and the tokens that a session must keep for it."""

    summary: str
    upstream: tuple[HeaderRule, ...]
    auth_response: tuple[HeaderRule, ...]
    keeps_access_token: bool = False
    keeps_id_token: bool = False


def _rules(*pairs: tuple[str, str]) -> tuple[HeaderRule, ...]:
    return tuple(HeaderRule(name=name, source=source) for name, source in pairs)


def _both(summary: str, *pairs: tuple[str, str]) -> HeaderPreset:
    """Make a preset whose auth endpoint answers with the same names."""
    return HeaderPreset(summary=summary, upstream=_rules(*pairs), auth_response=_rules(*pairs))


_AUTHORIZATION: Final = (
    HeaderRule(name="Authorization", source="id_token", prefix="Bearer "),
    HeaderRule(name="Username", source="user"),
    HeaderRule(name="Email", source="email"),
)

PRESETS: Final[Mapping[str, HeaderPreset]] = {
    "oauth2-proxy": HeaderPreset(
        summary="the default: X-Forwarded-* upstream, X-Auth-Request-* from the auth endpoint",
        upstream=_rules(
            ("X-Forwarded-User", "user"),
            ("X-Forwarded-Email", "email"),
            ("X-Forwarded-Groups", "groups"),
            ("X-Forwarded-Preferred-Username", "preferred_username"),
        ),
        auth_response=_rules(
            ("X-Auth-Request-User", "user"),
            ("X-Auth-Request-Email", "email"),
            ("X-Auth-Request-Groups", "groups"),
            ("X-Auth-Request-Preferred-Username", "preferred_username"),
        ),
    ),
    "remote-user": _both(
        "Remote-*, as Authelia sends them and Grafana, Gitea and many others are set to read",
        ("Remote-User", "user"),
        ("Remote-Email", "email"),
        ("Remote-Groups", "groups"),
        ("Remote-Name", "name"),
    ),
    "dex-authproxy": _both(
        # Dex splits X-Remote-Group at commas (authproxy's `groupHeaderSeparator`), so one field does.
        "X-Remote-*, as Dex's authproxy connector reads them",
        ("X-Remote-User", "user"),
        ("X-Remote-User-Id", "subject"),
        ("X-Remote-User-Name", "name"),
        ("X-Remote-User-Email", "email"),
        ("X-Remote-Group", "groups"),
    ),
    "openmetadata": _both(
        "X-Auth-Params-Email, the header that OpenMetadata's header mode trusts",
        ("X-Auth-Params-Email", "email"),
    ),
    "authorization-username-email": HeaderPreset(
        summary="Authorization (the ID token as bearer), Username, Email: what Astronomer's ingress copies",
        upstream=_AUTHORIZATION,
        auth_response=_AUTHORIZATION,
        keeps_id_token=True,
    ),
    "none": HeaderPreset(summary="no identity headers", upstream=(), auth_response=()),
}

_UNSAFE: Final = re.compile(r"[^ -$&-~]")
_UNSAFE_IN_LIST: Final = re.compile(r"[^ -$&-+\--~]")
# RFC 6750 §2.1 names fewer signs, but a token may use all of visible ASCII (RFC 6749 §A.12: VSCHAR).
_TOKEN: Final = re.compile(rb"[!-~]+")
# RFC 9110 §5.5: white space around a value is not part of it, so it would be lost in between.
_OUTER_SPACE: Final = re.compile(r"^ +| +$")


def _escape(match: re.Match[str]) -> str:
    # A lone surrogate has no UTF-8; "surrogatepass" keeps the writing injective instead of failing a request.
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def encode_value(text: str) -> bytes:
    """Return `text` as a field value: visible ASCII and inner spaces stay, all else and "%" is escaped."""
    return _OUTER_SPACE.sub(_escape, _UNSAFE.sub(_escape, text)).encode("ascii")


def encode_list(members: Iterable[str]) -> bytes:
    """Return the members joined by ","; a comma inside a member is escaped, empty members are left out."""
    return b",".join(
        _OUTER_SPACE.sub(_escape, _UNSAFE_IN_LIST.sub(_escape, member)).encode("ascii")
        for member in members
        if member
    )


def _scalar(value: Json) -> str:
    """Write one JSON value as text: strings as they are, anything else as compact JSON (`true`, `42`)."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _claim_value(identity: Identity, path: str) -> bytes:
    value = lookup_claim(identity.claims, path)
    if value is None:
        return b""
    if isinstance(value, list):
        return encode_list(_scalar(member) for member in value if member is not None)
    return encode_value(_scalar(value))


def _token_value(token: Secret | None) -> bytes:
    if token is None:
        return b""
    value = token.reveal()
    return value if _TOKEN.fullmatch(value) else b""


def _source_value(source: str, session: Session) -> bytes:
    """Return the encoded value of a rule's source, empty when the session has none."""
    identity = session.identity
    match source:
        case "groups":
            return encode_list(identity.groups)
        case "roles":
            return encode_list(identity.roles)
        case "access_token":
            return _token_value(session.access_token)
        case "id_token":
            return _token_value(session.id_token)
        case "user" | "email" | "preferred_username" | "name" | "subject" | "issuer":
            return encode_value(getattr(identity, source) or "")
        case _ if source.startswith("claim:"):
            return _claim_value(identity, source.removeprefix("claim:"))
    # Configuration allows no other; were one to arrive, no field is the safe one.
    return b""


def identity_pairs(rules: tuple[HeaderRule, ...], session: Session) -> tuple[HeaderPair, ...]:
    """Return the fields of `rules` for this session, in their order; a rule without a value gives none."""
    return tuple(
        (rule.name.encode("ascii"), rule.prefix.encode("ascii") + value)
        for rule in rules
        if (value := _source_value(rule.source, session))
    )


def identity_edits(policy: HeaderPolicy, session: Session) -> Edits:
    """Return the identity headers that go upstream, without the assertion (`core.assertion`)."""
    return Edits.of(identity_pairs(policy.upstream, session))


def auth_response_headers(policy: HeaderPolicy, session: Session) -> tuple[HeaderPair, ...]:
    """Return the identity headers on an answer of the auth endpoint, without the assertion."""
    return identity_pairs(policy.auth_response, session)


def absent_fields(policy: HeaderPolicy) -> tuple[HeaderPair, ...]:
    """Return every field that an answer of the auth endpoint may have, empty.

    An ingress copies the fields that are there: one that is not would leave in place what the client sent
    under its name (S44).
    """
    assertion = () if policy.assertion is None else (policy.assertion.header,)
    names = dict.fromkeys((*(rule.name for rule in policy.auth_response), *assertion))
    return tuple((name.encode("ascii"), b"") for name in names)
