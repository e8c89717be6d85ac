"""The rules in force in network namespaces, with a real application and a real `doorward run` behind them."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml

from tests.netfilter.namespace import UID, Pod, pod
from tests.parts import require_part
from tests.processes import running, wait_for_text

_ROOT = Path(__file__).parents[2]
_APPLICATION = """
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
_GET = """
import sys, urllib.request, urllib.error
request = urllib.request.Request(sys.argv[1], headers={"Host": "app.example.com"})
try:
    answer = urllib.request.urlopen(request, timeout=5)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    print(type(error).__name__); sys.exit()
print(answer.status, answer.headers["X-The-Application"])
"""
HOST = {"Host": "app.example.com"}
PROBE = "/healthz"


@pytest.fixture(scope="module", params=["nft", "iptables"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod whose application on port 3000 is behind Doorward on 8080, by rules of one tool, set twice."""
    require_part(request.param)
    folder = tmp_path_factory.mktemp("pod")
    with ExitStack() as stack:
        made = stack.enter_context(pod())
        apply = (sys.executable, "-m", "sidecar", "netfilter", "--port", "3000", "--format", request.param)
        for _ in range(2):
            done = made.run(["env", f"PYTHONPATH={_ROOT}", *apply])
            assert (done.returncode, done.stdout) == (0, ""), done.stderr
        application = made.inside([sys.executable, "-c", _APPLICATION])
        stack.enter_context(running(application, log=folder / "application.log"))
        command = ["env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "sidecar", "run", "--config"]
        gate = made.inside([*command, _configuration(folder)], uid=UID)
        stack.enter_context(running(gate, log=folder / "gate.log"))
        wait_for_text(folder / "gate.log", '"listening"')
        _wait_for_application(made)
        yield made


def _configuration(folder: Path) -> Path:
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


def from_inside(made: Pod, url: str, uid: int | None = None) -> str:
    """Return status and mark of the application's answer to a process in the pod."""
    return made.run([sys.executable, "-c", _GET, url], uid=uid).stdout.strip()


def test_a_stranger_meets_the_gate_at_the_applications_own_port(guarded: Pod) -> None:
    for port in (3000, 8080):
        answer = get(guarded, f"http://{guarded.address}:{port}/private")
        assert answer is not None
        assert answer.status_code == 401
        assert "X-The-Application" not in answer.headers
        assert json.loads(answer.text)["error"] == "login_required"


def test_a_family_of_addresses_at_which_the_gate_does_not_listen_is_closed(guarded: Pod) -> None:
    """The application listens for IPv6 too, the gate here for IPv4 alone."""
    assert get(guarded, f"http://[{guarded.address6}]:3000/private") is None
    assert get(guarded, f"http://[{guarded.address6}]:3000{PROBE}") is None


def test_a_stranger_can_not_say_who_he_is(guarded: Pod) -> None:
    lies = {"X-Forwarded-User": "root", "X-Forwarded-For": "127.0.0.1"}
    answer = get(guarded, f"http://{guarded.address}:3000/private", **lies)
    assert answer is not None
    assert answer.status_code == 401
    passed = get(guarded, f"http://{guarded.address}:3000{PROBE}", **lies)
    assert passed is not None
    assert "root" not in passed.text


def test_a_probe_passes_by_exact_method_and_path_from_wherever_it_comes(guarded: Pod) -> None:
    url = f"http://{guarded.address}:3000"
    answer = get(guarded, url + PROBE)
    assert answer is not None
    assert (answer.status_code, answer.headers["X-The-Application"]) == (200, "1")
    for method, path in (("POST", PROBE), ("GET", f"{PROBE}/x"), ("GET", f"{PROBE};x"), ("GET", "/")):
        refused = get(guarded, url + path, method)
        assert refused is not None
        assert refused.status_code in {400, 401}
        assert "X-The-Application" not in refused.headers


def test_others_in_the_pod_meet_the_gate_and_the_gates_user_the_application(guarded: Pod) -> None:
    for address, refusal in (("127.0.0.1", "401 None"), (guarded.address, "401 None"), ("[::1]", "URLError")):
        url = f"http://{address}:3000/private"
        assert from_inside(guarded, url) == refusal
        assert from_inside(guarded, url, uid=UID + 1) == refusal
        assert from_inside(guarded, url, uid=UID) == "200 1"


def test_a_port_of_nobodys_is_left_alone(guarded: Pod) -> None:
    assert get(guarded, f"http://{guarded.address}:3001/") is None


@pytest.mark.parametrize("form", ["nft", "iptables"])
def test_while_the_gate_is_away_nothing_answers(form: str, tmp_path: Path) -> None:
    require_part(form)
    with pod() as made:
        log = tmp_path / "application.log"
        with running(made.inside([sys.executable, "-c", _APPLICATION]), log=log):
            deadline = time.monotonic() + 20
            while get(made, f"http://{made.address}:3000/") is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            apply = (sys.executable, "-m", "sidecar", "netfilter", "--port", "3000", "--format", form)
            assert made.run(["env", f"PYTHONPATH={_ROOT}", *apply]).returncode == 0
            assert get(made, f"http://{made.address}:3000/") is None
            assert get(made, f"http://[{made.address6}]:3000/") is None
            assert from_inside(made, "http://127.0.0.1:3000/") == "URLError"


@pytest.mark.parametrize("form", ["nft", "iptables"])
def test_rules_that_the_kernel_refuses_are_one_line_and_no_success(form: str) -> None:
    require_part(form)
    with pod() as made:
        # Without its privileges, the tool has to fail.
        command = ["env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "sidecar", "netfilter"]
        done = made.run([*command, "--port", "3000", "--format", form], uid=UID)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "not in force" in done.stderr


def test_a_packet_that_comes_past_the_redirect_is_dropped() -> None:
    """Untracked packets are not redirected; the application must not see them either."""
    nft = str(require_part("nft"))
    with pod() as made:
        apply = (sys.executable, "-m", "sidecar", "netfilter", "--port", "3000")
        assert made.run(["env", f"PYTHONPATH={_ROOT}", *apply]).returncode == 0
        chain = "type filter hook prerouting priority raw; tcp dport 3000 notrack;"
        untracked = f"table inet evil {{ chain raw {{ {chain} }}; }}"
        assert made.run([nft, "-f", "-"], text=untracked).returncode == 0
        listener = "import socket; socket.create_server(('', 3000)).accept()"
        with running(made.inside([sys.executable, "-c", listener]), log=Path("/dev/null")):
            time.sleep(0.5)
            with pytest.raises(OSError, match="timed out"):
                socket.create_connection((made.address, 3000), timeout=1)
