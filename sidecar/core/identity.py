"""Who somebody is, once verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Identity", "VerifiedClaims"]

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None
type VerifiedClaims = Mapping[str, Json]
"""Claims of a token whose signature and checks have passed. Anything else is called `unverified_*`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person or machine, known by `issuer` and `subject` (OIDC Core §5.7); the e-mail is optional.

    `user` is what the `users` of a rule and X-Forwarded-User mean: the claim that the provider's
    configuration names (default `sub`). `email` is only set when it may be used for policy: verified, or the
    operator opted out of that check (S24); in canonical form. `groups`/`roles` in the provider's order.
    `claims` are the further verified claims that rules or headers of the site need, and no others.
    """

    issuer: str
    subject: str
    user: str
    email: str | None = None
    preferred_username: str | None = None
    name: str | None = None
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    claims: VerifiedClaims
