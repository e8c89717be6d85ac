"""The black-box tests of acceptance, on the interception engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = (
    "test_a09_unverified_email.py",
    "test_a10_sign_out.py",
    "test_a11_cookie.py",
    "test_a12_large_session.py",
    "test_a14_spoofed_headers.py",
    "test_d02_provider_errors.py",
    "test_d04_streams.py",
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("file", FILES)
def test_what_holds_on_the_express_engine_holds_here(file: str) -> None:
    """S36, S39, S41-S48, S54: the same processes, clients and expectations."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"tests/acceptance/{file}", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=os.environ | {"DOORWARD_ENGINE": "interception", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-6000:]
