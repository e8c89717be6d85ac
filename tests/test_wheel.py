"""The wheel alone is enough: installed where no checkout is in sight, it runs the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.processes import find_free_port, running, wait_for_port, wait_for_text

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 10.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A virtual environment with the wheel in it, and a folder far from the checkout to work in."""

    wheel: Path
    bin: Path
    folder: Path

    def environment(self) -> dict[str, str]:
        """Return a user's environment: nothing in it leads back to the checkout or its environment."""
        unwanted = ("PYTHON", "VIRTUAL_ENV", "PYTEST", "COV_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        return kept | {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.folder)}


def run(*command: str | Path, cwd: Path) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=380)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Build the wheel and install it, with its dependencies as locked, into an empty environment.

    The dependencies come through pip with their hashes checked, as for any user; set-up has left them in
    pip's cache, so that this takes seconds.
    """
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    pip = (sys.executable, "-m", "pip", "--python", folder / "venv" / "bin" / "python")
    lock = ROOT / "requirements" / "run.txt"
    run(*pip, "install", "--quiet", "--require-hashes", "--requirement", lock, cwd=folder)
    run(*pip, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    # What the wheel says it needs is what the lock brought.
    run(*pip, "check", cwd=folder)
    return Installation(wheel=wheel, bin=folder / "venv" / "bin", folder=folder)


def test_the_wheel_holds_the_packages_with_their_data_and_nothing_else(installation: Installation) -> None:
    with zipfile.ZipFile(installation.wheel) as archive:
        names = set(archive.namelist())
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in ("sidecar", "addons")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix in {".py", ".html", ".css", ".typed"}
    }

    assert expected <= names
    assert {name.partition("/")[0] for name in names} == {"sidecar", "addons", "doorward-0.1.0.dist-info"}
    assert "doorward-0.1.0.dist-info/licenses/LICENSE" in names


def test_the_installed_package_is_the_wheels_own(installation: Installation) -> None:
    show = "import addons, sidecar; print(sidecar.__file__, addons.__file__)"
    done = subprocess.run(
        [installation.bin / "python", "-c", show],
        cwd=installation.folder,
        env=installation.environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert all(Path(place).is_relative_to(installation.bin.parent) for place in done.stdout.split())


def test_the_installed_demo_sends_a_stranger_to_sign_in(installation: Installation) -> None:
    port = find_free_port()
    log = installation.folder / "demo.log"
    command: list[str | Path] = [installation.bin / "doorward", "demo", "--port", str(port)]
    with running(command, log=log, cwd=installation.folder, env=installation.environment()) as process:
        wait_for_port(port, process)
        with httpx.Client(follow_redirects=True, timeout=10.0, trust_env=False) as stranger:
            refused = stranger.get(f"http://localhost:{port}/", headers={"Accept": "application/json"})
            page = stranger.get(f"http://localhost:{port}/", headers={"Accept": "text/html"})
        wait_for_text(log, "What the gate decides")
        process.send_signal(signal.SIGINT)
        status = process.wait(STOP_SECONDS)

    said = log.read_text(encoding="utf-8")
    assert refused.status_code == 401
    assert page.history[0].is_redirect
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert f"http://localhost:{port}" in said
    assert status == 0, said
    assert "Traceback" not in said
