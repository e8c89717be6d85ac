"""The ready-made files: each loads as it is, but for the secrets that it names."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from sidecar.config import Loaded, compile_text

_CONFIG = Path(__file__).parents[2] / "config"
# What else is in config/ingress/ is for the ingresses; tests/ingress runs it.
_INGRESS = _CONFIG / "ingress"
_FILES = sorted({*_CONFIG.rglob("*.yaml")} - {*_INGRESS.rglob("*.yaml")} | {_INGRESS / "doorward.yaml"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the secrets that the files look for in /run/secrets."""
    for name, content in (("client", b"hush\n"), ("session-key", secrets.token_bytes(32))):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def load_example(name: str, folder: Path, **environment: str) -> Loaded:
    text = (_CONFIG / name).read_text(encoding="utf-8").replace("/run/secrets", str(folder))
    return compile_text(text, _CONFIG / name, environment)


@pytest.mark.parametrize("name", [str(file.relative_to(_CONFIG)) for file in _FILES])
def test_each_file_loads_without_a_warning(name: str, folder: Path) -> None:
    loaded = load_example(name, folder)
    assert loaded.warnings == ()
    assert loaded.runtime.sites


def test_no_file_holds_a_secret() -> None:
    """S74: examples are copied, and a key that is in one is everybody's."""
    for file in _FILES:
        text = file.read_text(encoding="utf-8")
        assert "client_secret: {file:" in text
        assert "{file: /run/secrets/session-key}" in text


def test_the_sidecar_takes_its_names_from_the_environment(folder: Path) -> None:
    found = load_example(
        "examples/sidecar.yaml", folder, PUBLIC_URL="https://x.example", ISSUER="https://id.example/"
    )
    site = found.runtime.sites[0]
    assert str(site.public_url) == "https://x.example"
    assert site.providers["default"].issuer == "https://id.example/"


def test_what_the_commented_file_offers_is_right(folder: Path) -> None:
    """Each commented setting of the example loads when its # is taken away."""
    lines = (_CONFIG / "doorward.example.yaml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("#")]
    taken = {line.partition(":")[0] for line in kept} | {"tls"}
    offered = [line.removeprefix("# ") for line in lines if re.match(r"# [a-z_]+: \S", line)]
    offered = [line for line in offered if line.partition(":")[0] not in taken]
    assert len(offered) >= 3
    for line in offered:
        text = "\n".join([*kept, line]).replace("/run/secrets", str(folder))
        assert compile_text(text, _CONFIG / "x.yaml", {}).warnings == (), line
