"""What black-box tests share, for this folder."""

from __future__ import annotations

from tests.blackbox.fixtures import application, folder

__all__ = ["application", "folder"]
