"""The compiled configuration: one immutable `Runtime`, read once per request and swapped whole.

`sidecar.config` makes it from `doorward.yaml`; nothing in here knows YAML, files or the environment. What
changes while we run (sessions seen, revocations, pools, provider keys) lives outside: `core.state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sidecar.core.rules import RuleTable
    from sidecar.core.seal import KeyRing
    from sidecar.core.secret import Secret

__all__ = [
    "AssertionPolicy",
    "ClaimNames",
    "CookiePolicy",
    "ForwardAuthPolicy",
    "HeaderPolicy",
    "HeaderRule",
    "Limits",
    "ListenerTls",
    "Network",
    "Origin",
    "Provider",
    "Route",
    "Runtime",
    "SessionPolicy",
    "Site",
    "Upstream",
    "UpstreamTls",
]

type Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port (RFC 6454); host in lower-case ASCII (IDNA), IPv6 without brackets."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Return host and, unless it is the scheme's default, port, as in a Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Return it as in an Origin field."""
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTls:
    """How we speak TLS to an upstream. Paths are files that the engine reads (and re-reads)."""

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where requests go; known from configuration only, never from a request (S40).

    Either `host` and `port`, or `unix_path`. `host_header` None passes Host as the browser sent it.
    `keepalive_seconds` is how long an idle pooled connection is kept (less than Node's 5 s).
    `response_seconds` None = wait for the answer's head without limit.
    """

    name: str
    scheme: Literal["http", "https"]
    host: str
    port: int
    unix_path: str | None = None
    tls: UpstreamTls | None = None
    host_header: str | None = None
    connect_seconds: float = 5.0
    response_seconds: float | None = None
    keepalive_seconds: float = 4.0
    max_idle_connections: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Requests of a site whose canonical path starts with `prefix` ("/" = all) go to `upstream`.

    A prefix ends at a segment boundary; the longest wins. The path is forwarded unchanged.
    """

    prefix: str
    upstream: Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNames:
    """Which claims (by dotted path) hold what. `user` is a list: the first one present wins."""

    user: tuple[str, ...] = ("sub",)
    email: str = "email"
    email_verified: str = "email_verified"
    preferred_username: str = "preferred_username"
    name: str = "name"
    groups: str = "groups"
    roles: str = "roles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One identity provider of a site, as facts. Endpoints left None come from discovery.

    `auth_method` is how we authenticate at its token endpoint (OIDC Core §9). `assertion_audience` None = the
    issuer. `redirect_path` is our callback's path for this provider. `max_state_chars` is how long a `state`
    it takes (X: 500). `call_seconds` and `call_max_bytes` limit each call in total. `userinfo`: "auto" asks
    UserInfo when a needed claim is missing from the ID token.
    `is_development`: it may be an embedded provider (S72), which no configuration file can say.
    """

    key: str
    type: str
    display_name: str
    issuer: str
    client_id: str
    redirect_path: str
    client_secret: Secret | None = None
    auth_method: Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"] = "none"
    private_key: Secret | None = None
    private_key_id: str | None = None
    private_key_alg: str = "RS256"
    assertion_audience: str | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    response_mode: Literal["query", "form_post"] = "query"
    audience: str | None = None
    extra_params: tuple[tuple[str, str], ...] = ()
    forwarded_params: frozenset[str] = frozenset()
    max_state_chars: int = 3000
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    jwks_uri: str | None = None
    end_session_endpoint: str | None = None
    discovery: bool = True
    discovery_url: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256", "PS256", "EdDSA", "RS384", "RS512", "ES384", "ES512")
    claims: ClaimNames = field(default_factory=ClaimNames)
    require_verified_email: bool = True
    userinfo: Literal["auto", "always", "never"] = "auto"
    leeway_seconds: float = 60.0
    call_seconds: float = 10.0
    call_max_bytes: int = 1 << 20
    keys_min_refetch_seconds: float = 60.0
    ca_file: str | None = None
    http_proxy: str | None = None
    insecure_http: bool = False
    is_development: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CookiePolicy:
    """Our cookies of one site. `session_name` and `transaction_name` hold any `__Host-` prefix and port.

    Chunks are called `<session_name>.0`, `.1`, ...; a login's cookie `<transaction_name>.<8 characters>`.
    `outside`: the name of a host that shares no cookie with public_url's: they are that host's alone there.
    """

    session_name: bytes
    transaction_name: bytes
    secure: bool
    same_site: Literal["Lax", "Strict", "None"] = "Lax"
    partitioned: bool = False
    domain: str | None = None
    outside: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """Life times in seconds, on our clock. `store` is "cookie" or the name of a server-side store.

    `refresh_before_seconds`: a session is refreshed when its access token has less than that left,
    and less than half of its life.
    `keep_access_token`, `keep_id_token`: only where something of the site needs them.
    `kept_claims`: dotted paths of claims that rules or headers need beyond those of Identity.
    """

    keys: KeyRing
    idle_seconds: float = 3600.0
    absolute_seconds: float = 43200.0
    store: str = "cookie"
    refresh_before_seconds: float = 60.0
    keep_access_token: bool = False
    keep_id_token: bool = True
    kept_claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderRule:
    """One identity header: `name` gets the value of `source`.

    `source` is "user", "email", "groups", "roles", "preferred_username", "name", "subject", "issuer",
    "access_token", "id_token", or "claim:<dotted path>". `prefix` goes in front ("Bearer ", say).
    """

    name: str
    source: str
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionPolicy:
    """A signed ES256 assertion per request (option). `keys`: EC P-256 private keys, PEM; the first signs."""

    header: str
    keys: tuple[Secret, ...]
    issuer: str
    audience: str
    lifetime_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderPolicy:
    """Identity headers: `upstream` when proxying, `auth_response` on answers of the auth endpoint.

    `keep_inbound` are names (lower case) that the operator wants to pass although they look like identity
    headers; names that we set ourselves are removed nevertheless.
    """

    upstream: tuple[HeaderRule, ...]
    auth_response: tuple[HeaderRule, ...]
    assertion: AssertionPolicy | None = None
    keep_inbound: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One host (and its aliases) with its own upstreams, providers, rules and cookies.

    `prefix` is where our endpoints are ("/oauth2"), without a slash at its end. `hosts` are the authorities
    (lower case, without default port) of public_url and aliases. `trusted_origins` may read our 401s and
    send cookie-authenticated unsafe requests (S39). `sign_in`: "redirect" goes to the only provider at once,
    "page" shows our sign-in page first (keeps the URL's fragment). `csrf_check` is S39's.
    `return_hosts` are further hosts that a return URL may name (S62).
    `dev_banner` marks each answer as a development one (S72).
    """

    name: str
    public_url: Origin
    hosts: frozenset[str]
    prefix: str
    routes: tuple[Route, ...]
    providers: Mapping[str, Provider]
    rules: RuleTable
    cookie: CookiePolicy
    session: SessionPolicy
    headers: HeaderPolicy
    sign_in: Literal["redirect", "page"] = "redirect"
    trusted_origins: frozenset[str] = frozenset()
    return_hosts: frozenset[str] = frozenset()
    csrf_check: bool = True
    dev_banner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one peer may cost us (S56), and all sessions together. Seconds, bytes, counts; None = no limit.

    `head_seconds`: a whole head must arrive within it. `body_min_rate`: bytes per second that a body must
    reach over `body_grace_seconds` while we want to read (a large one that flows has no total limit).
    """

    max_head_bytes: int = 65536
    max_headers: int = 128
    max_target_bytes: int = 16384
    head_seconds: float = 10.0
    body_grace_seconds: float = 20.0
    body_min_rate: int = 100
    idle_seconds: float = 75.0
    max_connections: int = 10000
    session_memory_bytes: int = 64 << 20
    drain_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTls:
    """TLS on the public listener; the files are re-read when they change.

    `client_ca_file`: nobody is heard who shows no certificate of this authority.
    """

    certificate_file: str
    key_file: str
    client_ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardAuthPolicy:
    """Who may ask about requests of others (S75): every condition that is there must hold, and one must be.

    `callers` are networks, `trusts_unix` stands for whoever connects to our unix socket; `secret` is what the
    caller sends in `X-Doorward-Secret`; `needs_certificate`: the caller has shown a client certificate, which
    the listener has checked. `grpc` is the address of Envoy's gRPC form.
    """

    callers: tuple[Network, ...] = ()
    trusts_unix: bool = False
    secret: Secret | None = None
    needs_certificate: bool = False
    grpc: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Everything a decision reads. `listen` and `admin` are "host:port" or "unix:/path".

    `trusts_unix_peers`: whoever connects to our unix socket is a trusted proxy, as those of
    `trusted_proxies` are (it has no address by which it could be listed). `mode` and `authority_folder`
    (None: a place of its own choice) are the interception engine's. `forward_auth` None: nobody may ask.
    `compat` is the peer whose paths, parameters and statuses are kept to where they differ from ours.
    """

    sites: tuple[Site, ...]
    trusted_proxies: tuple[Network, ...]
    listen: str
    admin: str | None
    trusts_unix_peers: bool = False
    tls: ListenerTls | None = None
    limits: Limits = field(default_factory=Limits)
    workers: int = 1
    engine: Literal["express", "interception"] = "express"
    mode: str = "reverse"
    authority_folder: str | None = None
    forward_auth: ForwardAuthPolicy | None = None
    compat: Literal["oauth2-proxy"] | None = None
    access_log: bool = True
    log_format: Literal["json", "console"] = "json"
    log_level: str = "info"
