"""Which rule a request falls under: the first whose host, path and method match (S59).

`allow` never takes part in the choice. No rule matches: None, and None is denied. Methods are compared in
upper case (Django and Werkzeug serve `post` as POST: S61), and a rule for GET covers HEAD too, which tells no
more than GET does. `X-HTTP-Method-Override` and the query are not looked at.

Letters' case: `/ADMIN` is another path than `/admin` to most servers and the same to Express, IIS and
ASP.NET. So a path that would fall under another rule if case were folded falls under both, and the request
must satisfy the two. `fold_case=False` trusts the back end to tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from sidecar.core.errors import BadRequest, ConfigurationError
from sidecar.core.identity import Identity
from sidecar.core.pathtrie import Entry, PathTrie
from sidecar.core.patterns import Segment, fold_segments, host_keys, parse_host_pattern, parse_path_pattern
from sidecar.core.policy import All, Condition, Verdict, evaluate

__all__ = ["NO_RULE", "Rule", "RuleTable", "judge"]

_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §9.1, §5.6.2

NO_RULE: Final = Verdict(allowed=False, needs_login=False, why="no rule matches")
"""The verdict where no rule matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Who may use which requests. `name` is for logs: the operator's, else a position such as "access[2]".

    `hosts` are patterns ("app.example.com", "*.example.com"), none = every host; `path` a pattern of
    `core.patterns`; `methods` none = every method. `preflight` lets CORS preflights pass.

    Raises `ConfigurationError` for a pattern or method that could never match or means something else than
    it seems to.
    """

    name: str
    allow: Condition
    hosts: tuple[str, ...] = ()
    path: str = "/**"
    methods: frozenset[bytes] = frozenset()
    preflight: bool = False

    def __post_init__(self) -> None:
        """Check what is written."""
        parse_path_pattern(self.path)
        for host in self.hosts:
            parse_host_pattern(host)
        for method in self.methods:
            if not _METHOD.fullmatch(method):
                raise ConfigurationError(
                    f"methods: {method.decode('latin-1')!r} is no method; write GET, POST and so on."
                )


def judge(
    rules: tuple[Rule | None, ...], identity: Identity | None, client_ip: str
) -> tuple[Rule | None, Verdict]:
    """Return the verdict on which `rules` (one for each reading of the path) agree, with the first of them.

    Raises `BadRequest` ("ambiguous_path") when they don't: some admit and others refuse, or some ask for a
    sign-in and others refuse for good (S57).
    """
    first: tuple[Rule | None, Verdict] | None = None
    for rule in rules:
        verdict = NO_RULE if rule is None else evaluate(rule.allow, identity, client_ip)
        if first is None:
            first = rule, verdict
        elif (verdict.allowed, verdict.needs_login) != (first[1].allowed, first[1].needs_login):
            raise BadRequest("ambiguous_path", f"{_name(first[0])} and {_name(rule)} disagree")
    return first if first is not None else (None, NO_RULE)


def _name(rule: Rule | None) -> str:
    return "no rule" if rule is None else f"rule {rule.name}"


class _Index:
    """One compilation of all rules: the patterns of every host, and those of some by host."""

    __slots__ = ("_by_host", "_every_host")

    def __init__(self, rules: Sequence[Rule], patterns: Sequence[tuple[Segment, ...]]) -> None:
        every: list[_Placed] = []
        by_host: dict[str, list[_Placed]] = {}
        for index, (rule, pattern) in enumerate(zip(rules, patterns, strict=True)):
            methods = _covered(rule.methods)
            if not rule.hosts:
                every.append((Entry(index, methods, rule), pattern))
            for host in {parse_host_pattern(text) for text in rule.hosts}:
                by_host.setdefault(host, []).append((Entry(index, methods, rule), pattern))
        self._every_host = PathTrie(every)
        self._by_host = {host: PathTrie(placed) for host, placed in by_host.items()}

    def find(self, host: str, segments: Sequence[str], method: bytes) -> Entry[Rule] | None:
        best = self._every_host.find(segments, method)
        if self._by_host:
            for key in host_keys(host):
                trie = self._by_host.get(key)
                if trie is not None:
                    best = trie.find(segments, method, best)
        return best


type _Placed = tuple[Entry[Rule], tuple[Segment, ...]]


def _covered(methods: frozenset[bytes]) -> frozenset[bytes] | None:
    if not methods:
        return None
    upper = frozenset(method.upper() for method in methods)
    return upper | {b"HEAD"} if b"GET" in upper else upper


def _segments(path: str) -> list[str]:
    segments = path.split("/")
    del segments[0]
    if segments and not segments[-1]:
        segments.pop()  # a slash at the end makes no difference
    return segments


_COMBINED_RULES: Final = 1024
_UNNAMED_METHOD: Final = b"a method of no rule"  # no token, so that no rule can name it


class RuleTable:
    """Rules, compiled for look-up, whose cost does not grow with their number. `rules` are they, in order.

    `has_hosts`: some of them are for some hosts only, so that an answer depends on the host.
    """

    __slots__ = ("_combined", "_exact", "_folded", "_methods", "has_hosts", "rules")

    def __init__(self, rules: Sequence[Rule], fold_case: bool = True) -> None:  # noqa: FBT001, FBT002  as pickle calls it
        """Compile `rules`."""
        self.rules = tuple(rules)
        patterns = [parse_path_pattern(rule.path) for rule in self.rules]
        folded = [fold_segments(pattern) for pattern in patterns]
        self.has_hosts = any(rule.hosts for rule in self.rules)
        self._exact = _Index(self.rules, patterns)
        self._folded: _Index | None = None
        if fold_case:
            self._folded = self._exact if folded == patterns else _Index(self.rules, folded)
        self._combined: dict[tuple[int, int], Rule] = {}
        # Every method that a rule speaks of, and one that none does.
        named = frozenset[bytes]().union(*(_covered(rule.methods) or () for rule in self.rules))
        self._methods = (*sorted(named), _UNNAMED_METHOD)

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Rule, ...], bool]]:
        """Be made anew where it is pickled: what is remembered by identity is of this process."""
        return type(self), (self.rules, self._folded is not None)

    @classmethod
    def build(cls, rules: Sequence[Rule], *, fold_case: bool = True) -> Self:
        """Compile `rules`, of which the first to match decides."""
        return cls(rules, fold_case=fold_case)

    def match(self, host: str, path: str, method: bytes) -> Rule | None:
        """Return the rule that one reading of a path falls under, None when there is none.

        `host` is the request's, with or without port; `path` begins with a slash; `method` as sent. Where
        folding the path's case leads to another rule, the answer is a rule that asks for what both ask.

        Raises `BadRequest` when the path would take too long to look up.
        """
        method = method.upper()
        exact = self._exact.find(host, _segments(path), method)
        if self._folded is not None:
            folded_path = path.casefold()
            if folded_path != path or self._folded is not self._exact:
                folded = self._folded.find(host, _segments(folded_path), method)
                if exact is None or folded is None:
                    return None
                if exact.index != folded.index:
                    return self._both(exact.value, folded.value)
        return None if exact is None else exact.value

    def rules_for(self, host: str, readings: tuple[str, ...], method: bytes) -> tuple[Rule | None, ...]:
        """Return the rules of all `readings` of a path, each once: one in the common case.

        Raises `BadRequest` when a path would take too long to look up.
        """
        if len(readings) == 1:
            return (self.match(host, readings[0], method),)
        return tuple(dict.fromkeys(self.match(host, path, method) for path in readings))

    def rules_for_all_methods(self, host: str, readings: tuple[str, ...]) -> tuple[Rule | None, ...]:
        """Return rules for a request whose method is not known: what every method may do, it may.

        One for each reading, None where some method falls under no rule. Raises as `rules_for` does.
        """
        return tuple(dict.fromkeys(self._for_all_methods(host, path) for path in readings))

    def _for_all_methods(self, host: str, path: str) -> Rule | None:
        combined: Rule | None = None
        for method in self._methods:
            rule = self.match(host, path, method)
            if rule is None:
                return None
            combined = rule if combined is None or combined is rule else self._both(combined, rule)
        return combined

    def _both(self, exact: Rule, folded: Rule) -> Rule:
        """Return a rule that asks for what two ask; the first when they ask for the same."""
        if (exact.allow, exact.preflight) == (folded.allow, folded.preflight):
            return exact
        key = (id(exact), id(folded))  # they live as long as we do
        combined = self._combined.get(key)
        if combined is None:
            combined = Rule(
                name=f"{exact.name} and {folded.name}",
                allow=All((exact.allow, folded.allow)),
                path=exact.path,
                preflight=exact.preflight and folded.preflight,
            )
            if len(self._combined) >= _COMBINED_RULES:
                self._combined.clear()
            self._combined[key] = combined
        return combined
