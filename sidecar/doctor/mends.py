"""The line of configuration that mends a finding, for each ingress of config/ingress/."""

from __future__ import annotations

from typing import Final

from sidecar.doctor.wire import Answer

__all__ = ["INGRESSES", "guess_ingress", "mend"]

INGRESSES: Final = ("nginx", "ingress-nginx", "traefik", "caddy", "envoy", "haproxy")

_BY_SERVER: Final = {"nginx": "nginx", "openresty": "nginx", "caddy": "caddy", "envoy": "envoy"}

_MENDS: Final[dict[str, dict[str, str]]] = {
    "gate": {
        "nginx": "auth_request /oauth2/auth; in the location of the application",
        "ingress-nginx": "nginx.ingress.kubernetes.io/auth-url on the application's Ingress",
        "traefik": "middlewares: [doorward] on each router of the application",
        "caddy": "import doorward before the application's reverse_proxy",
        "envoy": "the ext_authz filter before the router, failure_mode_allow: false",
        "haproxy": "http-request lua.doorward, then deny unless { var(txn.doorward) -m str yes }",
    },
    "refusal": {
        "nginx": "error_page 401 403 = @doorward_answers; without a redirect for every 401",
        "ingress-nginx": "auth-signin with cause=denied; its page has the snippet that lets 401 through",
        "traefik": "no errors middleware for 401; Traefik hands Doorward's answer on by itself",
        "caddy": "no handle_response for other statuses than 2xx",
        "envoy": "no local_reply_config for 401",
        "haproxy": "no http-request redirect or errorfile for 401; doorward.lua hands Doorward's answer on",
    },
    "websocket": {
        "nginx": "auth_request in the location of the WebSocket too; a location of its own has none",
        "ingress-nginx": "auth-url on the WebSocket's Ingress too",
        "traefik": "middlewares: [doorward] on the WebSocket's router too",
        "caddy": "import doorward before the WebSocket's reverse_proxy too",
        "envoy": "no ExtAuthzPerRoute with disabled: true on the WebSocket's route",
        "haproxy": "no http-request allow or use_backend past the rule lua.doorward",
    },
    "identity": {
        "nginx": "proxy_set_header for each X-Auth-Request-*; underscores_in_headers off;",
        "ingress-nginx": "auth-response-headers: each X-Auth-Request-*; enable-underscores-in-headers: false",
        "traefik": "authResponseHeaders and authResponseHeadersRegex, aliasHeadersStrategy: delete",
        "caddy": "request_header -X-Auth-Request-*, then -*_* and -*.*, before they are set",
        "envoy": "headers_with_underscores_action: DROP_HEADER; remove_on_match before ext_authz",
        "haproxy": "http-request del-header [^a-z0-9-] -m reg; every header in DOORWARD_HEADERS",
    },
    "connection": {
        "nginx": 'proxy_set_header Connection $connection_to_application; with "" for no upgrade',
        "ingress-nginx": "nothing: it writes Connection anew",
        "traefik": "a release of Traefik that keeps what forwardAuth has set (3.7)",
        "caddy": "request_header @plain -Connection",
        "envoy": "append_action: OVERWRITE_IF_EXISTS for connection, before ext_authz",
        "haproxy": "http-request del-header Connection unless is_upgrade has_key",
    },
    "forwarded": {
        "nginx": "proxy_set_header X-Original-URI $request_uri; and X-Original-Method $request_method;",
        "ingress-nginx": "use-forwarded-headers: false; it tells X-Original-URL by itself",
        "traefik": "trustForwardHeader: false, and no forwardedHeaders.insecure on the entry point",
        "caddy": "header_up X-Forwarded-Uri {uri}, X-Forwarded-Method {method}; no trusted_proxies",
        "envoy": "use_remote_address: true, and path_prefix: /oauth2/auth/envoy",
        "haproxy": "http-request del-header ^(x-forwarded|x-original)- -m reg, before lua.doorward",
    },
    "client": {
        "nginx": "proxy_set_header X-Forwarded-For $remote_addr; X-Real-IP too; X-Forwarded-Host $http_host;",
        "ingress-nginx": "use-forwarded-headers: false",
        "traefik": "no forwardedHeaders.insecure on the entry point; trustedIPs of proxies in front alone",
        "caddy": "request_header -X-Real-Ip; trusted_proxies of proxies in front alone",
        "envoy": "use_remote_address: true; remove_on_match for X-Real-IP and X-Forwarded-Host",
        "haproxy": "http-request set-header X-Forwarded-For %[src], after del-header of the others",
    },
    "path": {
        "nginx": "auth_request in `location /`, none without it; X-Original-URI $request_uri, not $uri",
        "ingress-nginx": "no Ingress without auth-url for a public prefix; let Doorward's rules open it",
        "traefik": "no router without the middleware for a public prefix; let Doorward's rules open it",
        "caddy": "no handle without `import doorward` for a public prefix; let Doorward's rules open it",
        "envoy": "normalize_path and merge_slashes: true; no public route with ext_authz disabled",
        "haproxy": "no http-request allow if { path_beg ... }; let Doorward's rules open paths",
    },
    "endpoint": {
        "nginx": "location /oauth2/auth { return 404; }, and internal; in `location = /oauth2/auth`",
        "ingress-nginx": "pathType: Exact for each page of Doorward's; no path for all of /oauth2/",
        "traefik": "the router doorward-asked with the middleware doorward-nobody",
        "caddy": "handle /oauth2/auth* { respond 404 } before handle /oauth2/*",
        "envoy": "direct_response: {status: 404} for the prefix /oauth2/auth, before /oauth2/",
        "haproxy": "http-request deny deny_status 404 if { path -m beg /oauth2/ } !is_doorward",
    },
    "upgrade": {
        "nginx": "map $http_upgrade: only websocket may be passed on as Upgrade",
        "ingress-nginx": "nothing: an h2c upgrade is not passed on",
        "traefik": "nothing: an h2c upgrade is not passed on",
        "caddy": "request_header @plain -Upgrade",
        "envoy": "upgrade_configs: [{upgrade_type: websocket}] and no other",
        "haproxy": "http-request del-header Upgrade unless is_upgrade has_key",
    },
}
_MENDS["method"] = _MENDS["forwarded"]
_MENDS["rerouting"] = {
    "nginx": 'proxy_set_header X-Original-URL ""; and so for each that is named',
    "ingress-nginx": "nothing by annotation; proxy-set-headers of the ConfigMap empties each that is named",
    "traefik": 'customRequestHeaders: {X-Original-Url: ""} and so for each that is named',
    "caddy": "request_header -X-Original-Url, and so for each that is named",
    "envoy": "remove_on_match with each that is named",
    "haproxy": "http-request del-header with each that is named",
}


def guess_ingress(answer: Answer) -> str | None:
    """Return which ingress says that it is one, in the field Server, or in Via as Caddy does."""
    server = answer.value("server").lower().partition("/")[0].strip()
    via = answer.value("via").lower().split(" ")[-1]
    return _BY_SERVER.get(server) or _BY_SERVER.get(via)


def mend(group: str, ingress: str | None) -> list[tuple[str, str]]:
    """Return ingress and line; that of one ingress, else of all."""
    lines = _MENDS.get(group, {})
    return [(name, lines[name]) for name in INGRESSES if name in lines and ingress in {None, name}]
