"""The rules in force in network namespaces, with a real application and a real `doorward run` behind them."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.netfilter.guarded import APPLICATION, PROBE, PYTHON, apply_rules, get, guard, write_configuration
from tests.netfilter.namespace import UID, Pod, pod
from tests.parts import require_part
from tests.processes import running

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


@pytest.fixture(scope="module", params=["nft", "iptables"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod whose application on port 3000 is behind Doorward on 8080, by rules of one tool, set twice."""
    require_part(request.param)
    folder = tmp_path_factory.mktemp("pod")
    with ExitStack() as stack:
        made = stack.enter_context(pod())
        apply_rules(made, request.param)
        guard(stack, made, folder, write_configuration(folder))
        yield made


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
        with running(made.inside([sys.executable, "-c", APPLICATION]), log=log):
            deadline = time.monotonic() + 20
            while get(made, f"http://{made.address}:3000/") is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            apply_rules(made, form)
            assert get(made, f"http://{made.address}:3000/") is None
            assert get(made, f"http://[{made.address6}]:3000/") is None
            assert from_inside(made, "http://127.0.0.1:3000/") == "URLError"


@pytest.mark.parametrize("form", ["nft", "iptables"])
def test_rules_that_the_kernel_refuses_are_one_line_and_no_success(form: str) -> None:
    require_part(form)
    with pod() as made:
        # Without its privileges, the tool has to fail.
        done = made.run([*PYTHON, "-m", "sidecar", "netfilter", "--port", "3000", "--format", form], uid=UID)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "not in force" in done.stderr


def test_a_packet_that_comes_past_the_redirect_is_dropped() -> None:
    """Untracked packets are not redirected; the application must not see them either."""
    nft = str(require_part("nft"))
    with pod() as made:
        apply_rules(made, "nft")
        chain = "type filter hook prerouting priority raw; tcp dport 3000 notrack;"
        untracked = f"table inet evil {{ chain raw {{ {chain} }}; }}"
        assert made.run([nft, "-f", "-"], text=untracked).returncode == 0
        listener = "import socket; socket.create_server(('', 3000)).accept()"
        with running(made.inside([sys.executable, "-c", listener]), log=Path("/dev/null")):
            time.sleep(0.5)
            with pytest.raises(OSError, match="timed out"):
                socket.create_connection((made.address, 3000), timeout=1)
