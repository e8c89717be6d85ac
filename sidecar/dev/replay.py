"""Replay: the requests of a recording, asked of another configuration.

The core that serves decides (`core.gate`), for a session made of the identity that each request had.
Nothing is sent anywhere. What is compared is what a person would notice: let in, refused, asked to sign in;
another rule that comes to the same is no change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core import gate
from sidecar.core.decision import Flow, Forward, Respond
from sidecar.core.errors import BadRequest, InvalidToken
from sidecar.core.http import RequestHead
from sidecar.core.paths import parse_target
from sidecar.core.policy import lookup_claim
from sidecar.core.revocation import RevocationList
from sidecar.core.sessioncache import SessionCache
from sidecar.core.state import State
from sidecar.dev.standins import build_session, cookie_pairs

if TYPE_CHECKING:
    from sidecar.core.identity import Identity
    from sidecar.core.plan import SitePlan
    from sidecar.core.runtime import Runtime
    from sidecar.core.state import Surroundings
    from sidecar.dev.recording import Recorded

__all__ = ["Comparison", "Outcome", "Replay", "summary", "table"]

_LET_IN: Final = "let in"
_SIGN_IN: Final = "sign in first"
_REFUSED: Final = "refused"
_KINDS: Final = {
    **dict.fromkeys(("allowed", "allowed_anyone", "allowed_preflight"), _LET_IN),
    **dict.fromkeys(
        (
            *("login_required", "login_required_api", "login_started", "sign_in_page", "login_loop"),
            *("session_expired", "session_ended_form", "session_revoked"),
        ),
        _SIGN_IN,
    ),
}
_WIDTHS: Final = (6, 60, 24, 40, 40)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request; `rule` and `reason` are told, `kind` alone is compared."""

    kind: str
    rule: str | None
    reason: str

    @classmethod
    def of(cls, reason: str, rule: str | None) -> Outcome:
        """Return the outcome of a reason of `core.reasons`; what is none of the above was refused."""
        return cls(_KINDS.get(reason, _REFUSED), rule, reason)

    def __str__(self) -> str:
        """Say it as the table does."""
        words = (
            self.kind if self.kind != _REFUSED or self.reason == "denied" else f"{self.kind}: {self.reason}"
        )
        return f"{words} (rule: {self.rule})" if self.rule else words


@dataclass(frozen=True, slots=True)
class Comparison:
    """One request under both configurations."""

    request: str
    who: str
    before: Outcome
    after: Outcome

    @property
    def is_change(self) -> bool:
        """Tell whether a person would notice."""
        return self.before.kind != self.after.kind

    @property
    def change(self) -> str:
        """Say what a person would notice: "opened", "closed", or "other"; "" for nothing."""
        if not self.is_change:
            return ""
        return {self.after.kind: "opened", self.before.kind: "closed"}.get(_LET_IN, "other")


class Replay:
    """Asks one configuration. `skipped` counts requests of our own endpoints, `warnings` tell of doubts."""

    def __init__(self, runtime: Runtime, surroundings: Surroundings) -> None:
        """Start with an empty memory."""
        self._runtime = runtime
        self._state = State(surroundings=surroundings, sessions=SessionCache(), revocations=RevocationList())
        self._plan = self._state.plans.of(runtime)
        self.skipped = 0
        self._missing: set[str] = set()

    @property
    def warnings(self) -> list[str]:
        """Return what could make the result wrong."""
        return [
            f"The rules ask for the claim {path}, which the recording does not have for everybody."
            for path in sorted(self._missing)
        ]

    def compare(self, recorded: Iterable[Recorded]) -> Iterator[Comparison]:
        """Yield each request that is the application's, before and after."""
        for one in recorded:
            plan = self._site(one)
            if plan is not None and _is_own(plan, one):
                self.skipped += 1
                continue
            who = "nobody" if one.identity is None else one.identity.user
            path = one.target.partition("?")[0]
            before = Outcome.of(one.reason, one.rule)
            yield Comparison(f"{one.method} {path}", who, before, self._ask(plan, one))

    def _site(self, one: Recorded) -> SitePlan | None:
        """Return the site that is meant: the only one whatever its host is called, else that of the Host."""
        hosts = [value for name, value in one.headers if name.lower() == "host"]
        if len(self._plan.sites) == 1:
            # As it is at this host, if that is one of its own (`core.entrance.site_at`).
            return self._plan.hosts.exact.get("".join(hosts).encode("latin-1"), self._plan.sites[0])
        try:
            return self._plan.hosts.find(hosts[0].encode("latin-1")) if len(hosts) == 1 else None
        except BadRequest:
            return None

    def _ask(self, plan: SitePlan | None, one: Recorded) -> Outcome:
        if plan is None:
            return Outcome.of("unknown_host", None)
        try:
            head = self._head(plan, one)
        except InvalidToken as error:
            return Outcome(_REFUSED, None, error.code)
        match gate.decide(self._runtime, self._state, head):
            case Forward(note=note) | Respond(note=note):
                return Outcome.of(note.reason, note.rule)
            case Flow(steps=steps):
                # Nobody's session is due for a refresh: a flow is the beginning of a login.
                steps.close()
                return Outcome.of("login_required", None)

    def _head(self, plan: SitePlan, one: Recorded) -> RequestHead:
        """Return the head as its sender would write it to this site, with a session of the identity."""
        site = plan.site
        headers = []
        hosts = {value for name, value in one.headers if name.lower() == "host"}
        own = {f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")}
        is_renamed = not any(host in site.hosts for host in hosts)
        for name, value in one.headers:
            match name.lower():
                case "host" if is_renamed:
                    headers.append((name, site.public_url.authority))
                case "origin" if is_renamed and value in own:
                    headers.append((name, str(site.public_url)))
                case _:
                    headers.append((name, value))
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if one.identity is not None:
            encoded.append((b"Cookie", self._cookie(plan, one, one.identity)))
        method, target = one.method.encode("latin-1"), one.target.encode("latin-1")
        return RequestHead(method, target, encoded, one.peer, "replay", one.is_tls)

    def _cookie(self, plan: SitePlan, one: Recorded, identity: Identity) -> bytes:
        site = plan.site
        provider = one.provider if one.provider in site.providers else next(iter(site.providers))
        claims = identity.claims
        self._missing |= {path for path in site.session.kept_claims if lookup_claim(claims, path) is None}
        session = build_session(site, str(provider), identity, self._state.surroundings.clock())
        return b"; ".join(cookie_pairs(site, session))


def table(comparisons: Iterable[Comparison]) -> list[str]:
    """Return the lines of a table; a request that was made several times is told once."""
    counted = Counter((c.change, c.request, c.who, str(c.before), str(c.after)) for c in comparisons)
    rows = [
        ("", "REQUEST", "WHO", "BEFORE", "AFTER"),
        *(_row(cells, count) for cells, count in counted.items()),
    ]
    widths = [min(max(len(row[i]) for row in rows), limit) for i, limit in enumerate(_WIDTHS)]
    return [
        "  ".join(_cell(text, width) for text, width in zip(row, widths, strict=True) if width).rstrip()
        for row in rows
    ]


def summary(comparisons: Sequence[Comparison]) -> str:
    """Return the last line."""
    counted = Counter(comparison.change for comparison in comparisons)
    parts = [f"{counted[change]} {change}" for change in ("opened", "closed", "other") if counted[change]]
    count = sum(comparison.is_change for comparison in comparisons)
    told = f": {', '.join(parts)}" if parts else ""
    return f"{count} of {len(comparisons)} requests are decided otherwise{told}"


def _row(cells: tuple[str, ...], count: int) -> tuple[str, ...]:
    change, request, *rest = cells
    return (change, request if count == 1 else f"{request} (x{count})", *rest)


def _cell(text: str, width: int) -> str:
    from sidecar.demo.narrator import printable

    return printable(text, width).ljust(width)


def _is_own(plan: SitePlan, one: Recorded) -> bool:
    """Tell whether an endpoint of ours answers: a callback can't be replayed, and rules do not concern it."""
    try:
        return plan.endpoint(parse_target(one.target.encode("latin-1")).readings) is not None
    except BadRequest:
        return False
