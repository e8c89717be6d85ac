"""Access rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from sidecar.config.compiler.context import Context
from sidecar.config.models.access import AllowWord, RuleSettings
from sidecar.config.models.access import Condition as ConditionSettings
from sidecar.config.models.site import SiteSettings
from sidecar.config.problems import Path
from sidecar.core import policy
from sidecar.core.errors import ConfigurationError
from sidecar.core.patterns import Segment, host_keys, parse_host_pattern, parse_path_pattern
from sidecar.core.rules import Rule

if TYPE_CHECKING:
    from sidecar.core.policy import Condition

__all__ = ["rules_of"]

_MAX_COMPARED: Final = 400
"""Up to here each rule is compared with all before it; beyond, with those that match everything."""


def rules_of(context: Context, site: Path, settings: SiteSettings, hosts: Iterable[str]) -> list[Rule]:
    """Return the rules of a site, in order; a rule with several paths is as many rules of one name."""
    rules: list[Rule] = []
    seen = _Seen()
    for index, rule in enumerate(settings.access):
        path = (*site, "access", index)
        allow = _condition(context, (*path, "allow"), rule.allow)
        made = [] if allow is None else _expand(context, path, rule, allow)
        _judge_places(context, path, rule, settings.prefix, hosts)
        earlier = seen.covering(made, is_few=len(settings.access) <= _MAX_COMPARED)
        if earlier is not None:
            context.warn(
                path, f"can never decide: {earlier.name} comes first and matches all that it matches"
            )
        seen.add(made)
        rules.extend(made)
    return rules


def _expand(context: Context, path: Path, settings: RuleSettings, allow: Condition) -> list[Rule]:
    is_list = isinstance(settings.path, tuple)
    patterns = settings.path if isinstance(settings.path, tuple) else (settings.path,)
    made: list[Rule] = []
    for index, pattern in enumerate(patterns):
        place = (*path, "path", index) if is_list else (*path, "path")
        if _attempt(context, place, partial(parse_path_pattern, pattern)) is None:
            continue
        if any(
            _attempt(context, (*path, "hosts", number), partial(parse_host_pattern, host)) is None
            for number, host in enumerate(settings.hosts or ())
        ):
            continue
        rule = _attempt(context, (*path, "methods"), partial(_rule, path, settings, allow, pattern))
        made.extend([] if rule is None else [rule])
    return made


def _rule(path: Path, settings: RuleSettings, allow: Condition, pattern: str) -> Rule:
    return Rule(
        name=settings.name or f"access[{path[-1]}]",
        allow=allow,
        hosts=settings.hosts or (),
        path=pattern,
        methods=frozenset(method.encode() for method in settings.methods or ()),
        preflight=settings.preflight == "pass",
    )


def _attempt[T](context: Context, path: Path, make: Callable[[], T]) -> T | None:
    """Return what `make` makes; None after what the core refuses, which is noted."""
    try:
        return make()
    except ConfigurationError as error:
        context.refuse_error(path, error)
        return None


# Conditions

_LISTS: Final[tuple[tuple[str, Callable[[tuple[str, ...]], Condition]], ...]] = (
    ("users", policy.Users),
    ("emails", policy.Emails),
    ("email_domains", policy.EmailDomains),
    ("groups", policy.Groups),
    ("roles", policy.Roles),
    ("networks", policy.Networks.of),
)


def _condition(context: Context, path: Path, form: AllowWord | ConditionSettings) -> Condition | None:
    """Return the condition, None after a problem."""
    match form:
        case ConditionSettings():
            return _mapping(context, path, form)
        case "anyone":
            return policy.Anyone()
        case "authenticated":
            return policy.Authenticated()
        case "nobody":
            return policy.Not(policy.Anyone())


def _mapping(context: Context, path: Path, settings: ConditionSettings) -> Condition | None:
    """Return what a mapping asks for: all of its keys."""
    parts: list[Condition | None] = []
    for key, make in _LISTS:
        values: tuple[str, ...] | None = getattr(settings, key)
        if values is not None:
            parts.append(_attempt(context, (*path, key), partial(make, values)))
    for name, claimed in (settings.claims or {}).items():
        accepted = claimed if isinstance(claimed, tuple) else (claimed,)
        parts.append(
            _attempt(
                context,
                (*path, "claims", name),
                partial(policy.ClaimEquals, name, accepted),
            )
        )
    if settings.all is not None:
        parts.append(_composed(context, (*path, "all"), settings.all, policy.All))
    if settings.any is not None:
        parts.append(_composed(context, (*path, "any"), settings.any, policy.AnyOf))
    if settings.not_ is not None:
        inner = _condition(context, (*path, "not"), settings.not_)
        parts.append(None if inner is None else _attempt(context, (*path, "not"), partial(policy.Not, inner)))
    if not parts:
        context.refuse(
            path, "is empty, so nobody knows who may pass; write anyone, authenticated or a condition"
        )
    sound = [part for part in parts if part is not None]
    if not sound or len(sound) < len(parts):
        return None
    return sound[0] if len(sound) == 1 else policy.All(tuple(sound))


def _composed(
    context: Context,
    path: Path,
    forms: Sequence[AllowWord | ConditionSettings],
    make: Callable[[tuple[Condition, ...]], Condition],
) -> Condition | None:
    parts = [_condition(context, (*path, index), form) for index, form in enumerate(forms)]
    sound = tuple(part for part in parts if part is not None)
    return make(sound) if len(sound) == len(parts) else None


# What is probably not meant


def _judge_places(
    context: Context, path: Path, settings: RuleSettings, prefix: str, hosts: Iterable[str]
) -> None:
    keys = {key for host in hosts for key in host_keys(host)}
    for index, host in enumerate(settings.hosts or ()):
        if _parsed_host(host) not in keys:
            context.warn(
                (*path, "hosts", index), "is none of the site's hosts, so the rule never decides there"
            )
    patterns = settings.path if isinstance(settings.path, tuple) else (settings.path,)
    for pattern in patterns:
        if pattern == prefix or pattern.startswith(f"{prefix}/"):
            context.warn(
                (*path, "path"), f"is below {prefix}, where our own endpoints are; rules do not reach them"
            )


def _parsed_host(host: str) -> str | None:
    try:
        return parse_host_pattern(host)
    except ConfigurationError:
        return None  # noted where the rule was made


class _Seen:
    """The rules so far, to find those that they leave nothing for."""

    def __init__(self) -> None:
        self._all: list[tuple[Rule, tuple[Segment, ...]]] = []
        self._everything: list[tuple[Rule, tuple[Segment, ...]]] = []

    def add(self, rules: Iterable[Rule]) -> None:
        for rule in rules:
            entry = (rule, parse_path_pattern(rule.path))
            self._all.append(entry)
            if entry[1] == (None,):
                self._everything.append(entry)

    def covering(self, rules: Sequence[Rule], *, is_few: bool) -> Rule | None:
        """Return an earlier rule, when each of `rules` has one that matches all that it matches."""
        found: Rule | None = None
        for rule in rules:
            pattern = parse_path_pattern(rule.path)
            candidates = self._all if is_few else self._everything
            found = next(
                (old for old, covers in candidates if _covers_rest(old, rule) and _covers(covers, pattern)),
                None,
            )
            if found is None:
                return None
        return found


def _covers_rest(old: Rule, new: Rule) -> bool:
    has_hosts = not old.hosts or (bool(new.hosts) and set(new.hosts) <= set(old.hosts))
    return has_hosts and (not old.methods or (bool(new.methods) and new.methods <= old.methods))


def _covers(old: Sequence[Segment], new: Sequence[Segment]) -> bool:
    """Tell whether every path of `new` is one of `old`; False where that is not sure."""
    if not old or not new:
        return not new and all(part is None for part in old)
    if old[0] is None:
        return _covers(old[1:], new) or _covers(old, new[1:])
    return new[0] is not None and _covers_segment(old[0], new[0]) and _covers(old[1:], new[1:])


def _covers_segment(old: str | tuple[str, str], new: str | tuple[str, str]) -> bool:
    if isinstance(old, str):
        return old == new
    before, after = old
    if isinstance(new, str):
        return (
            new.startswith(before)
            and new.endswith(after)
            and len(new) > len(before) + len(after) - (1 if before or after else 0)
        )
    return new[0].startswith(before) and new[1].endswith(after)
