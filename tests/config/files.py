"""Configurations for tests: what a test writes, completed to one that could serve."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from sidecar.config import Loaded, compile_text
from sidecar.core.errors import ConfigurationError
from sidecar.core.runtime import Runtime, Site

__all__ = ["KEY", "complete", "loaded", "problems", "runtime", "site", "warnings"]

KEY = base64.b64encode(bytes(range(32))).decode()

_BASE = {
    "public_url": "https://app.example.com",
    "upstream": "http://127.0.0.1:3000",
    "provider": "{type: oidc, issuer: https://id.example.com, client_id: app}",
    "session": f"{{keys: [{KEY}]}}",
    "access": "[{allow: authenticated}]",
}
_INSTEAD = {"upstreams": "upstream", "providers": "provider"}


def complete(text: str) -> str:
    """Return `text` followed by whatever a site needs besides: its own lines keep their numbers."""
    keys = set(re.findall(r"^([a-z_]+):", text, re.MULTILINE))
    if "sites" in keys:
        return text
    present = keys | {_INSTEAD.get(key, key) for key in keys}
    return text + "".join(f"{key}: {value}\n" for key, value in _BASE.items() if key not in present)


def loaded(
    text: str, environment: Mapping[str, str] | None = None, folder: Path = Path("/nonexistent")
) -> Loaded:
    """Return the completed configuration, compiled."""
    return compile_text(complete(text), folder / "doorward.yaml", environment or {})


def runtime(text: str, environment: Mapping[str, str] | None = None) -> Runtime:
    """Return its runtime."""
    return loaded(text, environment).runtime


def site(text: str, environment: Mapping[str, str] | None = None) -> Site:
    """Return its first site."""
    return runtime(text, environment).sites[0]


def problems(
    text: str, environment: Mapping[str, str] | None = None, folder: Path = Path("/nonexistent")
) -> list[str]:
    """Return the sentences with which the completed configuration is refused, without the file's folder."""
    try:
        loaded(text, environment, folder)
    except ConfigurationError as error:
        return [sentence.removeprefix(f"{folder}/doorward.yaml:") for sentence in error.problems]
    return []


def warnings(text: str, folder: Path = Path("/nonexistent")) -> list[str]:
    """Return its warnings, without the file's folder."""
    prefix = f"{folder}/doorward.yaml:"
    return [sentence.removeprefix(prefix).lstrip() for sentence in loaded(text, folder=folder).warnings]
