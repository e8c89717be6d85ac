"""From verified claims to an `Identity`: which claim means what for this provider.

A claim may be named by a dotted path (`realm_access.roles`). Nothing is guessed: a claim that is missing or
of the wrong type is as if it was not there, and rules that need it then deny.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.core.emails import canonical_email
from sidecar.core.errors import InvalidToken
from sidecar.core.identity import Identity
from sidecar.core.policy import lookup_claim
from sidecar.core.tokens.idtoken import require_subject

if TYPE_CHECKING:
    from sidecar.core.identity import Json, VerifiedClaims
    from sidecar.core.runtime import ClaimNames, Provider

__all__ = ["build_identity", "merge_userinfo", "needs_userinfo"]

_MAX_TEXT_CHARACTERS: Final = 1024
_MAX_MEMBERSHIPS: Final = 5000
"""Groups, and likewise roles, of one person (S25). Neither cookie nor header could carry more."""


def build_identity(claims: VerifiedClaims, provider: Provider, kept_claims: tuple[str, ...]) -> Identity:
    """Return who the claims speak of.

    Raises InvalidToken with one of these codes: email_not_verified (the provider says the address is not the
    user's, and it is required to be; A9), user_missing (none of the claims that name the user is there),
    too_many_groups, sub_invalid.
    """
    names = provider.claims
    email = _email(claims, provider)
    return Identity(
        issuer=provider.issuer,
        subject=require_subject(claims),
        user=_user(claims, names, email),
        email=email,
        preferred_username=_text(lookup_claim(claims, names.preferred_username)),
        name=_text(lookup_claim(claims, names.name)),
        groups=_memberships(lookup_claim(claims, names.groups)),
        roles=_memberships(lookup_claim(claims, names.roles)),
        claims=_kept(claims, kept_claims),
    )


def needs_userinfo(claims: VerifiedClaims, provider: Provider, kept_claims: tuple[str, ...]) -> bool:
    """Tell whether UserInfo is to be asked for what the ID token does not say."""
    if provider.userinfo != "auto":
        return provider.userinfo == "always"
    names = provider.claims
    wanted = (names.email, names.preferred_username, names.groups, *kept_claims)
    has_user = any(lookup_claim(claims, path) is not None for path in names.user)
    return not has_user or any(lookup_claim(claims, path) is None for path in wanted)


def merge_userinfo(claims: VerifiedClaims, userinfo: VerifiedClaims, names: ClaimNames) -> VerifiedClaims:
    """Return the ID token's claims with what only UserInfo tells; where both speak, the ID token counts.

    `email_verified` of one source is never put beside another address of the other source.
    """
    added = dict(userinfo)
    own_email = lookup_claim(claims, names.email)
    if own_email is not None and own_email != lookup_claim(userinfo, names.email):
        added.pop(names.email_verified, None)
        added.pop(names.email_verified.partition(".")[0], None)
    return MappingProxyType({**added, **claims})


def _email(claims: VerifiedClaims, provider: Provider) -> str | None:
    """Return the address in canonical form if policy may use it (S24)."""
    claimed = lookup_claim(claims, provider.claims.email)
    if not isinstance(claimed, str) or not claimed:
        return None
    if provider.require_verified_email:
        verified = lookup_claim(claims, provider.claims.email_verified)
        # Amazon Cognito and some others send the text "true".
        if verified is False or verified == "false":
            raise InvalidToken("email_not_verified")
        if verified is not True and verified != "true":
            return None
    return canonical_email(claimed)


def _user(claims: VerifiedClaims, names: ClaimNames, email: str | None) -> str:
    for path in names.user:
        # Where the address is the user's name, it is so in its checked form only.
        value = email if path == names.email else _name_of_user(lookup_claim(claims, path))
        if value is not None:
            return value
    raise InvalidToken("user_missing", f"none of {', '.join(names.user)}")


def _name_of_user(value: Json) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(value)


def _text(value: Json) -> str | None:
    is_usable = isinstance(value, str) and 0 < len(value) <= _MAX_TEXT_CHARACTERS
    return value if isinstance(value, str) and is_usable else None


def _memberships(value: Json) -> tuple[str, ...]:
    """Return groups or roles: a list of text, or one text. The order is the provider's."""
    members = value if isinstance(value, list) else [value]
    if len(members) > _MAX_MEMBERSHIPS:
        raise InvalidToken("too_many_groups", f"{len(members)}, at most {_MAX_MEMBERSHIPS}")
    return tuple(dict.fromkeys(text for member in members if (text := _text(member)) is not None))


def _kept(claims: VerifiedClaims, paths: tuple[str, ...]) -> VerifiedClaims:
    """Return the claims at `paths`, each under its whole path, where `lookup_claim` finds it again."""
    found = ((path, lookup_claim(claims, path)) for path in paths)
    return MappingProxyType({path: value for path, value in found if value is not None})
