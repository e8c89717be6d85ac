"""What the tests with applications of others share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.blackbox.fixtures import folder, script, scripted

__all__ = ["bin_folder", "folder", "script", "scripted"]


@pytest.fixture(scope="session")
def bin_folder() -> Path:
    """Return where the commands of the installed applications are."""
    return Path(sys.executable).parent
