"""A site, a process's memory and a browser's cookie jar for the tests of sessions: real keys, one clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from sidecar.core.cookies import parse_cookies
from sidecar.core.identity import Identity
from sidecar.core.revocation import RevocationList
from sidecar.core.rules import RuleTable
from sidecar.core.runtime import CookiePolicy, HeaderPolicy, Origin, Provider, SessionPolicy, Site
from sidecar.core.seal import KeyRing
from sidecar.core.secret import Secret
from sidecar.core.session import Session
from sidecar.core.sessioncache import SessionCache
from sidecar.core.state import State, Surroundings

NOW = 1_700_000_000.0
KEY_A, KEY_B = Secret(b"a" * 32), Secret(b"b" * 32)
RING = KeyRing.from_secrets([KEY_A])
COOKIE = CookiePolicy(session_name=b"__Host-doorward", transaction_name=b"__Host-login", secure=True)


class Entropy:
    """Bytes that look random and are the same in each run; no two calls return the same."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed
        self._calls = 0

    def __call__(self, length: int) -> bytes:
        self._calls += 1
        blocks = (
            sha256(f"{self._seed}/{self._calls}/{index}".encode()).digest()
            for index in range(length // 32 + 1)
        )
        return b"".join(blocks)[:length]


def make_provider(**changes: Any) -> Provider:
    made = Provider(
        key="main",
        type="oidc",
        display_name="Example",
        issuer="https://id.example.com",
        client_id="app",
        redirect_path="/oauth2/callback",
    )
    return replace(made, **changes)


def make_site(**changes: Any) -> Site:
    provider = changes.pop("provider", make_provider())
    made = Site(
        name="main",
        public_url=Origin(scheme="https", host="app.example.com", port=443),
        hosts=frozenset({"app.example.com", "www.example.com"}),
        prefix="/oauth2",
        routes=(),
        providers={provider.key: provider},
        rules=RuleTable.build(()),
        cookie=COOKIE,
        session=SessionPolicy(keys=RING),
        headers=HeaderPolicy(upstream=(), auth_response=()),
    )
    return replace(made, **changes)


def make_state(max_cache_bytes: int = 1 << 20) -> State:
    return State(
        surroundings=Surroundings(clock=lambda: NOW, entropy=Entropy("state")),
        sessions=SessionCache(max_cache_bytes),
        revocations=RevocationList(),
    )


def make_identity(**changes: Any) -> Identity:
    made = Identity(
        issuer="https://id.example.com",
        subject="u-1",
        user="u-1",
        email="ada@example.com",
        preferred_username="ada",
        name="Ada Lovelace",
        groups=("staff", "admins"),
        claims={"department": "research"},
    )
    return replace(made, **changes)


def make_session(**changes: Any) -> Session:
    made = Session(
        id="session-1",
        site="main",
        provider="main",
        identity=make_identity(),
        created_at=NOW,
        seen_at=NOW,
        absolute_end=NOW + 43200,
    )
    return replace(made, **changes)


def large_session(**changes: Any) -> Session:
    """A session that needs three chunks: a token that does not compress."""
    return make_session(id_token=Secret(Entropy("large")(4000).hex().encode()), **changes)


@dataclass
class Browser:
    """A cookie jar for one host: takes Set-Cookie values, makes the Cookie field, forgets deleted ones."""

    jar: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, *set_cookies: bytes) -> None:
        for value in set_cookies:
            pair, *attributes = value.split(b"; ")
            name, _, content = pair.partition(b"=")
            self.jar.pop(name, None)
            if b"Max-Age=0" not in attributes:
                self.jar[name] = content

    @property
    def header(self) -> bytes:
        return b"; ".join(b"%b=%b" % pair for pair in self.jar.items())

    @property
    def cookies(self) -> list[tuple[bytes, bytes]]:
        return parse_cookies(self.header) if self.jar else []
