"""What the tests of all ingresses share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.fixtures import application, folder, script, scripted
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.ingress.harness import Ingress, World, open_world
from tests.parts import require_part

__all__ = ["application", "folder", "script", "scripted", "world"]


@pytest.fixture(scope="class")
def world(
    request: pytest.FixtureRequest, scripted: ScriptedProvider, application: Application, folder: Path
) -> Iterator[World]:
    """Run the world of the test's class, whose attribute `ingress` says which ingress is in it."""
    ingress = request.cls.ingress
    assert isinstance(ingress, Ingress)
    require_part(ingress.part)
    with open_world(folder / request.cls.__name__, ingress, scripted, application.upstream) as running:
        yield running
