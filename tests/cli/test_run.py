"""`doorward run` where it can't run, or is told twice to end."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.blackbox.doorward import Doorward, new_key, run_to_end
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import upstream_application
from tests.blackbox.waiting import wait_until
from tests.processes import find_free_port

_PROVIDER = {"type": "oidc", "issuer": "http://localhost:9999", "client_id": "app"}
_SETTINGS = {
    "public_url": "http://localhost:8080",
    "upstream": "http://127.0.0.1:3000",
    "provider": _PROVIDER,
    "session": {"keys": [new_key()]},
    "access": [{"allow": "authenticated"}],
}


def _refusal(folder: Path, **settings: object) -> str:
    """Run it where it can't listen; return the one line that it says."""
    file = folder / "doorward.yaml"
    file.write_text(yaml.safe_dump(_SETTINGS | settings), encoding="utf-8")
    done = run_to_end("run", "--config", file)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(said) == 1, done.stderr
    return said[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_in_use_is_one_line_with_the_key_to_change(tmp_path: Path, workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for key, other in (("listen", "admin"), ("admin", "listen")):
            free = f"127.0.0.1:{find_free_port()}"
            said = _refusal(tmp_path, workers=workers, **{key: address, other: free})
            assert said == (
                f"doorward: can't listen on {address}: another process is there; stop it, or change {key}"
            )


@pytest.mark.parametrize("workers", [1, 2])
def test_envoys_address_in_use_is_told_with_its_key(tmp_path: Path, workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        forward_auth = {"callers": ["127.0.0.1"], "grpc": address}
        listen = f"127.0.0.1:{find_free_port()}"
        said = _refusal(tmp_path, workers=workers, listen=listen, forward_auth=forward_auth)
    assert said == (
        f"doorward: can't listen on {address}: another process is there; stop it, or change forward_auth.grpc"
    )


@pytest.mark.parametrize("missing", ["grpc", "grpc_health", "envoy.service"])
def test_without_the_extra_a_configured_envoy_is_told_what_to_install(tmp_path: Path, missing: str) -> None:
    file = tmp_path / "doorward.yaml"
    forward_auth = {"callers": ["127.0.0.1"], "grpc": "127.0.0.1:0"}
    file.write_text(yaml.safe_dump(_SETTINGS | {"forward_auth": forward_auth}), encoding="utf-8")
    program = f"import sys; sys.modules[{missing!r}] = None; from sidecar.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", program, "run", "--config", file],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.startswith("doorward: forward_auth.grpc needs ")
    assert "pip install 'doorward[envoy]'" in done.stderr


def test_an_address_of_another_machine_is_told_as_such(tmp_path: Path) -> None:
    said = _refusal(tmp_path, listen="192.0.2.1:8080")
    assert said == "doorward: can't listen on 192.0.2.1:8080: this machine has no such address; change listen"


def test_a_socket_in_no_folder_is_told_as_such(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path}/none/doorward.sock"
    said = _refusal(tmp_path, listen=listen)
    assert said == f"doorward: can't listen on {listen}: its folder does not exist; make it, or change listen"


def test_a_socket_in_the_place_of_a_file_leaves_the_file(tmp_path: Path) -> None:
    precious = tmp_path / "notes.txt"
    precious.write_text("precious", encoding="utf-8")
    said = _refusal(tmp_path, listen=f"unix:{precious}")
    assert said.endswith("a file that is no socket is there; remove it, or change listen")
    assert precious.read_text(encoding="utf-8") == "precious"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_interrupt_ends_the_drain_without_a_traceback(tmp_path: Path, workers: int) -> None:
    with ScriptedProvider().running() as provider, upstream_application() as application:
        assert isinstance(provider, ScriptedProvider)
        doorward = Doorward(
            tmp_path,
            provider=provider.settings(),
            upstreams=application.upstreams,
            access=[{"allow": "anyone"}],
            workers=workers,
        )
        with socket.create_connection(("127.0.0.1", doorward.port)) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % doorward.port)
            assert client.recv(1).startswith(b"H")
            doorward.process.send_signal(signal.SIGINT)
            wait_until(lambda: '"draining"' in doorward.log, "the drain begins")
            started = time.monotonic()
            doorward.process.send_signal(signal.SIGINT)
            assert doorward.process.wait(10) == 130
            # The workers end too: nobody is left who would answer.
            client.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                while client.recv(65536):
                    pass
            assert time.monotonic() - started < 5
        doorward.judge_log()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the limit from /proc")
def test_it_takes_as_many_open_files_as_it_may(tmp_path: Path) -> None:
    """S56: the usual 1,024 would be used up long before `limits.connections` keeps anybody out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with Doorward(
            tmp_path, provider=_PROVIDER, upstreams={"/": "http://127.0.0.1:9"}, wait="alive"
        ) as running:
            limits = Path(f"/proc/{running.process.pid}/limits").read_text(encoding="ascii")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert int(line.split()[3]) == min(hard, 1 << 20)
