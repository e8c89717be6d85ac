"""Whether an identity satisfies a condition, and why.

Theory of operation. A condition is true, false or *unknown*: unknown while nobody is signed in, and for good
when the claim it asks for is missing or of the wrong type. Unknown never admits, and its negation is unknown
too (Kleene's logic), so that `not: {groups: [contractors]}` lets in neither strangers nor people of whom the
provider told no groups. `needs_login` is set when a sign-in could make the answer true.

The conditions are a closed set: those here, of `core.membership` and of `core.networks`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, override

from sidecar.core.errors import ConfigurationError
from sidecar.core.identity import Identity
from sidecar.core.membership import (
    ClaimEquals,
    EmailDomains,
    Emails,
    Groups,
    Roles,
    Scalar,
    Users,
    lookup_claim,
)
from sidecar.core.networks import Networks
from sidecar.core.verdict import Condition, Verdict, keep, no, require_list, yes

__all__ = [
    "All",
    "AnyOf",
    "Anyone",
    "Authenticated",
    "ClaimEquals",
    "Condition",
    "EmailDomains",
    "Emails",
    "Groups",
    "Networks",
    "Not",
    "Roles",
    "Scalar",
    "Users",
    "Verdict",
    "claims_used",
    "evaluate",
    "is_public",
    "lookup_claim",
]

_MAX_WHY: Final = 400


def evaluate(condition: Condition, identity: Identity | None, client_ip: str) -> Verdict:
    """Answer whether `condition` admits `identity` (None: nobody is signed in) at `client_ip`.

    `client_ip` is the address in text, already found behind trusted proxies (S48); "unix" and anything else
    that is no address is in no network.
    """
    return condition.judge(identity, client_ip)


@dataclass(frozen=True, slots=True)
class Anyone(Condition):
    """Admits everybody, signed in or not."""

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Say yes."""
        return _ANYONE


@dataclass(frozen=True, slots=True)
class Authenticated(Condition):
    """Admits everybody who is signed in."""

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Say yes to an identity."""
        return _NOBODY if identity is None else _SIGNED_IN


_ANYONE: Final = yes("anyone may")
_CLOSED: Final = no("nobody may")
_SIGNED_IN: Final = yes("signed in")
_NOBODY: Final = Verdict(allowed=False, needs_login=True, why="nobody is signed in", is_known=False)


@dataclass(frozen=True, slots=True)
class All(Condition):
    """Admits whom each of `conditions` admits."""

    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list, which logic would call true."""
        require_list("all", self.conditions)

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Give the first no, else the first unknown that a sign-in may turn either way, else the first."""
        verdicts = [condition.judge(identity, client_ip) for condition in self.conditions]
        refusals = [verdict for verdict in verdicts if not verdict.allowed]
        if not refusals:
            return verdicts[0] if len(verdicts) == 1 else _composed(verdicts, " and ", allowed=True)
        return min(refusals, key=lambda verdict: (not verdict.is_known, not verdict.needs_login))


@dataclass(frozen=True, slots=True)
class AnyOf(Condition):
    """Admits whom at least one of `conditions` admits."""

    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list."""
        require_list("any", self.conditions)

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Give the first yes; else unknown when one is, and a sign-in may help when it may help one."""
        refusals: list[Verdict] = []
        for condition in self.conditions:
            verdict = condition.judge(identity, client_ip)
            if verdict.allowed:
                return verdict
            refusals.append(verdict)
        return refusals[0] if len(refusals) == 1 else _composed(refusals, "; ", allowed=False)


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """Admits whom `condition` surely does not admit: the negation of unknown is unknown.

    A condition that asks for an identity anywhere is unknown of somebody who is not signed in even when
    something else in it is surely false: `not: {all: [{groups: [contractors]}, {networks: [10.0.0.0/8]}]}`
    speaks of people, and admits no stranger.
    """

    condition: Condition
    _asks_identity: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what could never admit anybody although it looks as if."""
        if isinstance(self.condition, Authenticated):
            raise ConfigurationError(
                "not: authenticated would send everybody to sign in and then refuse them; to close a path"
                " write `nobody`."
            )
        keep(self, _asks_identity=_asks_identity(self.condition))

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Turn yes and no round, and leave unknown."""
        verdict = self.condition.judge(identity, client_ip)
        if not verdict.is_known:
            return verdict
        if isinstance(self.condition, Anyone):
            return _CLOSED
        if verdict.allowed:
            return no(_negated(verdict))
        if identity is None and self._asks_identity:
            return _NOBODY
        return yes(_negated(verdict))


def _negated(verdict: Verdict) -> str:
    return f"not ({verdict.why})"[:_MAX_WHY]


def _asks_identity(condition: Condition) -> bool:
    match condition:
        case Anyone() | Networks():
            return False
        case All() | AnyOf():
            return any(map(_asks_identity, condition.conditions))
        case Not():
            return _asks_identity(condition.condition)
        case _:
            return True


def claims_used(condition: Condition) -> set[str]:
    """Return the paths of the claims that `condition` looks at beyond the fields of `Identity`."""
    match condition:
        case ClaimEquals():
            return {condition.path}
        case All() | AnyOf():
            return set[str]().union(*map(claims_used, condition.conditions))
        case Not():
            return claims_used(condition.condition)
        case _:
            return set()


def is_public(condition: Condition) -> bool:
    """Return whether `condition` admits everybody, whoever and wherever they are."""
    match condition:
        case Anyone():
            return True
        case All():
            return all(map(is_public, condition.conditions))
        case AnyOf():
            return any(map(is_public, condition.conditions))
        case _:
            return False


def _composed(verdicts: list[Verdict], joint: str, *, allowed: bool) -> Verdict:
    return Verdict(
        allowed=allowed,
        needs_login=any(verdict.needs_login for verdict in verdicts),
        why=joint.join(verdict.why for verdict in verdicts)[:_MAX_WHY],
        is_known=all(verdict.is_known for verdict in verdicts),
    )
