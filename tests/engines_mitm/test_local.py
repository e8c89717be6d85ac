"""The mode that captures this machine's programs: for real where the kernel lets us, else what is said."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.blackbox.doorward import COMMAND, new_key
from tests.processes import running, wait_for_text

pytestmark = pytest.mark.slow

# Sets its own name, by which it is captured: programs of other tests must not be.
_CLIENT = """
import http.client, sys
open("/proc/self/comm", "w").write(sys.argv[1])
for address, port, host, path in zip(*[iter(sys.argv[2:])] * 4):
    client = http.client.HTTPConnection(address, int(port), timeout=5)
    client.request("GET", path, headers={"Host": host})
    answer = client.getresponse()
    print(answer.status, answer.headers["Server"] is not None)
"""
# A machine of its own: the first word says what it does before it becomes the rest of them.
_SEPARATE = ("unshare", "--net", "--mount", "sh", "-c", 'set -e; eval "$0"; ip link set lo up; exec "$@"')
# Root needs no sudo; its stand-in does nothing but what it is asked.
_OWN_SUDO = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
"""


def _configuration(folder: Path, mode: str) -> Path:
    path = folder / "doorward.yaml"
    settings = {
        "listen": "127.0.0.1:8080",
        "public_url": "https://app.test",
        "engine": "interception",
        "mode": mode,
        "authority_folder": str(folder / "authority"),
        "upstream": "http://127.0.0.1:3000",
        "provider": {"type": "oidc", "issuer": "https://id.invalid", "client_id": "app"},
        "session": {"keys": [new_key()]},
        "access": [{"path": "/public", "allow": "anyone"}, {"allow": "authenticated"}],
    }
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    path.chmod(0o600)
    return path


def _environment(folder: Path, sudo: str | None) -> dict[str, str]:
    """Return an environment whose sudo is the script given, or not there."""
    places = folder / "bin"
    places.mkdir(exist_ok=True)
    if sudo is not None:
        (places / "sudo").write_text(sudo, encoding="utf-8")
        (places / "sudo").chmod(0o755)
    path = str(places) if sudo is None else f"{places}:{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path}


def _refused(folder: Path, mode: str, sudo: str | None, *before: str) -> str:
    """Run it to its end, which has to be a refusal in one line; return the line."""
    ended = subprocess.run(
        [*before, str(COMMAND), "run", "--config", str(_configuration(folder, mode))],
        env=_environment(folder, sudo),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1), ended.stderr
    return ended.stderr


def test_without_sudo_the_start_is_refused_in_one_line(tmp_path: Path) -> None:
    """Key, value and mend."""
    line = _refused(tmp_path, "local", None)
    assert line.startswith('mode: "local" can\'t be started: sudo is not here; ')
    assert "use regular" in line


def test_a_redirector_that_ends_at_once_is_no_start(tmp_path: Path) -> None:
    """mitmproxy would go on, capturing and so gating nothing; the kernel refuses what is no cgroup v2."""
    _require_root()
    line = _refused(tmp_path, "local:curl", _OWN_SUDO, *_SEPARATE, "mount -t tmpfs none /sys/fs/cgroup")
    assert line.startswith("mode: \"local:curl\" can't be started: mitmproxy's redirector has ended: ")


@pytest.mark.parametrize("mode", ["local:curl,,", "transparent:x"])
def test_a_mode_that_mitmproxy_can_not_read_is_refused_in_one_line(tmp_path: Path, mode: str) -> None:
    assert _refused(tmp_path, mode, None).startswith(f'mode: "{mode}" can\'t be started: ')


def _require_root() -> None:
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("programs are captured by root, on Linux")


def _unified_cgroup() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="ascii").splitlines():
            _, place, kind, *_ = line.split()
            if kind == "cgroup2":
                return place
    pytest.skip("no cgroup v2 here")


@pytest.fixture
def captured(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A machine of its own (namespaces), where programs of one name are captured; how to run there."""
    _require_root()
    name = f"dw{secrets.token_hex(5)}"
    command = [str(COMMAND), "run", "--config", str(_configuration(tmp_path, f"local:{name}"))]
    unified = _unified_cgroup()
    bind = "true" if unified == "/sys/fs/cgroup" else f"mount --bind {unified} /sys/fs/cgroup"
    log = tmp_path / "gate.log"
    environment = _environment(tmp_path, _OWN_SUDO)
    with running([*_SEPARATE, bind, *command], log=log, env=environment) as gate:
        with contextlib.suppress(AssertionError):
            wait_for_text(log, '"listening"')
        said = log.read_text(encoding="utf-8")
        if "can't be started" in said:
            pytest.skip(f"not in this kernel: {said}")
        assert '"listening"' in said
        inside = [str(shutil.which("nsenter")), "--target", str(gate.pid), "--net"]
        folder = tmp_path / "site"
        folder.mkdir()
        (folder / "public").write_text("hello", encoding="utf-8")
        serve = [sys.executable, "-u", "-m", "http.server", "3000", "--bind", "127.0.0.1"]
        with running([*inside, *serve], log=tmp_path / "application.log", cwd=folder):
            wait_for_text(tmp_path / "application.log", "Serving HTTP")
            yield name, inside
    assert gate.returncode == 0
    assert "defect" not in log.read_text(encoding="utf-8")


def test_a_captured_program_meets_the_gate_for_our_host_alone(captured: tuple[str, list[str]]) -> None:
    name, inside = captured

    def ask(name: str, *words: str) -> list[str]:
        done = subprocess.run(
            [*inside, sys.executable, "-c", _CLIENT, name, *words],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.stdout.splitlines()

    # Where our host is said to be makes no difference: it goes to the upstream, or nowhere.
    ours = ("203.0.113.7", "80", "app.test")
    others = ("127.0.0.1", "3000", "other.test")
    assert ask(name, *ours, "/private", *ours, "/public", *others, "/private") == [
        "401 False",
        "200 True",
        "404 True",
    ]
    # A program of another name is not captured.
    assert ask("other", "127.0.0.1", "3000", "app.test", "/public") == ["200 True"]
