"""The embedded OpenID provider: for the demo, for development and for tests. Never for anything else.

Owns: discovery, authorization, token, UserInfo, key, logout and back-channel logout of a small provider at
which everybody may be anybody. Depends on: the engines' seam, `pages` for how it looks, `effects` for the
calls of back-channel logout. Leaves to others: serving it, on a loopback address (`serve` sees to that).

    DevProvider              the protocol, sans-I/O: handle(request) -> Reply
    DevIdentityProvider      the same as an Application for an engine

What keeps it apart from the real thing (S72): it starts only when told `development=True`, listens on
loopback only, answers only loopback peers that call it by its issuer's host, signs with a key that lives and
dies with the process, marks its metadata and tokens (`core.development`), and each answer carries a field
that says so.
"""

from __future__ import annotations

from sidecar.devidp.application import DevIdentityProvider
from sidecar.devidp.mode import in_development
from sidecar.devidp.people import PEOPLE
from sidecar.devidp.provider import DevProvider
from sidecar.devidp.serving import check_listen, serve
from sidecar.devidp.values import Client, LogoutNotice, Person, ProviderRequest, Reply

__all__ = [
    "PEOPLE",
    "Client",
    "DevIdentityProvider",
    "DevProvider",
    "LogoutNotice",
    "Person",
    "ProviderRequest",
    "Reply",
    "check_listen",
    "in_development",
    "serve",
]
