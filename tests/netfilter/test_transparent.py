"""The interception engine's transparent mode in a pod: what the rules send it, it gates."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.config import load
from sidecar.core.identity import Identity
from sidecar.core.session import Session
from sidecar.core.sessioncookie import set_session
from tests.netfilter.guarded import PROBE, apply_rules, get, guard, write_configuration
from tests.netfilter.namespace import Pod, pod
from tests.parts import require_part

NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
PROVIDER = {
    "type": "oidc",
    "issuer": "https://id.invalid",
    "client_id": "app",
    "discovery": False,
    "endpoints": {
        "authorization": "https://id.invalid/authorize",
        "token": "https://id.invalid/token",
        "jwks": "https://id.invalid/jwks",
    },
}


class Caught(NamedTuple):
    """A pod, the cookie of somebody who has signed in, and the folder of the gate's files."""

    pod: Pod
    cookie: str
    folder: Path


@pytest.fixture(scope="module")
def caught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caught]:
    """A pod whose application is behind the interception engine."""
    require_part("nft")
    folder = tmp_path_factory.mktemp("pod")
    configuration = write_configuration(
        folder,
        engine="interception",
        mode="transparent",
        authority_folder=str(folder / "authority"),
        provider=PROVIDER,
    )
    with ExitStack() as stack:
        made = stack.enter_context(pod())
        apply_rules(made, "nft")
        guard(stack, made, folder, configuration)
        yield Caught(made, _cookie(configuration), folder)
        assert "defect" not in (folder / "gate.log").read_text(encoding="utf-8")


def _cookie(configuration: Path) -> str:
    """Return a session cookie as the gate itself would have set it at the end of a login."""
    site = load(configuration, {}).sites[0]
    (provider,) = site.providers.values()
    now = time.time()
    session = Session(
        id="7" * 32,
        site=site.name,
        provider=provider.key,
        identity=Identity(issuer=provider.issuer, subject="ann", user="ann", claims={}),
        created_at=now,
        seen_at=now,
        absolute_end=now + 600,
        access_expires_at=now + 600,
    )
    values = [value.split(b";", 1)[0].decode() for value in set_session(site, session, (), os.urandom)]
    return "; ".join(value for value in values if not value.endswith("="))


def test_an_unknown_caller_is_sent_to_the_login(caught: Caught) -> None:
    made = caught.pod
    answer = get(made, f"http://{made.address}:3000/private", **NAVIGATION)
    assert answer is not None
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("https://id.invalid/authorize?")
    plain = get(made, f"http://{made.address}:3000/private")
    assert plain is not None
    assert plain.status_code == 401


def test_somebody_signed_in_reaches_the_application(caught: Caught) -> None:
    made, cookie = caught.pod, caught.cookie
    lies = {"X-Forwarded-User": "root"}
    answer = get(made, f"http://{made.address}:3000/private", Cookie=cookie, **lies)
    assert answer is not None
    assert (answer.status_code, answer.headers["X-The-Application"]) == (200, "1")
    assert "'ann'" in answer.text
    assert "root" not in answer.text


def test_a_host_of_nobody_is_refused(caught: Caught) -> None:
    """S55: in this mode whatever comes is ours to judge; nothing passes for being somebody else's."""
    made, cookie = caught.pod, caught.cookie
    for host in ("other.example.com", made.address, f"{made.address}:3000"):
        answer = get(made, f"http://{made.address}:3000{PROBE}", Host=host, Cookie=cookie)
        assert answer is not None
        assert answer.status_code in {400, 421}
        assert "X-The-Application" not in answer.headers


def test_the_gates_own_port_is_no_way_around(caught: Caught) -> None:
    made = caught.pod
    answer = get(made, f"http://{made.address}:8080/private")
    assert answer is None or answer.status_code == 401


def test_others_in_the_pod_are_caught_too(caught: Caught) -> None:
    made = caught.pod
    ask = (
        "import http.client; c = http.client.HTTPConnection('127.0.0.1', 3000); "
        "c.request('GET', '/private', headers={'Host': 'app.example.com'}); print(c.getresponse().status)"
    )
    assert made.run([sys.executable, "-c", ask]).stdout.strip() == "401"


def test_tls_is_opened_with_our_authority_and_gated(caught: Caught) -> None:
    trust = ssl.create_default_context(cafile=str(caught.folder / "authority/mitmproxy-ca-cert.pem"))
    with (
        socket.create_connection((caught.pod.address, 3000), timeout=10) as raw,
        trust.wrap_socket(raw, server_hostname="app.example.com") as secured,
    ):
        secured.sendall(b"GET /private HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n")
        assert secured.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_what_is_no_http_reaches_nobody(caught: Caught) -> None:
    """S55: mitmproxy would tunnel such bytes to where they were going."""
    with socket.create_connection((caught.pod.address, 3000), timeout=10) as raw:
        raw.sendall(b"\x00\x01\x02 not http\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 400 ")
