"""What the tests of running processes share."""

from tests.blackbox.fixtures import application, folder, script, scripted

__all__ = ["application", "folder", "script", "scripted"]
