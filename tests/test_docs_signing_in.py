"""docs/signing-in.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from sidecar.core.claims import _MAX_MEMBERSHIPS
from sidecar.core.flows.signout import _MAX_URL_CHARACTERS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "signing-in.md").read_text("utf-8")
# Codes that the provider says, not we.
PROVIDERS_OWN = {"access_denied", "invalid_client", "invalid_grant"}


def test_each_code_that_the_page_explains_exists() -> None:
    _, _, table = PAGE.partition("## Why a login was refused")
    rows = re.findall(r"^\| (`.*?) \|", table.partition("\n## ")[0], re.MULTILINE)
    codes = {code for row in rows for code in re.findall(r"`([a-z0-9_]+)`", row)}
    source = "".join(path.read_text("utf-8") for path in (ROOT / "sidecar").rglob("*.py"))
    prefixed = {code for code in codes if code.startswith("state_")}

    assert len(codes) > 20
    assert {code for code in codes - PROVIDERS_OWN - prefixed if f'"{code}"' not in source} == set()
    assert {code.removeprefix("state_") for code in prefixed} == {"invalid", "no_cookie", "expired"}


def test_the_limits_are_those_of_the_code() -> None:
    assert f"{_MAX_MEMBERSHIPS:,} groups" in PAGE
    assert f"{_MAX_URL_CHARACTERS:,} characters" in PAGE
