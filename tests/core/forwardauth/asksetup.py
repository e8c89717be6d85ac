"""An ingress for tests of the core: it asks a `World` in each dialect about an original request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sidecar.config.addresses import parse_network
from sidecar.core.decision import Respond
from sidecar.core.http import HeaderPair
from sidecar.core.runtime import ForwardAuthPolicy
from tests.core.gatesetup import World, head

INGRESS = "10.1.0.9"
CLIENT = b"192.0.2.7"
POLICY = ForwardAuthPolicy(callers=(parse_network("10.0.0.0/8"),))
DIALECTS = ("nginx", "ingress-nginx", "traefik", "caddy", "haproxy", "envoy")


def world(policy: ForwardAuthPolicy | None = POLICY, compat: Any = None, **changes: Any) -> World:
    """Return a world that an ingress may ask."""
    made = World(**changes)
    made.runtime = replace(made.runtime, forward_auth=policy, compat=compat)
    return made


def fields(
    dialect: str, target: bytes, method: bytes = b"GET", host: bytes = b"app.example.com"
) -> list[HeaderPair]:
    """Return the fields by which an ingress tells of the original request."""
    told: list[HeaderPair] = [(b"X-Forwarded-For", CLIENT), (b"X-Forwarded-Proto", b"https")]
    match dialect:
        case "nginx":
            told += [(b"X-Original-Method", method), (b"X-Original-URI", target)]
        case "ingress-nginx":
            url = b"https://" + host + target
            told += [(b"X-Original-Method", method), (b"X-Original-URL", url)]
        case "traefik" | "caddy" | "haproxy":
            told += [(b"X-Forwarded-Method", method), (b"X-Forwarded-Uri", target)]
            told += [(b"X-Forwarded-Host", host)]
    return told


def ask(
    dialect: str,
    of: World,
    target: bytes = b"/app/",
    *pairs: HeaderPair,
    method: bytes = b"GET",
    host: bytes = b"app.example.com",
    query: bytes = b"",
    **parts: Any,
) -> Respond:
    """Ask at the dialect's own endpoint; flows are not expected."""
    asked = b"/oauth2/auth/" + dialect.encode("ascii")
    is_envoy = dialect == "envoy"
    own_host = host if dialect in {"nginx", "envoy"} else b"doorward.internal:4180"
    decision = of.decide(
        head(
            asked + (target if is_envoy else query),
            *fields(dialect, target, method, host),
            *pairs,
            method=method if is_envoy else b"GET",
            host=own_host,
            peer=parts.pop("peer", INGRESS),
            **parts,
        )
    )
    assert isinstance(decision, Respond), decision
    return decision


def values(respond: Respond, name: bytes) -> list[bytes]:
    """Return the values of an answer's field."""
    return [value for key, value in respond.response.headers if key.lower() == name.lower()]
