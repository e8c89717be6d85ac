"""How each ingress tells of the original request, and which answer it wants: one row each.

A row believes the fields that it names and no others: whatever else a client sent along under the name of a
forwarded field is nobody's word. `core.forwardauth.asks` says how a row is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

__all__ = ["BY_NAME", "COMPAT", "COMPAT_AT_ROOT", "DETECTED", "ENVOY", "Dialect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One way to ask. Names of fields are in lower case.

    `method`: the field with the original method; "" for the asking request's own, None where nothing tells it
    (then only what every method may do is allowed). `target`: the field with the original target; "" where it
    is the rest of the asked path. `is_url`: that field holds a whole URL, which tells the host too. `host`:
    the field with the original host, "" for Host itself, which also stands in for one that `may_lack_host`.
    `address`: the field that ends with the address
    which the ingress saw.

    `to_sign_in` is the answer to a navigation without a session: a redirect, 401 with a Location that the
    ingress turns into one (nginx fails on any status but 2xx, 401 and 403), or a bare 401. `narrow_statuses`:
    no other refusals than 401 and 403. `wants_200`: no other yes, whatever `compat` says.
    `numbers_cookies`: each Set-Cookie is told in a field of its own too, for an ingress that can only copy
    single fields. `loses` says what an ingress of this kind drops of a renewed session, in words for an
    operator; "" where its file in config/ingress drops nothing.
    """

    name: str
    method: bytes | None
    target: bytes
    is_url: bool = False
    host: bytes = b"x-forwarded-host"
    may_lack_host: bool = False
    scheme: bytes = b"x-forwarded-proto"
    address: bytes = b"x-forwarded-for"
    to_sign_in: Literal["redirect", "location", "unauthorized"] = "redirect"
    narrow_statuses: bool = False
    wants_200: bool = False
    numbers_cookies: bool = False
    loses: str = ""


_NGINX: Final = Dialect(
    name="nginx",
    method=b"x-original-method",
    target=b"x-original-uri",
    host=b"",
    to_sign_in="location",
    narrow_statuses=True,
    numbers_cookies=True,
)
_INGRESS_NGINX: Final = Dialect(
    name="ingress-nginx",
    loses="without its page's snippets, all cookies of a renewed session but the first",
    method=b"x-original-method",
    target=b"x-original-url",
    is_url=True,
    host=b"",
    to_sign_in="location",
    narrow_statuses=True,
    numbers_cookies=True,
)
_TRAEFIK: Final = Dialect(name="traefik", method=b"x-forwarded-method", target=b"x-forwarded-uri")
_CADDY: Final = Dialect(
    name="caddy", method=b"x-forwarded-method", target=b"x-forwarded-uri", numbers_cookies=True
)
_HAPROXY: Final = Dialect(name="haproxy", method=b"x-forwarded-method", target=b"x-forwarded-uri")
ENVOY: Final = Dialect(
    name="envoy",
    method=b"",
    target=b"",
    host=b"",
    wants_200=True,
    loses="in Envoy Gateway's HTTP form, every cookie of a renewed session; ask by gRPC there",
)
"""Envoy's ext_authz: its `path_prefix` stands in front of the original target. gRPC is turned into this."""

COMPAT: Final = Dialect(
    name="oauth2-proxy",
    method=None,
    target=b"x-forwarded-uri",
    may_lack_host=True,
    address=b"x-real-ip",
    to_sign_in="unauthorized",
    narrow_statuses=True,
)
"""What oauth2-proxy's recipes send. In none do all ingresses overwrite a field with the method."""

COMPAT_AT_ROOT: Final = Dialect(name="oauth2-proxy", method=b"x-forwarded-method", target=b"x-forwarded-uri")
"""What oauth2-proxy's second recipe for Traefik sends, to the root; the browser gets our answers."""

DETECTED: Final = (_NGINX, _INGRESS_NGINX, _TRAEFIK)
"""The rows that a plain `auth` may mean, told apart by the fields that are there. Caddy asks as Traefik."""

BY_NAME: Final[Mapping[str, Dialect]] = MappingProxyType(
    {row.name: row for row in (_NGINX, _INGRESS_NGINX, _TRAEFIK, _CADDY, _HAPROXY, ENVOY)}
)
