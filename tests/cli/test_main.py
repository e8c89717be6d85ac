"""The short way to `run`, past what reads every other command line."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_MAIN = """
import sys
from sidecar.cli import main
try:
    main()
finally:
    print("typer" in sys.modules, file=sys.stdout)
"""


def _main(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _MAIN, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("option", [("--config", "other.yaml"), ("-c", "other.yaml"), ()])
def test_plain_run_reads_the_named_file_without_typer(tmp_path: Path, option: tuple[str, ...]) -> None:
    found = _main("run", *option, folder=tmp_path)
    assert found.returncode == 2
    assert found.stderr.startswith(option[1] if option else "doorward.yaml")
    assert found.stdout == "False\n"


@pytest.mark.parametrize("arguments", [("--config=other.yaml",), ("--config", "-other"), ("-cother.yaml",)])
def test_any_other_run_is_read_by_typer_to_the_same_end(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    found = _main("run", *arguments, folder=tmp_path)
    assert found.returncode == 2
    assert "can't be read" in found.stderr
    assert found.stdout == "True\n"


def test_run_with_help_shows_help(tmp_path: Path) -> None:
    found = _main("run", "--help", folder=tmp_path)
    assert found.returncode == 0
    assert "Usage:" in found.stdout
