"""What is sent: requests that must be refused whatever they say, one table for each part of a configuration.

Each asks for the protected path, without a session, with one thing added that some ingress or application
believes. A decoy is what it believes: a path that is open to anyone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sidecar.core.hygiene import IDENTITY_NAMES
from sidecar.doctor.wire import Request

__all__ = [
    "EVIL",
    "HANDSHAKE",
    "PAGE",
    "SCRIPT",
    "SPELLINGS",
    "UPGRADE_H2C",
    "Probe",
    "Surroundings",
    "endpoint_probes",
    "identity_names",
    "refusal_probes",
    "spelled",
]

EVIL: Final = "doorward-doctor.invalid"
"""A host that nobody has (RFC 6761 §6.4)."""

PAGE: Final = (
    ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Site", "none"),
)
SCRIPT: Final = (
    ("Accept", "*/*"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-Fetch-Dest", "empty"),
    ("Sec-Fetch-Site", "same-origin"),
)
HANDSHAKE: Final[tuple[tuple[str, str], ...]] = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "ZG9vcndhcmQgZG9jdG9yLg=="),
    ("Sec-Fetch-Mode", "websocket"),
)
UPGRADE_H2C: Final = (
    ("Connection", "Upgrade, HTTP2-Settings"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
)
SPELLINGS: Final = {"with hyphens": "-", "with underscores": "_", "with dots": ".", "with mixed signs": "-_"}
"""How servers fold names: CGI and WSGI turn a hyphen into an underscore, PHP a dot too."""

# Of each family one or more members that applications read.
_MEMBERS: Final = {
    "x-auth-request-": ("user", "email", "groups", "preferred-username"),
    "x-forwarded-": ("user", "email", "groups", "preferred-username", "access-token"),
    "remote-": ("user", "email", "groups", "name"),
    "x-remote-": ("user", "group"),
    "x-doorward-": ("assertion",),
    "impersonate-": ("user", "group"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the probes are about. `decoy` is a path that is open to anyone, or may be."""

    origin: str
    authority: str
    path: str
    decoy: str
    prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One request that must be refused. `sent` says what is special in it."""

    group: str
    name: str
    sent: str
    request: Request


def identity_names() -> list[str]:
    """Return names of every family by which somebody's proxy tells identities."""
    names: list[str] = []
    for family in IDENTITY_NAMES:
        if family.endswith("-"):
            names += [f"{family}{member}" for member in _MEMBERS.get(family, ("user",))]
        else:
            names.append(family)
    return [name.title() for name in names]


def spelled(name: str, signs: str) -> str:
    """Return a name with these signs for its hyphens, in turn."""
    first, *rest = name.split("-")
    return first + "".join(f"{signs[place % len(signs)]}{part}" for place, part in enumerate(rest))


def refusal_probes(about: Surroundings) -> Iterator[Probe]:
    """Return what is judged by being refused."""
    yield from _identity(about)
    yield from _forwarded(about)
    yield from _method(about)
    yield from _paths(about)
    yield from _upgrades(about)


def _identity(about: Surroundings) -> Iterator[Probe]:
    for spelling, signs in SPELLINGS.items():
        told = tuple((spelled(name, signs), "admin") for name in identity_names())
        yield Probe(
            group="identity",
            name=f"identity headers {spelling}, no session",
            sent=f"{told[2][0]}: admin and {len(told) - 1} more",
            request=Request(target=about.path, headers=(*SCRIPT, *told)),
        )


def _added(group: str, name: str, about: Surroundings, *fields: tuple[str, str], page: bool = False) -> Probe:
    request = Request(target=about.path, headers=(*(PAGE if page else SCRIPT), *fields))
    return Probe(group=group, name=name, sent=", ".join(f"{n}: {v}" for n, v in fields), request=request)


def _forwarded(about: Surroundings) -> Iterator[Probe]:
    group, decoy = "forwarded", about.decoy
    for field in (
        "X-Forwarded-Uri",
        "X-Original-URI",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Envoy-Original-Path",
    ):
        yield _added(group, "another path", about, (field, decoy))
    yield _added(group, "another URL", about, ("X-Original-URL", about.origin + decoy))
    yield _added(group, "another path, spelled", about, ("X_Forwarded_Uri", decoy), ("X.Original.URI", decoy))
    yield _added(group, "two paths", about, ("X-Forwarded-Uri", decoy), ("X-Forwarded-Uri", about.path))
    yield _added(group, "another host", about, ("X-Forwarded-Host", EVIL), page=True)
    yield _added(
        group, "a host with a user", about, ("X-Forwarded-Host", f"{about.authority}@{EVIL}"), page=True
    )
    yield _added(group, "another scheme", about, ("X-Forwarded-Proto", "gopher"))
    address = "127.0.0.1"
    yield _added(group, "another address", about, ("X-Forwarded-For", address), ("X-Real-IP", address))
    yield _added(
        group, "another origin", about, ("Forwarded", f"for={address};host={EVIL};proto=http"), page=True
    )
    named = "close, X-Forwarded-Uri, X-Original-URI, X-Original-URL, X-Forwarded-Method, X-Original-Method"
    yield _added(group, "fields taken away", about, ("Connection", named), ("X-Forwarded-Uri", decoy))


def _method(about: Surroundings) -> Iterator[Probe]:
    for field in ("X-Forwarded-Method", "X-Original-Method", "X-HTTP-Method-Override"):
        yield _added("method", "another method", about, (field, "OPTIONS"))
    fields = (
        ("X-HTTP-Method", "OPTIONS"),
        ("X-Method-Override", "OPTIONS"),
        ("X_HTTP_Method_Override", "OPTIONS"),
    )
    yield _added("method", "another method, spelled", about, *fields)


def _paths(about: Surroundings) -> Iterator[Probe]:
    path, rest = about.path, about.path.removeprefix("/")
    decoy = about.decoy.rstrip("/")
    depth = max(1, decoy.count("/"))
    targets = {
        "two slashes": f"/{path}",
        "a dot segment": f"/.{path}",
        "a parameter": f"{path};v=1",
        "a whole URL": about.origin + path,
        "a query like an open path": f"{path}?{decoy}",
        "out of the open path": f"{decoy}{'/..' * depth}{path}",
        "out of it, encoded dots": f"{decoy}{'/%2e%2e' * depth}{path}",
        "out of it, encoded slashes": f"{decoy}{'/..' * (depth - 1)}/..%2f{rest}",
        "out of it, all encoded": f"{decoy}{'%2f..' * depth}%2f{rest}",
        "out of it, a parameter": f"{decoy}{'/..;' * depth}{path}",
        "out of it, a backslash": f"{decoy}{'/..' * (depth - 1)}/..%5c{rest}",
        # One more than the path is deep: an empty segment is one that dots take away (RFC 3986 §5.2.4).
        "out of it, two slashes": f"{decoy}/{'/..' * (depth + 1)}{path}",
        "out of it, encoded twice": f"{decoy}{'/%252e%252e' * depth}{path}",
    }
    if rest[:1].isalnum():
        targets["an encoded letter"] = f"/%{ord(rest[0]):02x}{rest[1:]}"
    for name, target in targets.items():
        yield Probe(
            group="path", name=name, sent=f"GET {target}", request=Request(target=target, headers=SCRIPT)
        )


def _upgrades(about: Surroundings) -> Iterator[Probe]:
    h2c = Request(target=about.path, headers=(*SCRIPT, *UPGRADE_H2C))
    yield Probe(group="upgrade", name="HTTP/2 in clear", sent="Upgrade: h2c", request=h2c)
    half = tuple(pair for pair in HANDSHAKE if pair[0] != "Sec-WebSocket-Key")
    yield Probe(
        group="upgrade",
        name="half a handshake",
        sent="Upgrade: websocket, no key",
        request=Request(target=about.path, headers=half),
    )


def endpoint_probes(about: Surroundings) -> Iterator[Probe]:
    """Return questions to the endpoint that only the ingress may ask: as nginx asks, and as others do."""
    auth = f"{about.prefix}/auth"
    nginx = (("X-Original-Method", "GET"), ("X-Original-URI", about.decoy))
    others = (
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", about.decoy),
        ("X-Forwarded-Host", about.authority),
    )
    asked = {
        auth: nginx,
        f"{auth}?": others,
        f"{auth}/": nginx,
        f"{auth}/nginx": nginx,
        f"{auth}/traefik": others,
        f"{auth}/envoy{about.decoy}": (),
        f"{about.prefix}/%61uth": nginx,
        f"{about.prefix}//auth/nginx": nginx,
        f"{about.prefix}/x/../auth/nginx": nginx,
    }
    for target, fields in asked.items():
        yield Probe(
            group="endpoint",
            name="asking as the ingress does",
            sent=f"GET {target}",
            request=Request(target=target, headers=(*SCRIPT, *fields)),
        )
