"""Starts npm's certified oidc-provider on loopback: a provider that nobody here wrote.

`server.mjs` beside this file says which settings there are. Its clients are `confidential`
(client_secret_basic), `confidential-post`, `public` (PKCE alone) and `private-key` (private_key_jwt).
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.parts import require_part
from tests.processes import running

if TYPE_CHECKING:
    import subprocess

__all__ = ["InteropProvider", "interop_provider"]

_SERVER = Path(__file__).with_name("server.mjs")
_START_SECONDS = 30.0
_MAX_HOPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class InteropProvider:
    """A running provider. `private_key_pem` is the key of the client `private-key`."""

    issuer: str
    client_secret: str
    private_key_pem: str
    log: Path

    def sign_in(self, authorization_url: str, name: str) -> str:
        """Go to the authorization URL as a fresh browser would, sign in, and return the callback URL.

        An empty name refuses, so that the callback carries an error. For response_mode=query alone.
        """
        with httpx.Client(timeout=10.0) as browser:
            url = authorization_url
            answer = browser.get(url)
            for _ in range(_MAX_HOPS):
                if answer.has_redirect_location:
                    url = urljoin(url, answer.headers["location"])
                    if urlsplit(url).netloc != urlsplit(self.issuer).netloc:
                        return url
                    answer = browser.get(url)
                elif re.search('name="login"', answer.text):
                    answer = browser.post(url, data={"login": name})
                else:
                    break
        raise AssertionError(f"the browser was not sent back: {answer.status_code} {answer.text}")


def _public_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, object]:
    jwk: dict[str, object] = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    return jwk | {"use": "sig", "alg": "ES256", "kid": "interop-client"}


@contextlib.contextmanager
def interop_provider(folder: Path, **settings: object) -> Iterator[InteropProvider]:
    """Run the provider until the block ends, with settings of server.mjs; its log goes to `folder`."""
    node = require_part("node")
    require_part("npm:oidc-provider")
    key = ec.generate_private_key(ec.SECP256R1())
    settings.setdefault("private_key_jwks", {"keys": [_public_jwk(key)]})
    log = folder / "oidc-provider.log"
    with running([node, _SERVER, json.dumps(settings)], log=log) as process:
        ready = _wait_for_ready_line(log, process)
        yield InteropProvider(
            issuer=ready["issuer"],
            client_secret=ready["client_secret"],
            private_key_pem=key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
            log=log,
        )


def _wait_for_ready_line(log: Path, process: subprocess.Popen[bytes]) -> dict[str, str]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.startswith('{"issuer"') and line.endswith("\n"):
                ready: dict[str, str] = json.loads(line)
                return ready
        time.sleep(0.05)
    raise AssertionError(f"oidc-provider did not start:\n{log.read_text(encoding='utf-8')}")
