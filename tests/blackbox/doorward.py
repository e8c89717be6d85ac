"""Runs the real `doorward run --config ...` as a process, and holds it to what a run must never do.

At the end of each run: exit code 0 after SIGTERM, no traceback, and none of the secrets that the run met
(keys, client secrets, cookies, codes, tokens) in anything it wrote (S27).
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from tests.blackbox.agent import Agent
from tests.blackbox.waiting import wait_until
from tests.processes import find_free_port, running

__all__ = ["COMMAND", "Doorward", "new_key", "run_to_end"]

# DOORWARD_COMMAND runs the same tests against another installation, such as that of a wheel.
COMMAND = Path(os.environ.get("DOORWARD_COMMAND") or Path(sys.executable).with_name("doorward"))
_START_SECONDS = 20.0
_STOP_SECONDS = 45.0
_AUTHENTICATED = [{"allow": "authenticated"}]


def new_key() -> str:
    """Return a session key as configuration takes it."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def run_to_end(*arguments: str | Path, seconds: float = 20.0) -> subprocess.CompletedProcess[str]:
    """Run a doorward command that ends by itself."""
    return subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    # Terminals' widths and colours would change what is written.
    unwanted = {"PYTHONDEVMODE", "PYTHONWARNINGS", "FORCE_COLOR"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def _engine(folder: Path) -> dict[str, Any]:
    """DOORWARD_ENGINE runs the same tests on another engine."""
    engine = os.environ.get("DOORWARD_ENGINE", "express")
    if engine == "express":
        return {}
    return {"engine": engine, "authority_folder": str(folder / "authority"), "workers": 1}


class Doorward:
    """A running Doorward. As a context manager it is stopped, and judged, at the end of the block.

    `provider` is the `provider` of the configuration, `upstreams` what is in front of it; anything else goes
    into the configuration as it is. `secret_source` may grow while it runs, as a provider's tokens do.
    """

    def __init__(
        self,
        folder: Path,
        *,
        provider: dict[str, Any] | None = None,
        upstreams: dict[str, Any] | None = None,
        port: int | None = None,
        scheme: str = "http",
        trust: Any = True,
        wait: str = "ready",
        secret_source: Iterable[str] = (),
        **settings: Any,
    ) -> None:
        self.port = port or find_free_port()
        self.admin_port = find_free_port()
        self.url = f"{scheme}://localhost:{self.port}"
        self.folder = folder
        self.path = folder / "doorward.yaml"
        self.log_path = folder / f"doorward-{self.port}.log"
        self.trust = trust
        self.secrets: set[str] = set()
        self._secret_source = secret_source
        settings = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": f"127.0.0.1:{self.admin_port}",
            "public_url": self.url,
            "session": {"keys": [new_key()]},
            "access": _AUTHENTICATED,
            **_engine(folder),
            **({"provider": provider} if provider else {}),
            **({"upstreams": upstreams} if upstreams else {}),
            **settings,
        }
        # None takes away what would be there without it.
        self.settings = {name: value for name, value in settings.items() if value is not None}
        self._stack = ExitStack()
        self._started = 0
        self.start(wait=wait)

    def start(self, *, wait: str = "ready", **changed: Any) -> None:
        """Start it, with changed settings if any; wait until it is "ready", or only "alive"."""
        self.settings |= changed
        self.path.write_text(yaml.safe_dump(self.settings, sort_keys=False), encoding="utf-8")
        self.path.chmod(0o600)
        self.note_secrets(_secrets_of(self.settings))
        self._started += 1
        self.log_path = self.folder / f"doorward-{self.port}-{self._started}.log"
        self.process = self._stack.enter_context(
            running([COMMAND, "run", "--config", self.path], log=self.log_path, env=_environment())
        )
        try:
            path = "/readyz" if wait == "ready" else "/healthz"
            wait_until(lambda: self._answers(path), f"200 at {path}", seconds=_START_SECONDS)
        except AssertionError as error:
            self._stack.close()
            raise AssertionError(f"{error}\n{self.log}") from None

    def _answers(self, path: str) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"ended with status {self.process.returncode}")
        try:
            return self.admin(path).status_code == 200
        except httpx.TransportError:
            return False

    def admin(self, path: str) -> httpx.Response:
        """Get a path of the admin listener."""
        return httpx.get(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5.0, trust_env=False)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series that have these labels; 0 when there is none."""
        total = 0.0
        for line in self.admin("/metrics").text.splitlines():
            series, _, value = line.rpartition(" ")
            known, _, rest = series.partition("{")
            if known == name and all(f'{label}="{text}"' in rest for label, text in labels.items()):
                total += float(value)
        return total

    def agent(self, **options: Any) -> Agent:
        """Return a new person's browser, whose cookies and codes must not appear in the log."""
        return Agent(verify=self.trust, note_secret=self.secrets.add, **options)

    def note_secrets(self, values: Iterable[str]) -> None:
        self.secrets.update(values)

    @property
    def log(self) -> str:
        """Return what this run has written so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of an event ("request" for access lines)."""
        lines = [json.loads(line) for line in self.log.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if line["event"] == event]

    def request_line(self, **facts: object) -> dict[str, Any]:
        """Wait for an access line with these facts, and return it."""

        def find() -> dict[str, Any] | None:
            lines = self.log_lines("request")
            return next((line for line in lines if line.items() >= facts.items()), None)

        return wait_until(find, f"an access line with {facts}")

    def stop(self) -> None:
        """End it by SIGTERM, and judge the run."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        finally:
            self._stack.close()
        assert self.process.returncode == 0, f"exit code {self.process.returncode}\n{self.log[-4000:]}"
        self.judge_log()

    def judge_log(self) -> None:
        """Hold what was written against S27, and against defects of ours."""
        text = self.log
        self.note_secrets(self._secret_source)
        assert "Traceback" not in text, text[-6000:]
        leaked = [secret for secret in self.secrets if len(secret) >= 8 and secret in text]
        lines = [line for line in text.splitlines() if any(secret in line for secret in leaked)]
        assert not leaked, f"in the log: {leaked}\n" + "\n".join(lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self._stack.close()


def _secrets_of(settings: object) -> Iterable[str]:
    """Yield each secret that stands in a configuration as it is."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            if name in {"client_secret", "private_key", "secret"} and isinstance(value, str):
                yield value
            elif name == "keys" and isinstance(value, list):
                yield from (key for key in value if isinstance(key, str))
            else:
                yield from _secrets_of(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _secrets_of(value)
