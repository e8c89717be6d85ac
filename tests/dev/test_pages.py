"""The commands in pages that people wrote by hand are commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_group

from sidecar.cli.commands import app

_ROOT = Path(__file__).parents[2]
_PAGES = ("README.md", "docs/dev.md", "docs/netfilter.md")


def commands() -> list[tuple[str, str]]:
    line = re.compile(r"^doorward (?:dev|netfilter) .*", re.MULTILINE)
    return [(page, found) for page in _PAGES for found in line.findall((_ROOT / page).read_text("utf-8"))]


def test_there_are_some_on_each_page() -> None:
    assert {page for page, _ in commands()} == set(_PAGES)


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_is_understood(page: str, line: str) -> None:
    _, name, *arguments = shlex.split(line, comments=True)
    command = get_group(app).commands[name]
    context = command.make_context(name, arguments)
    assert context.params["port" if name == "netfilter" else "listen"]


@pytest.mark.parametrize(
    "option", [o for p in get_group(app).commands["dev"].params for o in p.opts if "--" in o]
)
def test_every_option_of_dev_is_in_its_page(option: str) -> None:
    page = (_ROOT / "docs/dev.md").read_text("utf-8")
    assert f"{option}" in page or option == "--help"
