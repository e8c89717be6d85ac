"""The demo's configuration: a text such as anybody writes, loaded like any other."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.config import load_text
from sidecar.core.development import ISSUER_PATH
from sidecar.core.secret import Secret
from sidecar.devidp import Client, in_development

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.runtime import Runtime

__all__ = ["CLIENT_ID", "DemoPorts", "build_client", "build_runtime", "build_text", "issuer_url"]

CLIENT_ID: Final = "doorward-demo"
_TEXT: Final = """\
# What `doorward demo` runs with. The secrets are made anew each time and never written anywhere.
listen: 127.0.0.1:{gate}
public_url: http://localhost:{gate}
upstreams:
  /: http://127.0.0.1:{application}
  /live: http://127.0.0.1:{ticker}
provider:
  type: oidc
  display_name: the embedded provider
  issuer: {issuer}
  client_id: {client_id}
  client_secret: {{env: DEMO_CLIENT_SECRET}}
  scopes: [openid, profile, email, groups]
headers:
  set: {{X-Forwarded-Name: name, X-Department: "claim:department"}}
session:
  keys: [{{env: DEMO_SESSION_KEY}}]
  idle: 1h
  absolute: 12h
access:
  - {{name: public, path: /public/**, allow: anyone}}
  - {{name: admins only, path: /admin/**, allow: {{groups: [admins]}}}}
  - {{name: staff only, path: /reports/**, allow: {{groups: [staff]}}}}
  - {{name: signed in, allow: authenticated}}
"""


class DemoPorts:
    """Where the four parts listen, on loopback."""

    __slots__ = ("application", "gate", "provider", "ticker")

    def __init__(self, *, gate: int, provider: int, application: int, ticker: int) -> None:
        self.gate = gate
        self.provider = provider
        self.application = application
        self.ticker = ticker


def issuer_url(ports: DemoPorts) -> str:
    """Return the issuer of the embedded provider."""
    return f"http://localhost:{ports.provider}{ISSUER_PATH}"


def build_text(ports: DemoPorts) -> str:
    """Return the configuration as one would write it into doorward.yaml."""
    return _TEXT.format(
        gate=ports.gate,
        application=ports.application,
        ticker=ports.ticker,
        issuer=issuer_url(ports),
        client_id=CLIENT_ID,
    )


def build_runtime(ports: DemoPorts, secret: str, entropy: Callable[[int], bytes]) -> Runtime:
    """Return the runtime, in development mode. `secret` is the client's at the provider."""
    environment = {
        "DEMO_CLIENT_SECRET": secret,
        "DEMO_SESSION_KEY": base64.b64encode(entropy(32)).decode(),
    }
    runtime = load_text(build_text(ports), Path("the demo's configuration"), environment)
    return in_development(runtime, entropy)


def build_client(ports: DemoPorts, secret: str) -> Client:
    """Return the gate as the provider has it registered."""
    site = f"http://localhost:{ports.gate}/oauth2"
    return Client(
        client_id=CLIENT_ID,
        name="the demo",
        secret=Secret(secret.encode()),
        redirect_uris=(f"{site}/callback",),
        post_logout_redirect_uris=(f"{site}/sign_out/return",),
    )
