"""What an asked target means: in which dialect, and narrowed to whom.

    <prefix>/auth                 the dialect is told by the fields that are there, and must be plain
    <prefix>/auth/<dialect>       one of the table's; another is refused, whatever the host
    <prefix>/auth/envoy<target>   what Envoy makes of its `path_prefix` and the original target

The target is compared byte for byte: an ingress writes it as configured, and for Envoy the rest is somebody
else's path, in which a reading must not lead out of ours. `allowed_groups`, `allowed_emails` and
`allowed_email_domains`, comma lists, ask for more than the rules do, never for less; whoever writes one that
is empty or misspelled would narrow to nobody knows what, so it is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from sidecar.core.errors import BadRequest, ConfigurationError
from sidecar.core.forwardauth.dialects import BY_NAME, COMPAT, DETECTED, ENVOY
from sidecar.core.membership import EmailDomains, Emails, Groups
from sidecar.core.policy import All, Condition
from sidecar.core.recurring import Recurring
from sidecar.core.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.forwardauth.dialects import Dialect

__all__ = ["Ask", "Asks", "detect"]

_ENTRIES: Final = 256
_MAX_TARGET_BYTES: Final = 1024
_MAX_RULES: Final = 4096
_NARROWING: Final[dict[str, Callable[[tuple[str, ...]], Condition]]] = {
    "allowed_groups": Groups,
    "allowed_emails": Emails,
    "allowed_email_domains": EmailDomains,
}


class Ask:
    """One way to ask; the same object for the same target. `dialect` None: to be told by the fields."""

    __slots__ = ("_narrowed", "dialect", "narrowing")

    def __init__(self, dialect: Dialect | None, narrowing: Condition | None = None) -> None:
        """Keep the parts."""
        self.dialect = dialect
        self.narrowing = narrowing
        self._narrowed: dict[int, tuple[Rule, Rule]] = {}

    def narrowed(self, rules: tuple[Rule | None, ...]) -> tuple[Rule | None, ...]:
        """Return rules that ask for what these do, and for what this way to ask adds."""
        if self.narrowing is None:
            return rules
        return tuple(rule and self._narrow(rule, self.narrowing) for rule in rules)

    def _narrow(self, rule: Rule, narrowing: Condition) -> Rule:
        known = self._narrowed.get(id(rule))
        if known is None or known[0] is not rule:
            if len(self._narrowed) >= _MAX_RULES:
                self._narrowed.clear()
            made = Rule(name=rule.name, allow=All((rule.allow, narrowing)), path=rule.path)
            known = self._narrowed[id(rule)] = rule, made
        return known[1]


class Asks:
    """The ways to ask of one runtime, by target. `starts` is what every asked target begins with."""

    __slots__ = ("_below", "_detecting", "_envoy", "_envoys", "_known", "starts")

    def __init__(self, prefixes: Iterable[str], *, is_compat: bool) -> None:
        """Prepare for sites with these prefixes; `is_compat`: a plain `auth` is oauth2-proxy's."""
        self.starts = tuple(sorted({prefix.encode("ascii") + b"/auth" for prefix in prefixes}))
        self._below = tuple(start + b"/" for start in self.starts)
        self._envoys = tuple(start + b"/envoy/" for start in self.starts)
        self._detecting = COMPAT if is_compat else None
        self._envoy = Ask(ENVOY)
        self._known = Recurring(self._read, entries=_ENTRIES, max_bytes=_MAX_TARGET_BYTES)

    def find(self, target: bytes) -> tuple[Ask, bytes] | None:
        """Return how is asked, and Envoy's original target; None when the target is none of these.

        Raises BadRequest("invalid_request") for a dialect that there is none of, which another site's
        application must not answer, or for a narrowing that nobody understands.
        """
        if target.startswith(self._envoys):
            start = next(start for start in self._envoys if target.startswith(start))
            return self._envoy, target[len(start) - 1 :]
        ask = self._known[target]
        return None if ask is None else (ask, b"")

    def _read(self, target: bytes) -> Ask | None:
        path, _, query = target.partition(b"?")
        if path in self.starts:
            return Ask(self._detecting, _narrowing(query, is_strict=self._detecting is None))
        start, _, name = path.rpartition(b"/")
        dialect = BY_NAME.get(name.decode("latin-1")) if start in self.starts else None
        if dialect is not None:
            return Ask(dialect, _narrowing(query, is_strict=True))
        if target.startswith(self._below):
            raise BadRequest("invalid_request", f"asked at none of auth/{', auth/'.join(BY_NAME)}")
        return None


def detect(names: Collection[bytes]) -> Dialect:
    """Return the dialect of a request that has fields of these names (in lower case).

    Raises BadRequest("invalid_request") when it is none, or may be several: a client could have sent the
    fields of the other one.
    """
    told = {row.target for row in DETECTED} & set(names)
    fitting = [row for row in DETECTED if row.target in told and row.method in names]
    if len(told) != 1 or len(fitting) != 1:
        sent = ", ".join(sorted(name.decode("ascii") for name in told)) or "no field with the original URI"
        raise BadRequest("invalid_request", f"can't tell the ingress by {sent}; ask at auth/<dialect>")
    return fitting[0]


def _narrowing(query: bytes, *, is_strict: bool) -> Condition | None:
    """Return what a query adds to the rules, None for nothing. Raises BadRequest.

    Not `is_strict`: names that only resemble ours are none of them. oauth2-proxy's recipe for Caddy makes the
    query of the original request the question's own.
    """
    conditions: list[Condition] = []
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if not name.startswith("allowed"):
            continue
        make = _NARROWING.get(name)
        if make is None:
            if not is_strict:
                continue
            raise BadRequest("invalid_request", f"{name[:64]!r} is none of {', '.join(_NARROWING)}")
        try:
            conditions.append(make(tuple(part for part in value.split(",") if part)))
        except ConfigurationError as error:
            raise BadRequest("invalid_request", f"{name}: {error}") from error
    return All(tuple(conditions)) if conditions else None
