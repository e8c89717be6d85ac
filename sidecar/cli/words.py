"""Conditions and rules in words, for `doorward check` and `doorward explain`."""

from __future__ import annotations

from collections.abc import Iterable

from sidecar.core.policy import (
    All,
    AnyOf,
    Anyone,
    Authenticated,
    ClaimEquals,
    Condition,
    EmailDomains,
    Emails,
    Groups,
    Networks,
    Not,
    Roles,
    Users,
)
from sidecar.core.rules import Rule

__all__ = ["condition_words", "rule_words"]

_MAX_LISTED = 5
_LISTED = {
    Users: "users",
    Emails: "e-mails",
    EmailDomains: "e-mail domains",
    Groups: "groups",
    Roles: "roles",
}


def condition_words(condition: Condition) -> str:
    """Say whom a condition admits: `groups admins or ops`."""
    match condition:
        case Anyone():
            return "anyone"
        case Authenticated():
            return "everybody signed in"
        case Not(condition=Anyone()):
            return "nobody"
        case Not():
            return f"not ({condition_words(condition.condition)})"
        case All():
            return " and ".join(map(_inner, condition.conditions))
        case AnyOf():
            return " or ".join(map(_inner, condition.conditions))
        case ClaimEquals():
            return f"claim {condition.path} = {_either(map(_json, condition.values))}"
        case Networks():
            return f"from {_either(map(str, condition.networks))}"
        case Users() | Emails() | EmailDomains() | Groups() | Roles():
            return f"{_LISTED[type(condition)]} {_either(condition.values)}"
        case _:
            return "a condition"


def _inner(condition: Condition) -> str:
    words = condition_words(condition)
    return f"({words})" if isinstance(condition, All | AnyOf) else words


def _json(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _either(values: Iterable[str]) -> str:
    texts = list(values)
    more = len(texts) - _MAX_LISTED
    listed = " or ".join(texts[:_MAX_LISTED])
    return f"{listed} or {more} more" if more > 0 else listed


def rule_words(rule: Rule) -> str:
    """Say which requests a rule is for: `POST, DELETE /api/admin/** at admin.example.com`."""
    methods = ", ".join(sorted(method.decode("ascii") for method in rule.methods))
    hosts = f" at {', '.join(rule.hosts)}" if rule.hosts else ""
    preflight = ", CORS preflights pass" if rule.preflight else ""
    return f"{f'{methods} ' if methods else ''}{rule.path}{hosts}{preflight}"
