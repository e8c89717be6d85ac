"""Ingresses that ask Doorward, with their files of config/ingress/ reduced to the question.

Each runs on one core, with one worker or thread, without an access log, and keeps its connections; asked for
no question it is a bare proxy of the very same settings. What else a file holds (the refusal of forged
fields, pages for a refusal) is left out on both sides: it is no part of the question.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from bench.processes import ROOT, SUBJECT_CORE, Subject, free_port, started
from bench.subjects import doorward_yaml, pinned_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "OAUTH2_PROXY",
    "Asked",
    "caddy",
    "doorward_at_socket",
    "envoy",
    "nginx",
    "nginx_asking",
    "traefik",
]

_CONFIG: Final = ROOT / "config" / "ingress"
_NGINX: Final = """
  upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  upstream doorward {{ server {asked}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ {asks}
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto http; }}
    {location} }}
"""
OAUTH2_PROXY: Final = (
    # Its published recipe, with connections that are kept.
    """auth_request /oauth2/auth;
      auth_request_set $user $upstream_http_x_auth_request_user; proxy_set_header X-User $user;
      auth_request_set $email $upstream_http_x_auth_request_email; proxy_set_header X-Email $email;""",
    """location = /oauth2/auth { internal; proxy_pass http://doorward; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-Uri $request_uri;
      proxy_set_header Content-Length ""; proxy_pass_request_body off; }""",
)
"""What nginx needs to ask oauth2-proxy: the lines of the application's location, and the other location."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom an ingress asks: by HTTP at `port`, over `socket` if there is one, by gRPC at `grpc_port`."""

    port: int
    grpc_port: int | None = None
    socket: Path | None = None

    @property
    def address(self) -> str:
        """Return where nginx finds it."""
        return f"127.0.0.1:{self.port}" if self.socket is None else f"unix:{self.socket}"


def nginx_asking() -> tuple[str, str]:
    """Return the same for Doorward, out of config/ingress/nginx.conf."""
    text = (_CONFIG / "nginx.conf").read_text("utf-8")
    wanted = r"^ *((?:auth_request|auth_request_set|proxy_set_header X-Auth|add_header Set-Cookie)\b[^;]*;)"
    lines = re.findall(wanted, text, re.MULTILINE)
    # The lines about a refusal's location lead nowhere without the location that answers.
    location = re.search(r"^ *location = /oauth2/auth \{.*?^ *\}$", text, re.MULTILINE | re.DOTALL)
    if not lines or location is None:
        raise RuntimeError("config/ingress/nginx.conf has no question in it")
    return "\n".join(lines), location[0]


@contextlib.contextmanager
def doorward_at_socket(
    folder: Path, upstream_port: int, socket: Path, options: dict[str, str]
) -> Iterator[Subject]:
    """Run Doorward with one worker, listening on a Unix socket; its admin port tells when it is there."""
    port = free_port()
    own = {"listen": f"unix:{socket}", "admin": f"127.0.0.1:{port}"}
    conf = _write(folder, "doorward-at-socket.yaml", doorward_yaml(0, upstream_port, {**options, **own}))
    conf.chmod(0o600)
    command = [sys.executable, "-m", "sidecar", "run", "--config", str(conf)]
    with started("doorward-at-socket", command, port, log=conf.with_suffix(".log")) as subject:
        socket.chmod(0o777)  # nginx's worker is another user when root starts the run
        yield subject


@contextlib.contextmanager
def nginx(  # noqa: PLR0917  what a row is made of
    folder: Path, name: str, port: int, upstream_port: int, asked: Asked, texts: tuple[str, str]
) -> Iterator[Subject]:
    """Run nginx with auth_request, otherwise with the settings of the bare one."""
    asks, location = texts
    body = _NGINX.format(upstream=upstream_port, asked=asked.address, port=port, asks=asks, location=location)
    with pinned_nginx(folder, name, body, port, core=SUBJECT_CORE) as subject:
        yield subject


@contextlib.contextmanager
def envoy(
    program: str, folder: Path, port: int, upstream_port: int, asked: Asked | None
) -> Iterator[Subject]:
    """Run Envoy with one thread; it asks by gRPC where `asked` has a port for that."""
    is_grpc = asked is not None and asked.grpc_port is not None
    config = yaml.safe_load((_CONFIG / f"envoy-{'grpc' if is_grpc else 'http'}.yaml").read_text("utf-8"))
    resources = config["static_resources"]
    (listener,) = resources["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    wanted = {"envoy.filters.http.router"} | ({"envoy.filters.http.ext_authz"} if asked else set())
    manager["http_filters"] = [one for one in manager["http_filters"] if one["name"] in wanted]
    application = {"match": {"prefix": "/"}, "route": {"cluster": "application", "timeout": "0s"}}
    manager["route_config"]["virtual_hosts"] = [{"name": "app", "domains": ["*"], "routes": [application]}]
    if asked is None:
        resources["clusters"] = [one for one in resources["clusters"] if one["name"] == "application"]
    ports = {8000: port, 3000: upstream_port}
    if asked is not None:
        ports |= {4180: asked.port, 4181: asked.grpc_port or 0}
    static = {"node": {"id": "bench", "cluster": "bench"}, "static_resources": resources}
    path = _write(folder, f"envoy-{port}.json", _with_ports(json.dumps(static), ports))
    command = [program, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    with started("envoy", command, port, log=path.with_suffix(".log")) as subject:
        yield subject


@contextlib.contextmanager
def traefik(
    program: str, folder: Path, port: int, upstream_port: int, asked: Asked | None
) -> Iterator[Subject]:
    """Run Traefik; Go runs as many threads at once as the core that it is kept on."""
    dynamic: dict[str, Any] = yaml.safe_load((_CONFIG / "traefik-dynamic.yaml").read_text("utf-8"))
    http = dynamic["http"]
    router = {**http["routers"]["application"], "rule": "PathPrefix(`/`)"}
    router["middlewares"] = ["doorward-ask"]
    middlewares = {"doorward-ask": http["middlewares"]["doorward-ask"]}
    if asked is None:
        del router["middlewares"]
    reduced: dict[str, Any] = {
        "routers": {"application": router},
        "services": {"application": http["services"]["application"]},
        **({"middlewares": middlewares} if asked else {}),
    }
    ports = {8000: port, 3000: upstream_port, 4180: asked.port if asked else 0}
    rules = _write(folder, f"traefik-{port}-dynamic.yaml", _with_ports(json.dumps({"http": reduced}), ports))
    static = (_CONFIG / "traefik.yaml").read_text("utf-8").replace("/etc/traefik/dynamic.yaml", str(rules))
    path = _write(folder, f"traefik-{port}.yaml", _with_ports(static, ports))
    with started("traefik", [program, f"--configFile={path}"], port, log=path.with_suffix(".log")) as subject:
        yield subject


@contextlib.contextmanager
def caddy(
    program: str, folder: Path, port: int, upstream_port: int, asked: Asked | None
) -> Iterator[Subject]:
    """Run Caddy, likewise."""
    text = (_CONFIG / "Caddyfile").read_text("utf-8")
    found = re.search(r"^\t\treverse_proxy 127\.0\.0\.1:4180 \{.*?^\t\t\}$", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise RuntimeError("config/ingress/Caddyfile has no question in it")
    question = found[0] if asked else ""
    options = "{\n\tadmin off\n\tpersist_config off\n\tdefault_bind 127.0.0.1\n}\n"
    site = f"http://localhost:8000 {{\n\troute {{\n{question}\n\t\treverse_proxy 127.0.0.1:3000\n\t}}\n}}\n"
    ports = {8000: port, 3000: upstream_port, 4180: asked.port if asked else 0}
    path = _write(folder, f"Caddyfile-{port}", options + _with_ports(site, ports))
    # Caddy keeps things below its user's home.
    home = [f"{name}={folder}" for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")]
    command = ["env", *home, program, "run", "--adapter=caddyfile", f"--config={path}"]
    with started("caddy", command, port, log=path.with_suffix(".log")) as subject:
        yield subject


def _with_ports(text: str, ports: dict[int, int]) -> str:
    return re.sub(r"\b(8000|4180|4181|3000)\b", lambda found: str(ports[int(found[0])]), text)


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path
