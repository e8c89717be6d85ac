"""A missing part is told, never passed over: a skip with its mend at home, a failure in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.parts import find_part, require_part

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent


def test_a_missing_part_is_a_skip_that_names_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="wrk; to mend: 'apt-get install wrk'"):
        require_part("wrk")


def test_a_missing_part_is_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="missing part: wrk"):
        require_part("wrk")


def test_a_part_is_found_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    part = tmp_path / "wrk"
    part.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_part("wrk") == part
    assert require_part("wrk") == part


def test_the_end_of_a_run_lists_what_was_left_out(tmp_path: Path) -> None:
    lines = ["import pytest", "from tests.parts import require_part"]
    lines += [f"def test_{name}(): require_part('wrk')" for name in ("one", "two")]
    (tmp_path / "test_left_out.py").write_text("\n".join(lines), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"PATH": ""}
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "pyproject.toml"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout
    assert "2 tests without wrk; to mend: 'apt-get install wrk'" in done.stdout


def test_the_browser_shows_a_page(browser: Browser) -> None:
    page = browser.new_context().new_page()
    page.set_content("<h1>Doorward</h1>")

    assert page.get_by_role("heading").inner_text() == "Doorward"
