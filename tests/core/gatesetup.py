"""A site, a process and requests for the gate's tests: real rules, real keys, real cookies, one clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from sidecar.core import gate
from sidecar.core.decision import Decision, Flow, Forward, Respond
from sidecar.core.headers import PRESETS
from sidecar.core.http import HeaderPair, RequestHead
from sidecar.core.identity import Identity
from sidecar.core.policy import Anyone, Authenticated, Groups
from sidecar.core.revocation import RevocationList
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import (
    CookiePolicy,
    HeaderPolicy,
    Origin,
    Provider,
    Route,
    Runtime,
    SessionPolicy,
    Site,
    Upstream,
)
from sidecar.core.seal import KeyRing
from sidecar.core.secret import Secret
from sidecar.core.session import Session
from sidecar.core.sessioncache import SessionCache
from sidecar.core.sessioncookie import set_session
from sidecar.core.state import State, Surroundings

NOW = 1_700_000_000.0
KEYS = KeyRing.from_secrets([Secret(b"k" * 32)])
UPSTREAM = Upstream(name="app", scheme="http", host="127.0.0.1", port=3000)
RULES = (
    Rule(name="public", path="/public/**", allow=Anyone()),
    Rule(name="hooks", path="/hooks/**", allow=Authenticated(), preflight=True),
    Rule(name="admin", path="/admin/**", allow=Groups(("admins",))),
    Rule(name="closed", path="/closed/**", allow=Groups(("nobody",))),
    Rule(name="all", path="/app/**", allow=Authenticated()),
    Rule(name="home", path="/", allow=Authenticated()),
)
PRESET = PRESETS["oauth2-proxy"]


def provider(key: str = "main", **changes: Any) -> Provider:
    made = Provider(
        key=key,
        type="oidc",
        display_name="Example",
        issuer="https://id.example.com",
        client_id="app",
        redirect_path="/oauth2/callback",
    )
    return replace(made, **changes)


def site(**changes: Any) -> Site:
    made = Site(
        name="main",
        public_url=Origin(scheme="https", host="app.example.com", port=443),
        hosts=frozenset({"app.example.com"}),
        prefix="/oauth2",
        routes=(Route(prefix="/", upstream=UPSTREAM),),
        providers={"main": provider()},
        rules=RuleTable.build(RULES),
        cookie=CookiePolicy(session_name=b"__Host-doorward", transaction_name=b"__Host-login", secure=True),
        session=SessionPolicy(keys=KEYS),
        headers=HeaderPolicy(upstream=PRESET.upstream, auth_response=PRESET.auth_response),
    )
    return replace(made, **changes)


def identity(**changes: Any) -> Identity:
    made = Identity(
        issuer="https://id.example.com",
        subject="248289",
        user="alice",
        email="alice@example.com",
        preferred_username="al",
        groups=("users",),
        claims={},
    )
    return replace(made, **changes)


def session(of: Site | None = None, **changes: Any) -> Session:
    made = Session(
        id="session-1",
        site="main" if of is None else of.name,
        provider="main",
        identity=identity(),
        created_at=NOW - 10,
        seen_at=NOW - 10,
        absolute_end=NOW + 36_000,
    )
    return replace(made, **changes)


class Entropy:
    """Bytes that differ each time and are the same in each run."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_128(b"%d" % self._count).digest(size)


@dataclass
class World:
    """One process that serves `sites`; `now` is its clock."""

    sites: tuple[Site, ...] = field(default_factory=lambda: (site(),))
    now: float = NOW
    proxies: tuple[Any, ...] = ()
    entropy: Entropy = field(default_factory=Entropy)

    def __post_init__(self) -> None:
        self.runtime = Runtime(
            sites=self.sites, trusted_proxies=self.proxies, listen="127.0.0.1:0", admin=None
        )
        self.state = State(
            surroundings=Surroundings(clock=lambda: self.now, entropy=self.entropy),
            sessions=SessionCache(),
            revocations=RevocationList(),
        )

    def cookie(self, of: Session | None = None, at: Site | None = None) -> bytes:
        """Return what a browser sends once a login has set its cookies."""
        at = self.sites[0] if at is None else at
        values = set_session(at, session(at) if of is None else of, (), self.entropy)
        pairs = [value.partition(b";")[0] for value in values if b"Max-Age=0" not in value]
        return b"; ".join(pairs)

    def decide(self, head: RequestHead) -> Decision:
        return gate.decide(self.runtime, self.state, head)

    def ask(self, target: bytes = b"/app/", *pairs: HeaderPair, **parts: Any) -> Decision:
        return self.decide(head(target, *pairs, **parts))

    def forward(self, target: bytes = b"/app/", *pairs: HeaderPair, **parts: Any) -> Forward:
        decision = self.ask(target, *pairs, **parts)
        assert isinstance(decision, Forward), decision
        return decision

    def respond(self, target: bytes = b"/app/", *pairs: HeaderPair, **parts: Any) -> Respond:
        decision = self.ask(target, *pairs, **parts)
        assert isinstance(decision, Respond), decision
        return decision

    def flow(self, target: bytes = b"/app/", *pairs: HeaderPair, **parts: Any) -> Flow:
        decision = self.ask(target, *pairs, **parts)
        assert isinstance(decision, Flow), decision
        return decision


def head(
    target: bytes = b"/app/",
    *pairs: HeaderPair,
    method: bytes = b"GET",
    host: bytes | None = b"app.example.com",
    cookie: bytes | None = None,
    peer: str = "192.0.2.7",
    memo: dict[object, object] | None = None,
) -> RequestHead:
    """Return a request head; Host and Cookie are the first fields unless they are None."""
    first = [] if host is None else [(b"Host", host)]
    if cookie is not None:
        first.append((b"Cookie", cookie))
    return RequestHead(method, target, [*first, *pairs], peer, "req-1", memo=memo)


def sent(forward: Forward) -> list[HeaderPair]:
    """Return all fields that go upstream, without the engine's own."""
    added: Iterable[HeaderPair] = (pair for edits in forward.edits for pair in edits.pairs)
    return [*forward.kept, *added]


def values(forward: Forward, name: bytes) -> list[bytes]:
    """Return the values of a field that goes upstream."""
    return [value for key, value in sent(forward) if key.lower() == name.lower()]


HTML = ((b"Accept", b"text/html"),)
NAVIGATE = ((b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Dest", b"document"))
CROSS = ((b"Origin", b"https://evil.example"), (b"Sec-Fetch-Site", b"cross-site"))
WEBSOCKET = (
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
)
IDENTITY_NAMES = {b"X-Forwarded-User", b"X-Forwarded-Email", b"X-Forwarded-Groups"}


def has_identity(forward: Forward) -> bool:
    return bool(IDENTITY_NAMES & {name for name, _ in sent(forward)})
