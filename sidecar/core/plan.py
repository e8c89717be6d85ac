"""What the gate prepares for a `Runtime`, once, so that a request finds it ready.

Owns: tables that follow from the configuration alone (sites by host, header names by kind, routes) and small
bounded memories beside them. Nothing in here decides. A reload brings another `Runtime`, and with it another
plan; the one before goes when the last flow that uses it ends.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from sidecar.core.assertion import Signer
from sidecar.core.cookies import is_own_name, without
from sidecar.core.decision import Finish, Forward, Note, Respond
from sidecar.core.development import BANNER
from sidecar.core.entrance import site_at
from sidecar.core.errors import BadRequest
from sidecar.core.forwardauth.asks import Asks
from sidecar.core.forwardauth.callers import Callers
from sidecar.core.forwarded import SET_NAMES, ForwardedTable
from sidecar.core.headers import absent_fields
from sidecar.core.hosts import HostTable, is_loopback_name
from sidecar.core.hygiene import InboundNames
from sidecar.core.navigation import SAFE_METHODS
from sidecar.core.paths import parse_target
from sidecar.core.policy import is_public
from sidecar.core.recurring import Recurring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sidecar.core.decision import Decision, Edits, Flow, Lease, Steps
    from sidecar.core.forwarded import Forwarded
    from sidecar.core.http import HeaderPair
    from sidecar.core.rules import Rule
    from sidecar.core.runtime import CookiePolicy, Route, Runtime, Site, Upstream
    from sidecar.core.sessioncache import CachedSession

__all__ = ["Grant", "Plan", "Plans", "PreparedAnswer", "RouteEntry", "SitePlan", "Way"]

_MAX_NOTES: Final = 4096
# Methods (times hosts, where rules tell them apart) with a memory of 512 targets: some 512 KiB each.
_MAX_WAYS: Final = 16
_WAYS: Final = 512
_MAX_WAY_BYTES: Final = 256


class Grant:
    """What a rule's admission of one session (or of nobody in particular) means for each of its requests.

    Good for requests of the same `rule` that come by the same `forwarded`, before `until` (when the
    assertion is to be minted anew; for ever without one). A plain slots class, compared by identity on the
    hot path.
    """

    __slots__ = ("edits", "forwarded", "lease", "note", "rule", "until")

    def __init__(  # noqa: PLR0917  made in one place only
        self,
        rule: Rule,
        forwarded: Forwarded,
        edits: tuple[Edits, ...],
        note: Note,
        lease: Lease | None,
        until: float,
    ) -> None:
        """Keep the parts."""
        self.rule = rule
        self.forwarded = forwarded
        self.edits = edits
        self.note = note
        self.lease = lease
        self.until = until


class PreparedAnswer:
    """Our yes to an ingress that asks about one session's requests of `rule`.

    Good for requests that come by the same `forwarded`, before `until`.
    """

    __slots__ = ("forwarded", "respond", "rule", "until")

    def __init__(self, rule: Rule, forwarded: Forwarded, respond: Respond, until: float) -> None:
        """Keep the parts."""
        self.rule = rule
        self.forwarded = forwarded
        self.respond = respond
        self.until = until


class Way:
    """What a target means at a host of a site when it is asked for with one method, whoever asks.

    `endpoint` is one of ours; then there are no rules and no route. Else `rules` are those of all readings of
    the path, `rule` is the only one of them where it is alone, and `key` that under which a session's entry
    keeps what it grants. A plain slots class, because one is made for each target that is new.
    """

    __slots__ = ("endpoint", "is_safe", "key", "parsed", "route", "rule", "rules")

    def __init__(self, site: SitePlan, host: str, method: bytes, target: bytes) -> None:
        """Take the target apart. Raises BadRequest when it means nothing, or not one thing."""
        self.parsed = parsed = parse_target(target)
        self.is_safe = method in SAFE_METHODS
        self.endpoint = site.endpoint(parsed.readings)
        self.rules: tuple[Rule | None, ...] = ()
        self.rule: Rule | None = None
        self.route: RouteEntry | None = None
        if self.endpoint is None:
            table = site.site.rules
            if method:
                self.rules = table.rules_for(host, parsed.readings, method)
            else:  # an ingress does not tell
                self.rules = table.rules_for_all_methods(host, parsed.readings)
            self.rule = self.rules[0] if len(self.rules) == 1 else None
            self.route = site.route(parsed.canonical)
        self.key = id(self.rule)  # of no object but this one while the table of rules lives


class RouteEntry:
    """One route; `host` is the Host field that its upstream wants instead of the browser's."""

    __slots__ = ("below", "host", "prefix", "upstream")

    def __init__(self, route: Route) -> None:
        """Prepare the comparison at a segment boundary."""
        self.prefix = route.prefix.rstrip("/")
        self.below = self.prefix + "/"
        self.upstream: Upstream = route.upstream
        wanted = route.upstream.host_header
        self.host: HeaderPair | None = None if wanted is None else (b"Host", wanted.encode("ascii"))


class SitePlan:
    """One site, prepared. `absent` are the fields of an answer to an ingress that tells of nobody.

    `own_paths` are callback paths outside the prefix, with the endpoint that serves them. `runtime` is what
    this was made from.
    `has_foreign_cookies`: another site of this process uses other cookie names, which no upstream of this
    one may see either.
    """

    __slots__ = (
        "_other_cookies",
        "_public_notes",
        "_routes",
        "_ways",
        "absent",
        "banner",
        "finish",
        "forwarded",
        "has_foreign_cookies",
        "names",
        "own_paths",
        "prefix",
        "prefix_below",
        "runtime",
        "signer",
        "site",
    )

    def __init__(self, site: Site, runtime: Runtime) -> None:
        """Compile the tables. Raises ConfigurationError when the assertion's key does not load."""
        self.site = site
        self.runtime = runtime
        self.prefix = site.prefix
        self.prefix_below = site.prefix + "/"
        self.own_paths = {
            provider.redirect_path: "callback"
            for provider in site.providers.values()
            if not provider.redirect_path.startswith(self.prefix_below)
        }
        self.names = _inbound_names(site)
        self.forwarded = ForwardedTable(
            site.public_url, runtime.trusted_proxies, trusts_unix=runtime.trusts_unix_peers
        )
        self._other_cookies = _foreign_cookies(site, runtime.sites)
        self.has_foreign_cookies = bool(self._other_cookies)
        self._routes = [
            RouteEntry(route) for route in sorted(site.routes, key=lambda r: len(r.prefix), reverse=True)
        ]
        self.signer = None if site.headers.assertion is None else Signer(site.headers.assertion)
        self.banner = _banner(site.dev_banner)
        self.finish = Finish(
            own_cookie_names=own_cookie_names(p.cookie for p in runtime.sites),
            set_headers=self.banner,
        )
        self.absent = absent_fields(site.headers)
        self._public_notes: dict[int, tuple[Rule, Note]] = {}
        self._ways: dict[tuple[str, bytes], Recurring[Way]] = {}

    def marked(self, decision: Decision) -> Decision:
        """Put the development banner on what we answer ourselves (S72); a Forward has it in `finish`."""
        if not self.banner or isinstance(decision, Forward):
            return decision
        if isinstance(decision, Respond):
            return self.with_banner(decision)
        return replace(decision, steps=self._marked_steps(decision))

    def with_banner(self, respond: Respond) -> Respond:
        """Put the development banner on one answer."""
        response = respond.response
        return Respond(replace(response, headers=(*response.headers, *self.banner)), respond.note)

    def _marked_steps(self, flow: Flow) -> Steps[Respond | Forward]:
        result = yield from flow.steps
        return self.with_banner(result) if isinstance(result, Respond) else result

    def ways(self, host: str, method: bytes) -> Recurring[Way]:
        """Return what targets mean at one of the site's hosts for `method`: a mapping by target."""
        key = (host if self.site.rules.has_hosts else "", method)
        known = self._ways.get(key)
        if known is None:
            if len(self._ways) >= _MAX_WAYS:
                self._ways.clear()
            make = partial(Way, self, *key)
            known = self._ways[key] = Recurring(make, entries=_WAYS, max_bytes=_MAX_WAY_BYTES)
        return known

    def route(self, path: str) -> RouteEntry | None:
        """Return the route of a canonical path: the longest prefix that ends at a segment boundary."""
        for entry in self._routes:
            if path == entry.prefix or path.startswith(entry.below):
                return entry
        return None

    def public_note(self, rule: Rule) -> Note:
        """Return the note of requests that a rule admits without an identity."""
        known = self._public_notes.get(id(rule))
        if known is None or known[0] is not rule:
            reason = "allowed_anyone" if is_public(rule.allow) else "allowed"
            known = rule, Note(site=self.site.name, reason=reason, rule=rule.name)
            if len(self._public_notes) >= _MAX_NOTES:
                self._public_notes.clear()
            self._public_notes[id(rule)] = known
        return known[1]

    def is_own_cookie(self, name: bytes) -> bool:
        """Tell whether a cookie is ours: of this site, or of another one that shares its domain or host."""
        return is_own_name(self.site.cookie, name) or any(
            is_own_name(policy, name) for policy in self._other_cookies
        )

    def cookie_upstream(self, value: bytes) -> bytes | None:
        """Return a Cookie field's value without our cookies, None when nothing is left (S40)."""
        return without(value, self.is_own_cookie)

    def others_of(self, entry: CachedSession, cookie: bytes) -> bytes | None:
        """Return what `cookie_upstream` does, of a Cookie field that was just found to be the entry's."""
        return self.cookie_upstream(cookie) if self.has_foreign_cookies else entry.others

    def endpoint(self, readings: tuple[str, ...]) -> str | None:
        """Return the endpoint that a path means: the rest behind the prefix, None when it is not ours.

        Every reading must mean the same: our endpoints are reached by their plain spelling only, and nothing
        else reaches an upstream through them (S60). Raises BadRequest("ambiguous_path") otherwise.
        """
        found = {self._endpoint(reading) for reading in readings}
        if len(found) > 1:
            raise BadRequest("ambiguous_path", "not every reading of the path is the same endpoint of ours")
        return found.pop()

    def _endpoint(self, path: str) -> str | None:
        if path.startswith(self.prefix_below):
            return path[len(self.prefix_below) :]
        return "" if path == self.prefix else self.own_paths.get(path)


class Plan:
    """A runtime, prepared: its sites by Host; how is asked about requests of others, and by whom."""

    __slots__ = ("_elsewhere", "asks", "callers", "hosts", "loopback", "runtime", "sites")

    def __init__(self, runtime: Runtime) -> None:
        """Compile all sites."""
        self.runtime = runtime
        policy = runtime.forward_auth
        self.callers = None if policy is None else Callers(policy)
        self.asks = Asks((site.prefix for site in runtime.sites), is_compat=runtime.compat is not None)
        self.sites = tuple(SitePlan(site, runtime) for site in runtime.sites)
        # Sites once more, as they are at each host that shares no cookie with public_url's.
        self._elsewhere: list[SitePlan] = []
        self.hosts = HostTable(pair for plan in self.sites for pair in self._by_hosts(plan))
        # The one site of a developer's machine, if this is one: 127.0.0.1 typed for localhost finds it.
        first = runtime.sites[0] if len(runtime.sites) == 1 else None
        is_local = first is not None and is_loopback_name(first.public_url.host)
        self.loopback = self.sites[0] if is_local else None

    def plan_of(self, site: Site) -> SitePlan:
        """Return the plan of one of the runtime's own sites, or of one as it is at another host."""
        return next(plan for plan in (*self.sites, *self._elsewhere) if plan.site is site)

    def _by_hosts(self, plan: SitePlan) -> Iterator[tuple[SitePlan, frozenset[str]]]:
        site = plan.site
        by_name: dict[str | None, list[str]] = {}
        for host in site.hosts:
            by_name.setdefault(site_at(site, host).cookie.outside, []).append(host)
        for name, hosts in by_name.items():
            here = plan if name is None else SitePlan(site_at(site, hosts[0]), self.runtime)
            if here is not plan:
                self._elsewhere.append(here)
            yield here, frozenset(hosts)


class Plans:
    """The plan of the runtime that is served now."""

    __slots__ = ("_plan",)

    def __init__(self) -> None:
        """Start without one."""
        self._plan: Plan | None = None

    def of(self, runtime: Runtime) -> Plan:
        """Return the plan of `runtime`, made when it is asked for first."""
        plan = self._plan
        if plan is None or plan.runtime is not runtime:
            plan = self._plan = Plan(runtime)
        return plan


def own_cookie_names(policies: Iterable[CookiePolicy]) -> frozenset[bytes]:
    """Return the names that no upstream may set, as `Finish` takes them: exact, or a prefix with "*"."""
    names: set[bytes] = set()
    for policy in policies:
        names |= {policy.session_name, policy.transaction_name}
        names |= {policy.session_name + b".*", policy.transaction_name + b".*"}
    return frozenset(names)


def _inbound_names(site: Site) -> InboundNames:
    policy = site.headers
    assertion = () if policy.assertion is None else (policy.assertion.header,)
    return InboundNames(
        (*SET_NAMES, *(rule.name for rule in policy.upstream), *assertion),
        policy.keep_inbound,
        # A preflight passes because of its method: that is a rule about methods too.
        rules_name_methods=any(rule.methods or rule.preflight for rule in site.rules.rules),
    )


def _foreign_cookies(site: Site, sites: Iterable[Site]) -> tuple[CookiePolicy, ...]:
    """Return the cookie policies of other sites that use other names than this one."""
    own = (site.cookie.session_name, site.cookie.transaction_name)
    others = {(s.cookie.session_name, s.cookie.transaction_name): s.cookie for s in sites}
    return tuple(policy for names, policy in others.items() if names != own)


def _banner(text: str | None) -> tuple[HeaderPair, ...]:
    return () if text is None else ((BANNER, text.encode("ascii", "replace")),)
