"""Runs commands in this process, as a person types them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from sidecar.cli.commands import app
from tests.config.files import complete

__all__ = ["Outcome", "doorward", "write_config"]


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def doorward(*arguments: str | Path, **environment: str) -> Outcome:
    """Run a command; a defect is raised, not reported."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def write_config(folder: Path, text: str, mode: int = 0o600) -> Path:
    """Write a completed configuration."""
    file = folder / "doorward.yaml"
    file.write_text(complete(text), encoding="utf-8")
    file.chmod(mode)
    return file
