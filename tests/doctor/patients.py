"""Ingresses to examine: the recipes of config/ingress/, with a line cut out or put in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from tests.cli.commands import doorward
from tests.ingress.harness import World
from tests.ingress.test_haproxy import HAProxy
from tests.ingress.test_nginx import Nginx

__all__ = ["Found", "HAProxyPatient", "NginxPatient", "Surgery"]


NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class _Patient(Protocol):
    def start(self, world: World) -> AbstractContextManager[object]: ...


class NginxPatient(Nginx):
    """nginx with patterns of its file replaced."""

    def __init__(self, changes: Mapping[str, str] = NOTHING) -> None:
        self._changes = changes

    def text(self, world: World) -> str:
        return _changed(super().text(world), self._changes)


class HAProxyPatient(HAProxy):
    """HAProxy with patterns of its file replaced, and texts of its script."""

    def __init__(self, changes: Mapping[str, str] = NOTHING, script: Mapping[str, str] = NOTHING) -> None:
        super().__init__(**script)
        self._wrong = changes

    def text(self, world: World) -> str:
        return _changed(super().text(world), self._wrong)


def _changed(text: str, changes: Mapping[str, str]) -> str:
    for pattern, replacement in changes.items():
        assert re.search(pattern, text), f"nothing is like {pattern}"
        text = re.sub(pattern, replacement.replace("\\", r"\\"), text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the doctor said, and its exit status."""

    code: int
    document: Any
    out: str

    def verdicts(self, group: str) -> set[str]:
        """Return the verdicts of one group."""
        return {row["verdict"] for row in self.document["findings"] if row["group"] == group}

    def rows(self, verdict: str) -> list[tuple[str, str]]:
        """Return probe and answer of every row with that verdict."""
        return [(row["probe"], row["came"]) for row in self.document["findings"] if row["verdict"] == verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surgery:
    """Doorward, the application and the cookie of somebody in the group staff."""

    world: World
    cookie: Path

    def examine(
        self, patient: _Patient, *more: str, path: str = "/admin/x", echo: str = "/page/echo"
    ) -> Found:
        """Start the ingress, have the doctor look, and return what it said."""
        seen = ["--echo", echo, "--cookie", str(self.cookie)] if echo else []
        options = ["--path", path, "--public-path", "/public/x", *seen, "--json", *more]
        with patient.start(self.world):
            self.world.application.forget()
            outcome = doorward("doctor", "--ingress", self.world.url, *options)
        return Found(code=outcome.code, document=json.loads(outcome.out), out=outcome.out)
