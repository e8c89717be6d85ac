"""The site that all cases speak of, and the cookie of somebody who is signed in there."""

from __future__ import annotations

from ipaddress import ip_network

from sidecar.core.policy import Anyone, Authenticated, Groups
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import Route, Runtime, Upstream
from sidecar.core.sessioncookie import set_session
from tests.core.gatesetup import Entropy, identity, session, site

__all__ = ["COOKIE", "build_runtime", "fill_in", "signed_in"]

COOKIE = b"<session>"
"""Stands in a case's bytes for the session cookie: `name=value`."""

RULES = (
    Rule(name="public", path="/public/**", allow=Anyone()),
    Rule(name="hooks", path="/hooks/**", allow=Authenticated(), preflight=True),
    Rule(name="admin", path="/admin/**", allow=Groups(("admins",))),
    Rule(name="app", path="/app/**", allow=Authenticated()),
)


def build_runtime(upstream: Upstream) -> Runtime:
    """Return the runtime of the cases: one site, `https://app.example.com`, spoken to without TLS.

    10.0.0.0/8 holds the trusted proxies, so a client on loopback is none.
    """
    only = site(routes=(Route(prefix="/", upstream=upstream),), rules=RuleTable.build(RULES))
    return Runtime(
        sites=(only,), trusted_proxies=(ip_network("10.0.0.0/8"),), listen="127.0.0.1:0", admin=None
    )


def signed_in(runtime: Runtime, now: float) -> bytes:
    """Return the cookie of alice, of the group users, who signed in ten seconds before `now`."""
    alice = session(
        identity=identity(groups=("users",)), created_at=now - 10, seen_at=now - 10, absolute_end=now + 36_000
    )
    return set_session(runtime.sites[0], alice, (), Entropy())[0].partition(b";")[0]


def fill_in(data: bytes, cookie: bytes) -> bytes:
    """Put the session cookie where a case asks for it."""
    return data.replace(COOKIE, cookie)
