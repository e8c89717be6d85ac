"""Fixtures of black-box tests; a folder's conftest.py imports those that it wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application, upstream_application

__all__ = ["application", "folder", "script", "scripted"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the module's processes."""
    return tmp_path_factory.mktemp("blackbox")


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    """Run the module's application."""
    with upstream_application() as running:
        yield running


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedProvider]:
    """Run a provider that logs everybody in, unless a test scripts it otherwise."""
    provider = ScriptedProvider()
    with provider.running():
        yield provider


@pytest.fixture
def script(scripted: ScriptedProvider) -> Iterator[ScriptedProvider]:
    """Return the scripted provider, and put it back as it was after the test."""
    claims, seconds, offset = dict(scripted.claims), scripted.access_token_seconds, scripted.clock_offset
    scripted.forget()
    yield scripted
    scripted.script.clear()
    scripted.claims, scripted.access_token_seconds, scripted.clock_offset = claims, seconds, offset
