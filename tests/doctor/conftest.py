"""A Doorward behind which any ingress can be put, right or wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.blackbox.fixtures import application, folder, scripted
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.doctor.patients import HAProxyPatient, Surgery
from tests.ingress.harness import Ingress, World, open_world
from tests.parts import require_part

__all__ = ["application", "folder", "scripted", "surgery"]


class _Nobody(Ingress):
    """No ingress: each test starts its own. A rule by method is there to be tricked with."""

    name = "none"
    settings: ClassVar[dict[str, Any]] = {
        "access": [
            {"path": "/public/**", "allow": "anyone"},
            {"path": "/cors/**", "methods": ["OPTIONS"], "allow": "anyone"},
            {"path": "/admin/**", "allow": {"groups": ["admins"]}},
            {"allow": "authenticated"},
        ]
    }

    @contextlib.contextmanager
    def start(self, world: World) -> Iterator[None]:
        """Start nothing."""
        del world
        yield


@pytest.fixture(scope="module")
def surgery(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Surgery]:
    """Run Doorward and the application, with somebody signed in."""
    require_part("haproxy")
    with open_world(folder / "surgery", _Nobody(), scripted, application.upstream) as world:
        with HAProxyPatient().start(world):
            person = world.signed_in()
        cookie = folder / "cookie"
        cookie.write_text(f"Cookie: {person.cookie_header(world.url)}\n", encoding="ascii")
        yield Surgery(world=world, cookie=cookie)
