"""The servers of a run and their configurations: upstream, bare nginx, bare mitmproxy, Doorward."""

from __future__ import annotations

import base64
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.processes import LOAD_CORE, Subject, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "KEY",
    "bare_mitmproxy",
    "bare_nginx",
    "doorward",
    "doorward_yaml",
    "pinned_nginx",
    "plain_mitmproxy",
    "upstream",
]

KEY: Final = base64.b64encode(bytes(range(32))).decode()

_NGINX: Final = """
daemon off; master_process on; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log {access_log};
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000; keepalive_timeout 3600s; default_type text/html; proxy_max_temp_file_size 0;
  {body}
}}
"""
_UPSTREAM: Final = """
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "{answer}"; }}
    location /varied/ {{ add_header X-Request-Id $request_id; return 200 "{answer}"; }}
    location /files/ {{ alias {folder}/files/; }} }}
"""
_PROXY: Final = """
  upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto http; }} }}
"""


@contextlib.contextmanager
def pinned_nginx(
    folder: Path, name: str, body: str, port: int, *, core: int, access_log: str = "off"
) -> Iterator[Subject]:
    """Run nginx with one worker on `core`; `body` is what stands in its http block."""
    place = folder / name
    (place / "files").mkdir(parents=True, exist_ok=True)
    conf = place / "nginx.conf"
    conf.write_text(_NGINX.format(folder=place, body=body, access_log=access_log), "ascii")
    command = ["nginx", "-p", str(place), "-c", str(conf)]
    with started(name, command, port, core=core, log=place / "out.log", forks=True) as subject:
        yield subject


@contextlib.contextmanager
def upstream(folder: Path) -> Iterator[Subject]:
    """Run the application that all subjects proxy to: nginx with a fixed answer of 600 bytes."""
    port = free_port()
    body = _UPSTREAM.format(port=port, answer="x" * 600, folder=folder / "upstream")
    with pinned_nginx(folder, "upstream", body, port, core=LOAD_CORE) as subject:
        yield subject


@contextlib.contextmanager
def bare_nginx(folder: Path, upstream_port: int, *, access_log: bool = False) -> Iterator[Subject]:
    """Run nginx `proxy_pass` with one worker and keep-alive to the upstream: the measure of all."""
    port = free_port()
    body = _PROXY.format(port=port, upstream=upstream_port)
    name = "nginx-logged" if access_log else "nginx"
    # Written by the batch, as ours is.
    log = f"{folder}/nginx-access.log combined buffer=16k flush=1s" if access_log else "off"
    with pinned_nginx(folder, name, body, port, core=0, access_log=log) as subject:
        yield subject


@contextlib.contextmanager
def bare_mitmproxy(
    folder: Path, upstream_port: int, name: str = "mitmproxy", flags: Sequence[str] = ()
) -> Iterator[Subject]:
    """Run mitmdump as a reverse proxy: the mitmproxy of this environment, with nothing written or printed."""
    port = free_port()
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-c", "from mitmproxy.tools.main import mitmdump; mitmdump()", "--quiet",
        "--mode", f"reverse:http://127.0.0.1:{upstream_port}", "--listen-host", "127.0.0.1",
        "--listen-port", str(port), "--set", f"confdir={place}", "--set", "keep_host_header=true", *flags,
    ]  # fmt: skip
    with started(name, command, port, log=place / "out.log") as subject:
        yield subject


@contextlib.contextmanager
def plain_mitmproxy(folder: Path, upstream_port: int) -> Iterator[Subject]:
    """Run mitmproxy without the addons of its programs."""
    port = free_port()
    command = [sys.executable, "-m", "bench.plain_mitmproxy", str(port), f"http://127.0.0.1:{upstream_port}"]
    with started("mitmproxy-plain", command, port, log=folder / "mitmproxy-plain.log") as subject:
        yield subject


def doorward_yaml(port: int, upstream_port: int, options: Mapping[str, str]) -> str:
    """Return a configuration with everything on that is on by default; `options` are further lines by key."""
    lines = {
        "listen": f"127.0.0.1:{port}",
        "public_url": f"http://localhost:{port}",
        "upstream": f"http://127.0.0.1:{upstream_port}",
        "provider": "{type: oidc, issuer: 'http://127.0.0.1:9', client_id: bench}",
        "session": f"{{keys: ['{KEY}'], idle: 12h, absolute: 12h}}",
        "log": "{access: false}",
        "access": "[{allow: {email_domains: [example.com]}}]",
        **options,
    }
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


@contextlib.contextmanager
def doorward(
    folder: Path,
    upstream_port: int,
    name: str = "doorward",
    options: Mapping[str, str] | None = None,
) -> Iterator[Subject]:
    """Run Doorward with one worker."""
    port = free_port()
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    conf = place / "doorward.yaml"
    conf.write_text(doorward_yaml(port, upstream_port, options or {}), "utf-8")
    conf.chmod(0o600)
    # The code beside this file, whichever checkout the environment has installed.
    command = [sys.executable, "-m", "sidecar", "run", "--config", str(conf)]
    with started(name, command, port, log=place / "out.log") as subject:
        yield subject
