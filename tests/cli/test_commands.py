"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sidecar import __version__
from tests.cli.commands import doorward, write_config


def test_help_names_every_command() -> None:
    found = doorward("--help")
    assert found.code == 0
    for command in ("run", "demo", "check", "explain", "schema", "keys"):
        assert f"  {command} " in found.out


@pytest.mark.parametrize("command", ["run", "demo", "check", "explain", "schema", "keys"])
def test_each_command_has_help(command: str) -> None:
    found = doorward(command, "--help")
    assert found.code == 0
    assert "Usage:" in found.out


def test_the_version_is_told() -> None:
    assert doorward("--version").out == f"doorward {__version__}\n"


def test_an_unknown_command_is_a_wrong_question() -> None:
    assert doorward("serve").code == 2


def test_run_refuses_a_bad_configuration_in_sentences(tmp_path: Path) -> None:
    file = write_config(tmp_path, "upstreem: x\n")
    found = doorward("run", "--config", file)
    assert found.code in {1, 2}
    assert "Traceback" not in found.err


def test_a_reader_who_has_enough_gets_no_traceback() -> None:
    command = f"{sys.executable} -m sidecar schema | head -c 10"
    found = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert found.stderr == ""


def test_the_command_line_imports_nothing_that_its_command_does_not_need() -> None:
    """What only some commands need would cost `doorward run` its start."""
    code = (
        "import sys, sidecar.cli.commands\n"
        "print(sorted({'pydantic', 'yaml', 'httpx', 'jinja2', 'mitmproxy', 'uvloop', 'cryptography',"
        " 'prometheus_client', 'structlog', 'jwt'} & sys.modules.keys()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout == "[]\n"


def test_loading_a_configuration_imports_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from sidecar.config import compile_text\n"
        "compile_text(sys.stdin.read(), Path('/nonexistent/f.yaml'), {})\n"
        "print(sorted({'httpx', 'jinja2', 'mitmproxy', 'uvloop', 'typer', 'rich', 'asyncio', 'ssl',"
        " 'prometheus_client', 'structlog', 'pydantic_settings'} & sys.modules.keys()))"
    )
    from tests.config.files import complete

    found = subprocess.run(
        [sys.executable, "-c", code],
        input=complete(""),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout == "[]\n"
