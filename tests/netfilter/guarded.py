"""A pod with an application that Doorward stands before, by rules of `doorward netfilter`."""

from __future__ import annotations

import base64
import secrets
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.netfilter.namespace import UID, Pod
from tests.processes import running, wait_for_text

__all__ = ["APPLICATION", "HOST", "PROBE", "PYTHON", "apply_rules", "get", "guard", "write_configuration"]

_ROOT = Path(__file__).parents[2]
PYTHON = ("env", f"PYTHONPATH={_ROOT}", sys.executable)
HOST = {"Host": "app.example.com"}
PROBE = "/healthz"
APPLICATION = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = repr([list(pair) for pair in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("X-The-Application", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_PUT = do_GET
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", 3000), Handler).serve_forever()
"""


def apply_rules(made: Pod, form: str) -> None:
    """Bring the rules into force, twice, as an init container may."""
    for _ in range(2):
        done = made.run([*PYTHON, "-m", "sidecar", "netfilter", "--port", "3000", "--format", form])
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


def guard(stack: ExitStack, made: Pod, folder: Path, configuration: Path) -> None:
    """Run the application on port 3000 and Doorward on 8080, until `stack` ends."""
    application = made.inside([sys.executable, "-c", APPLICATION])
    stack.enter_context(running(application, log=folder / "application.log"))
    gate = made.inside([*PYTHON, "-m", "sidecar", "run", "--config", configuration], uid=UID)
    stack.enter_context(running(gate, log=folder / "gate.log"))
    wait_for_text(folder / "gate.log", '"listening"')
    _wait_for_application(made)


def write_configuration(folder: Path, **more: Any) -> Path:
    """Write Doorward's configuration; `more` goes into it as it is."""
    file = folder / "doorward.yaml"
    settings = {
        "listen": ":8080",
        "public_url": "https://app.example.com",
        "upstream": "http://127.0.0.1:3000",
        "provider": {"type": "oidc", "issuer": "https://id.invalid", "client_id": "app"},
        "session": {"keys": [base64.b64encode(secrets.token_bytes(32)).decode()]},
        "access": [
            {"name": "probe", "path": PROBE, "methods": ["GET"], "allow": "anyone"},
            {"allow": "authenticated"},
        ],
        "workers": 1,
        **more,
    }
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    file.chmod(0o600)
    return file


def _wait_for_application(made: Pod) -> None:
    deadline = time.monotonic() + 20
    while (answer := get(made, f"http://{made.address}:3000{PROBE}")) is None or answer.status_code != 200:
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)


def get(made: Pod, url: str, method: str = "GET", **headers: str) -> httpx.Response | None:
    """Send a request from outside of the pod; None when nothing answers."""
    try:
        return httpx.request(method, url, headers={**HOST, **headers}, trust_env=False, timeout=5)
    except httpx.TransportError:
        return None
