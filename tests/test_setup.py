"""Set-up finds a Python that really runs, or says what is needed; where nothing changed it does nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What the script itself calls; nothing else is on PATH in these tests, above all no Python.
TOOLS = ("cat", "cksum", "dirname", "grep", "pwd", "rm", "sh")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what set-up reads, with a PATH of its own in `bin`."""
    copy = tmp_path / "checkout"
    (copy / "bin").mkdir(parents=True)
    shutil.copytree(ROOT / "requirements", copy / "requirements")
    shutil.copytree(ROOT / "scripts", copy / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (copy / "bin" / tool).symlink_to(found)
    return copy


def add_command(checkout: Path, name: str, script: str) -> None:
    command = checkout / "bin" / name
    command.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    command.chmod(0o755)


def set_up(checkout: Path, mode: str = "run", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(checkout / "bin"), "HOME": str(checkout)} | variables
    return subprocess.run(
        [str(checkout / "scripts" / "setup.sh"), mode],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_without_a_suitable_python_it_says_what_is_needed(checkout: Path) -> None:
    """A shim that is on PATH but does not run is no Python, and one that is too old does not serve."""
    add_command(checkout, "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    add_command(checkout, "python3", "exit 1")

    done = set_up(checkout)

    assert done.returncode == 1
    assert "needs Python 3.12 or newer" in done.stderr
    assert "apt-get install python3" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_was_chosen_but_does_not_serve_is_named(checkout: Path) -> None:
    done = set_up(checkout, PYTHON="/nowhere/python3")

    assert done.returncode == 1
    assert "PYTHON=/nowhere/python3 does not run" in done.stderr


def test_an_unknown_mode_is_refused(checkout: Path) -> None:
    done = set_up(checkout, "everything")

    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_it_installs_once_and_again_when_a_lock_changes(checkout: Path) -> None:
    """Behind shims comes a Python that runs; its pip is a recorder here."""
    add_command(checkout, "python3.13", "exit 127")
    add_command(checkout, "python3.12", f'exec {sys.executable} "$@"')
    calls = checkout / "calls"
    (checkout / ".venv").mkdir()
    stub = checkout / ".venv" / "bin" / "python"

    def record_pip() -> None:
        stub.unlink()
        stub.write_text(f'#!/bin/sh\n[ "$1" != -m ] || echo "$@" >>{calls}\n', encoding="utf-8")
        stub.chmod(0o755)

    first = set_up(checkout, PIP_NO_INDEX="1", PIP_NO_CACHE_DIR="1")
    assert first.returncode != 0, "nothing can be installed without an index"
    assert "making .venv with Python 3." in first.stderr
    record_pip()

    assert set_up(checkout).returncode == 0
    installed = calls.read_text(encoding="utf-8").splitlines()
    assert [line.split()[-1] for line in installed] == ["requirements/run.txt", "requirements/build.txt", "."]
    assert all("--require-hashes" in line for line in installed[:2])

    assert set_up(checkout).stderr == ""
    assert calls.read_text(encoding="utf-8").splitlines() == installed

    with (checkout / "requirements" / "run.txt").open("a", encoding="utf-8") as lock:
        lock.write("# changed\n")
    assert set_up(checkout).returncode == 0
    again = calls.read_text(encoding="utf-8").splitlines()[len(installed) :]
    assert [line.split()[-1] for line in again] == ["requirements/run.txt", "requirements/build.txt"]


def test_where_only_uv_is_there_it_brings_a_python(checkout: Path) -> None:
    add_command(checkout, "uv", f'[ "$2" = install ] || echo {sys.executable}')

    done = set_up(checkout, PIP_NO_INDEX="1", PIP_NO_CACHE_DIR="1")

    assert "uv installs 3.12" in done.stderr
    assert "making .venv with Python 3." in done.stderr
