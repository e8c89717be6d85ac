"""The conditions that ask for one of listed values: users, e-mail addresses, groups, roles, any claim.

Their four answers are made at construction; judging only compares.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import override

from sidecar.core.emails import canonical_domain, canonical_email
from sidecar.core.errors import ConfigurationError
from sidecar.core.identity import Identity, Json
from sidecar.core.verdict import (
    Condition,
    Verdict,
    enumerate_values,
    keep,
    login,
    no,
    require_list,
    unknown,
    yes,
)

__all__ = ["ClaimEquals", "EmailDomains", "Emails", "Groups", "Roles", "Scalar", "Users", "lookup_claim"]

type Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class _Listed(Condition, ABC):
    """What the conditions "one of these values" share: `values` as written, and the four answers to them.

    Raises `ConfigurationError` for an empty list (it would admit nobody, or everybody to whom reads it
    otherwise: S61) and for a value that could never match.
    """

    values: tuple[str, ...]
    _accepted: frozenset[str] = field(init=False, repr=False, compare=False)
    _yes: Verdict = field(init=False, repr=False, compare=False)
    _no: Verdict = field(init=False, repr=False, compare=False)
    _missing: Verdict = field(init=False, repr=False, compare=False)
    _login: Verdict = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the values and prepare the answers."""
        word = self._word()
        require_list(word, self.values)
        listed = enumerate_values(self.values)
        keep(
            self,
            _accepted=frozenset(map(self._normal, self.values)),
            _yes=yes(f"one of the {word} {listed}"),
            _no=no(f"none of the {word} {listed}"),
            _missing=unknown(f"no usable {word} known, so none of the {word} {listed}"),
            _login=login(f"one of the {word} {listed}"),
        )

    @abstractmethod
    def _word(self) -> str:
        """Return what the values are, as the configuration calls them."""

    def _normal(self, value: str) -> str:
        """Return the value in the form to compare; raises `ConfigurationError`."""
        if not value.strip():
            raise ConfigurationError(f"{self._word()} holds an empty value; remove it or name somebody.")
        return value

    @abstractmethod
    def _held(self, identity: Identity) -> Collection[str]:
        """Return what the identity has, in the form to compare; nothing counts as unknown."""

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Look for one in common."""
        if identity is None:
            return self._login
        held = self._held(identity)
        if not held:
            return self._missing
        return self._no if self._accepted.isdisjoint(held) else self._yes


@dataclass(frozen=True, slots=True)
class Users(_Listed):
    """Admits these users: exact values of the claim that is the identity's `user`."""

    @override
    def _word(self) -> str:
        return "users"

    @override
    def _held(self, identity: Identity) -> Collection[str]:
        return (identity.user,) if identity.user else ()


@dataclass(frozen=True, slots=True)
class Emails(_Listed):
    """Admits these verified e-mail addresses, case folded (S24)."""

    @override
    def _word(self) -> str:
        return "emails"

    @override
    def _normal(self, value: str) -> str:
        email = canonical_email(value)
        if email is None:
            raise ConfigurationError(
                f"emails: {value!r} is no address that can be compared; write it as name@example.com."
            )
        return email

    @override
    def _held(self, identity: Identity) -> Collection[str]:
        email = _email(identity)
        return () if email is None else (email,)


@dataclass(frozen=True, slots=True)
class EmailDomains(_Listed):
    """Admits verified e-mail addresses of these domains (S24).

    `example.com` is that domain alone; `*.example.com` or `.example.com` each domain below it, and not
    itself. The dot is a boundary: `evil-example.com` is below neither.
    """

    @override
    def _word(self) -> str:
        return "email_domains"

    @override
    def _normal(self, value: str) -> str:
        rest = value.removeprefix("*")
        domain = canonical_domain(rest.removeprefix("."))
        if domain is None or (value.startswith("*") and not rest.startswith(".")):
            raise ConfigurationError(
                f"email_domains: {value!r} is no domain; write example.com, *.example.com for the domains"
                " below it, or `authenticated` to admit every address."
            )
        return f".{domain}" if rest.startswith(".") else domain

    @override
    def _held(self, identity: Identity) -> Collection[str]:
        """Return the domain, then what it is below of, as `.parent`."""
        email = _email(identity)
        if email is None:
            return ()
        domain = email.rpartition("@")[2]
        held = [domain]
        while "." in domain:
            domain = domain.partition(".")[2]
            held.append(f".{domain}")
        return held


@dataclass(frozen=True, slots=True)
class Groups(_Listed):
    """Admits members of one of these groups, compared exactly.

    No groups at all count as unknown: providers leave the claim out when it grows too long (Entra ID beyond
    200 groups), and a negation must not read that as "in none".
    """

    @override
    def _word(self) -> str:
        return "groups"

    @override
    def _held(self, identity: Identity) -> Collection[str]:
        return identity.groups


@dataclass(frozen=True, slots=True)
class Roles(_Listed):
    """Admits holders of one of these roles, compared exactly; no roles at all count as unknown."""

    @override
    def _word(self) -> str:
        return "roles"

    @override
    def _held(self, identity: Identity) -> Collection[str]:
        return identity.roles


def _email(identity: Identity) -> str | None:
    """Return the verified address in canonical form; one that has no such form counts as missing."""
    return None if identity.email is None else canonical_email(identity.email)


@dataclass(frozen=True, slots=True)
class ClaimEquals(Condition):
    """Admits identities whose claim at `path` is one of `values`, or is a list that holds one.

    Types must agree: "1" is not 1 and 1 is not true. A missing claim, an object, null or a list of others
    than scalars is unknown. `path` is dotted ("resource_access.app.roles"); a claim whose whole name is the
    path goes first, since names are often URLs.
    """

    path: str
    values: tuple[Scalar, ...]
    _accepted: frozenset[tuple[str, Scalar]] = field(init=False, repr=False, compare=False)
    _yes: Verdict = field(init=False, repr=False, compare=False)
    _no: Verdict = field(init=False, repr=False, compare=False)
    _missing: Verdict = field(init=False, repr=False, compare=False)
    _login: Verdict = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check path and values and prepare the answers."""
        if not self.path or "" in self.path.split("."):
            raise ConfigurationError(
                f"claim: {self.path!r} is no path to a claim; write names with dots between them."
            )
        if self.path in {"email", "email_verified"}:
            # S24: the bare claim may be unverified; `emails` looks at the verified address only.
            raise ConfigurationError(
                f"claim: {self.path!r} can't be used here; `emails` and `email_domains` compare the verified"
                " address."
            )
        require_list(f"the values of claim {self.path}", self.values)
        listed = enumerate_values(map(_json_text, self.values))
        keep(
            self,
            _accepted=frozenset(map(_typed, self.values)),
            _yes=yes(f"claim {self.path} is one of {listed}"),
            _no=no(f"claim {self.path} is none of {listed}"),
            _missing=unknown(f"claim {self.path} is missing or no plain value, so none of {listed}"),
            _login=login(f"claim {self.path} to be one of {listed}"),
        )

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Compare value and type."""
        if identity is None:
            return self._login
        value = lookup_claim(identity.claims, self.path)
        held = value if isinstance(value, list) else [value]
        scalars = [item for item in held if isinstance(item, bool | int | float | str)]
        if not scalars:
            return self._missing
        return self._no if self._accepted.isdisjoint(map(_typed, scalars)) else self._yes


def lookup_claim(claims: Mapping[str, Json], path: str) -> Json:
    """Return the claim at the dotted `path`, None when there is none.

    At each level the longest name goes first, so that "https://example.com/roles" is found although it holds
    dots.
    """
    if path in claims:
        return claims[path]
    end = path.rfind(".")
    while end > 0:
        below = claims.get(path[:end])
        if isinstance(below, dict):
            return lookup_claim(below, path[end + 1 :])
        end = path.rfind(".", 0, end)
    return None


def _json_text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(value: Scalar) -> tuple[str, Scalar]:
    """Pair a value with its JSON type, since Python holds True, 1 and 1.0 for equal."""
    if isinstance(value, bool):
        return "boolean", value
    return ("string" if isinstance(value, str) else "number"), value
