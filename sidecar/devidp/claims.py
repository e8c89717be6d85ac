"""What a person's tokens say, by scope (OIDC Core §5.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.identity import Json
    from sidecar.devidp.values import Person

__all__ = ["person_claims"]


def person_claims(person: Person, scopes: frozenset[str]) -> dict[str, Json]:
    """Return the claims about `person` that `scopes` ask for.

    Groups come with `groups` and, since many a provider does so too, with `profile`; what was typed as
    further claims comes always.
    """
    claims: dict[str, Json] = {**person.claims, "sub": person.sub}
    if "profile" in scopes:
        claims |= {"name": person.name or person.sub, "preferred_username": person.sub}
    if "email" in scopes and person.email is not None:
        claims |= {"email": person.email, "email_verified": person.email_verified}
    if scopes & {"profile", "groups"}:
        claims["groups"] = list(person.groups)
    return claims
