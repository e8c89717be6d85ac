"""Runs a real mitmdump with an addon of ours, in front of an application that tells what it received."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.blackbox.doorward import new_key
from tests.blackbox.httpserver import Answer, HttpServer, Received
from tests.processes import find_free_port, running, wait_for_port

__all__ = ["ADDONS", "Mitmdump", "mitmdump", "refusing_to_start", "teller", "write_config"]

ROOT = Path(__file__).parents[2]
ADDONS = ROOT / "addons"
PROGRAM = Path(sys.executable).with_name("mitmdump")


@dataclass
class Mitmdump:
    """A mitmdump that runs; `log` is what it has written."""

    url: str
    log_path: Path
    process: Any

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str = "/", **options: Any) -> httpx.Response:
        """Get a path, as a program does."""
        return httpx.get(self.url + path, timeout=10.0, trust_env=False, **options)


def _command(script: Path, target: str, port: int, settings: Sequence[str], folder: Path) -> list[str]:
    words = [str(PROGRAM), "-s", str(script), "--mode", f"reverse:{target}", "--listen-port", str(port)]
    if not any(setting.startswith("listen_host=") for setting in settings):
        words += ["--listen-host", "127.0.0.1"]
    words += ["--set", f"confdir={folder / 'mitm'}"]
    for setting in settings:
        words += ["--set", setting]
    return words


def _environment() -> dict[str, str]:
    unwanted = {"PYTHONDEVMODE", "PYTHONWARNINGS"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return kept | {"PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def mitmdump(
    script: Path, target: str, folder: Path, *settings: str, port: int | None = None
) -> Iterator[Mitmdump]:
    """Run mitmdump with `script` before `target`."""
    port = port or find_free_port()
    log = folder / "mitmdump.log"
    command = _command(script, target, port, settings, folder)
    with running(command, log=log, env=_environment()) as process:
        try:
            wait_for_port(port, process)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log.read_text(encoding='utf-8')}") from None
        yield Mitmdump(f"http://localhost:{port}", log, process)


def refusing_to_start(script: Path, folder: Path, *settings: str) -> str:
    """Run mitmdump where it must end by itself; return what it wrote."""
    log = folder / "mitmdump.log"
    command = _command(script, "http://127.0.0.1:9", find_free_port(), settings, folder)
    with running(command, log=log, env=_environment()) as process:
        assert process.wait(20) != 0
    return log.read_text(encoding="utf-8", errors="replace")


class Teller(HttpServer):
    """An application that answers what it received, as JSON."""

    def __init__(self) -> None:
        super().__init__(self._tell)

    @staticmethod
    def _tell(received: Received) -> Answer:
        told = {"target": received.target, "headers": received.headers}
        return Answer(headers=(("Content-Type", "application/json"),), body=json.dumps(told).encode())


@contextlib.contextmanager
def teller() -> Iterator[Teller]:
    """Run the application."""
    application = Teller()
    with application.running():
        yield application


def write_config(folder: Path, port: int, target: str, **settings: Any) -> Path:
    """Write a configuration for a gate on `port`."""
    path = folder / "doorward.yaml"
    base: dict[str, Any] = {
        "public_url": f"http://localhost:{port}",
        "upstream": target,
        "provider": {"type": "oidc", "issuer": "http://localhost:9", "client_id": "app"},
        "session": {"keys": [new_key()]},
        "access": [
            {"path": "/public/**", "allow": "anyone"},
            {"path": "/**", "allow": "authenticated"},
        ],
    }
    path.write_text(yaml.safe_dump(base | settings, sort_keys=False), encoding="utf-8")
    path.chmod(0o600)
    return path


def plain(text: str) -> str:
    """Return text without a terminal's colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
