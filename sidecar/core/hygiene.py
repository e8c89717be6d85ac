"""Which of a client's header fields may go upstream: identity names, forwarded names, hop-by-hop, aliases.

Theory of operation. What an upstream believes of us it must not be able to get from a client, under any
spelling. Servers fold names: CGI and WSGI turn "-" into "_", PHP folds dots too, lighttpd's CGI every sign.
So a name is *folded* (lower case, every sign one "-") before it is looked up, and one that holds any other
sign than "-" is dropped unless the operator keeps it (S41, S42). A name is dropped when its folded form is

- one that we set ourselves on this site (S44: also when the user lacks the claim),
- in a family by which a peer of ours tells identities, whatever family is in use here,
- a forwarded header (rebuilt by `core.forwarded`, S48), or one that re-routes behind our back,
- hop-by-hop (RFC 9110 §7.6.1, S46) or body framing, which engines write anew.

The outcome is a small number, `kind`, remembered by the name's exact bytes: a request costs one dictionary
look-up for each field. There is one way through here, for skipped paths, preflights, upgrades and all else
(S43).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import BadRequest
from sidecar.core.recurring import Recurring

if TYPE_CHECKING:
    from sidecar.core.http import HeaderPair

__all__ = [
    "FORWARDED_NAMES",
    "IDENTITY_NAMES",
    "InboundNames",
    "fold",
    "nominated_names",
    "without_nominated",
]

KEEP: Final = 0
DROP: Final = 1
COOKIE: Final = 2  # our own cookies are cut out of it (S40)
HOST: Final = 3
CONNECTION: Final = 4  # dropped, its nominations removed before anything of ours is added (S45)
UPGRADE: Final = 5  # dropped; a valid WebSocket handshake is written anew by the engine (S54)
TRUSTED: Final = 6  # kept from trusted proxies, dropped from anybody else

_FOLD: Final = bytes(byte if bytes((byte,)).isalnum() else ord("-") for byte in bytes(range(256)).lower())


def fold(name: bytes) -> bytes:
    """Return the name in lower case with every octet that is no letter or digit as "-" (S41)."""
    return name.translate(_FOLD)


# Names that end with "-" are families: every name that begins so. The rest are exact. All in folded form.
IDENTITY_NAMES: Final[dict[str, str]] = {
    "x-forwarded-": "oauth2-proxy's -User, -Email, -Groups, -Access-Token; Envoy's -Client-Cert; S48",
    "x-auth-request-": "oauth2-proxy's answers to nginx auth_request",
    "gap-auth": "oauth2-proxy, the user's e-mail",
    "gap-signature": "oauth2-proxy, signed requests",
    "remote-": "Authelia's Remote-User and kin; REMOTE_USER of CGI and WSGI, REMOTE_ADDR with it",
    "x-remote-": "Dex's authproxy connector, Kubernetes' authenticating proxy",
    "impersonate-": "Kubernetes: whoever is believed as a proxy may act as anybody",
    "x-webauth-": "Grafana, Gitea, Forgejo",
    "x-pomerium-": "Pomerium's assertion and claims",
    "x-goog-authenticated-user-": "Google Identity-Aware Proxy, unsigned",
    "x-goog-iap-": "Google Identity-Aware Proxy, signed",
    "x-serverless-authorization": "Google Cloud Run",
    "cf-access-": "Cloudflare Access",
    "x-auth-params-": "OpenMetadata's header mode",
    "x-amzn-oidc-": "AWS Application Load Balancer",
    "x-amzn-mtls-": "AWS Application Load Balancer, client certificates",
    "x-authentik-": "authentik's outpost",
    "x-vouch-": "vouch-proxy",
    "x-token-": "Keycloak Gatekeeper and louketo: X-Token-Subject and kin come with X-Auth-*",
    "x-auth-subject": "Keycloak Gatekeeper",
    "x-auth-userid": "Keycloak Gatekeeper",
    "x-auth-username": "Keycloak Gatekeeper",
    "x-auth-email": "Keycloak Gatekeeper",
    "x-auth-expiresin": "Keycloak Gatekeeper",
    "x-auth-groups": "Keycloak Gatekeeper",
    "x-auth-roles": "Keycloak Gatekeeper",
    "x-ms-client-principal": "Azure App Service",
    "x-ms-client-principal-": "Azure App Service",
    "x-ms-token-": "Azure App Service, the provider's tokens",
    "x-arr-clientcert": "Azure App Service, client certificate",
    "oidc-": "mod_auth_openidc: OIDC_CLAIM_*, OIDC_access_token and kin",
    "x-userinfo": "lua-resty-openidc in APISIX and Kong",
    "x-id-token": "lua-resty-openidc in APISIX and Kong",
    "x-consumer-": "Kong, APISIX",
    "x-credential-": "Kong, APISIX",
    "x-anonymous-consumer": "Kong",
    "x-authenticated-": "Kong: X-Authenticated-Userid, -Scope, -Groups",
    "x-endpoint-api-userinfo": "Google Cloud Endpoints",
    "x-apigateway-api-userinfo": "Google API Gateway",
    "x-tailscale-": "Tailscale's nginx-auth",
    "tailscale-": "Tailscale serve",
    "kubeflow-userid": "Kubeflow",
    "x-jwt-assertion": "WSO2",
    "x-doorward-": "ours: the assertion's default name and any to come",
    "doorward-": "ours: how we mark answers of our own",
    "username": "the authorization-username-email preset",
    "email": "the authorization-username-email preset",
    "ssl-client-": "nginx and Apache, client certificates",
    "x-ssl-client-": "nginx, HAProxy, client certificates",
    "x-client-cert": "client certificates",
    "x-client-verify": "client certificates",
    "x-client-dn": "client certificates",
    "client-cert": "client certificates (RFC 9440)",
    "client-cert-chain": "client certificates (RFC 9440)",
}

# Where a request comes from and what it "really" was. Rebuilt from what we know, never passed on (S48).
FORWARDED_NAMES: Final[dict[str, str]] = {
    "forwarded": "RFC 7239; rebuilt",
    "x-real-ip": "nginx; rebuilt",
    "x-forwarded": "a misspelling that some servers read",
    "x-client-ip": "the client's address, as several servers call it",
    "client-ip": "likewise",
    "true-client-ip": "Akamai, Cloudflare",
    "cf-connecting-ip": "Cloudflare",
    "cf-connecting-ipv6": "Cloudflare",
    "cf-ipcountry": "Cloudflare",
    "fastly-client-ip": "Fastly",
    "x-cluster-client-ip": "Rackspace, Riverbed",
    "x-appengine-user-ip": "Google App Engine",
    "x-azure-clientip": "Azure Front Door",
    "x-azure-socketip": "Azure Front Door",
    "x-envoy-": "Envoy's internal headers: -External-Address, -Original-Path, -Internal",
    "x-original-": "-URL, -URI, -Method, -Host: IIS, Symfony, nginx; re-route past our decision",
    "x-rewrite-url": "IIS, Zend: re-routes past our decision",
    "x-host": "read before Host by some frameworks",
    "x-scheme": "nginx ingress",
    "x-url-scheme": "read as X-Forwarded-Proto",
    "front-end-https": "Microsoft, read as X-Forwarded-Proto",
    "x-sendfile-type": "Rack: makes a server send files",
    "x-accel-mapping": "Rack: likewise",
    "proxy": "becomes HTTP_PROXY in CGI programs (httpoxy, CVE-2016-5385)",
}

# RFC 9110 §7.6.1 and what it grew out of; framing is the engine's (RFC 9112 §6); none may be kept.
_CONNECTION_NAMES: Final[dict[str, int]] = {
    "connection": CONNECTION,
    "upgrade": UPGRADE,
    "keep-alive": DROP,
    "proxy-connection": DROP,
    "proxy-authenticate": DROP,
    "proxy-authorization": DROP,
    # `TE: trailers` would ask for what we drop (trailers carry names that nobody cleaned, S52).
    "te": DROP,
    "trailer": DROP,
    "transfer-encoding": DROP,
    "content-length": DROP,
    "expect": DROP,
    "http2-settings": DROP,
}

# These turn a POST into a DELETE behind a rule that allowed POST. Passed on only where no rule of the site
# speaks of methods: there the answer would be the same for each of them (S59).
_METHOD_OVERRIDES: Final = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})

_SPECIAL: Final[dict[str, int]] = {
    "host": HOST,
    "cookie": COOKIE,
    "x-forwarded-prefix": TRUSTED,
} | _CONNECTION_NAMES

# A `Connection` option names a field of this connection only; a sender must not nominate one meant for all
# recipients (RFC 9110 §7.6.1). A client that does so with a field on which somebody's decision rests is
# trying to make two recipients see two requests: the nomination is ignored, the field stays (S45).
_END_TO_END: Final = frozenset(
    b"accept accept-encoding accept-language authorization cache-control content-disposition content-encoding"
    b" content-language content-location content-range content-type cookie cookie2 date dpop expect from host"
    b" if-match if-modified-since if-none-match if-range if-unmodified-since origin pragma range referer"
    b" user-agent x-csrf-token x-csrftoken x-xsrf-token x-requested-with".split()
)
_END_TO_END_FAMILIES: Final = (b"sec-", b"access-control-", b"x-forwarded-")

_PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})

_MAX_REMEMBERED: Final = 2048  # names; a browser and its applications use some sixty
_MAX_REMEMBERED_BYTES: Final = 64  # a longer name is looked at each time, so that memory stays bounded


def _split(names: Iterable[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Part exact names from families."""
    known = tuple(names)
    return frozenset(n for n in known if not n.endswith("-")), tuple(n for n in known if n.endswith("-"))


_DROPPED, _DROPPED_FAMILIES = _split((*IDENTITY_NAMES, *FORWARDED_NAMES))


class InboundNames:
    """What happens to each header name on its way upstream at one site.

    `set_names` are the names that we set upstream; `keep` are names in lower case that the operator wants to
    pass although a rule above would drop them. Neither a name that we set nor one of the connection can be
    kept.
    """

    __slots__ = ("_keep", "_overrides", "_set", "kinds")

    def __init__(self, set_names: Iterable[str], keep: Iterable[str], *, rules_name_methods: bool) -> None:
        """Prepare the tables; nothing is remembered yet."""
        self._set = frozenset(fold(name.encode("ascii")).decode("ascii") for name in set_names)
        self._keep = frozenset(name.lower() for name in keep)
        self._overrides = _METHOD_OVERRIDES if rules_name_methods else frozenset[str]()
        self.kinds = Recurring(self._judge, entries=_MAX_REMEMBERED, max_bytes=_MAX_REMEMBERED_BYTES)

    def clean(
        self, headers: Sequence[HeaderPair], *, is_trusted: bool
    ) -> tuple[list[HeaderPair], bytes | None, bool]:
        """Return the fields that may go upstream, the cookies, and whether there is an `Upgrade`.

        Host stands first; Cookie is not among the fields: its values are returned joined, as RFC 9113 §8.2.3
        joins them, None when there is none. `is_trusted`: the direct peer is a trusted proxy.

        Raises BadRequest("invalid_request") for a second Host (RFC 9112 §3.2, S49).
        """
        kept: list[HeaderPair] = []
        cookie: bytes | None = None
        has_host = has_upgrade = False
        connection: list[bytes] = []
        kinds, keep = self.kinds, kept.append
        for pair in headers:
            kind = kinds[pair[0]]
            if not kind:  # KEEP
                keep(pair)
            elif kind == COOKIE:
                cookie = pair[1] if cookie is None else cookie + b"; " + pair[1]
            elif kind == HOST:
                if has_host:
                    raise BadRequest("invalid_request", "more than one Host")
                has_host = True
                kept.insert(0, pair)
            elif kind == CONNECTION:
                if pair[1] not in _PLAIN_CONNECTION:
                    connection.append(pair[1])
            elif kind == UPGRADE:
                has_upgrade = True
            elif kind == TRUSTED and is_trusted:
                keep(pair)
        if connection:
            kept = without_nominated(kept, nominated_names(connection))
        return kept, cookie, has_upgrade

    def _judge(self, name: bytes) -> int:
        lower = name.decode("latin-1").lower()
        folded = fold(name).decode("ascii")
        if folded in _SPECIAL and lower != folded:
            return DROP  # `Transfer_Encoding`, `Host.`: an alias of what somebody frames or routes by
        if folded in _CONNECTION_NAMES:
            return _CONNECTION_NAMES[folded]
        if folded in self._set:
            return DROP
        if folded in _SPECIAL:
            return KEEP if lower in self._keep and _SPECIAL[folded] == TRUSTED else _SPECIAL[folded]
        if lower in self._keep:
            return KEEP
        if lower != folded or folded in self._overrides:
            return DROP
        return DROP if folded in _DROPPED or folded.startswith(_DROPPED_FAMILIES) else KEEP


def nominated_names(values: Iterable[bytes]) -> frozenset[bytes]:
    """Return the names in lower case that `Connection` values nominate, without those meant for everybody."""
    names = {option.strip(b" \t").lower() for value in values for option in value.split(b",")}
    return frozenset(
        name for name in names if name not in _END_TO_END and not name.startswith(_END_TO_END_FAMILIES)
    )


def without_nominated(headers: Sequence[HeaderPair], names: frozenset[bytes]) -> list[HeaderPair]:
    """Return the fields whose name is not nominated."""
    return [pair for pair in headers if pair[0].lower() not in names]
