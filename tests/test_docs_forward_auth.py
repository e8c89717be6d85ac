"""The pages on forward auth say what the code and the files of config/ingress do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar.core.forwardauth.dialects import BY_NAME, Dialect
from sidecar.core.sessioncookie import MAX_CHUNKS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "forward-auth.md"
NGINX = ROOT / "config" / "ingress" / "nginx.conf"
TEXT = PAGE.read_text("utf-8")
PAGES = (PAGE, *sorted((ROOT / "docs" / "ingress").glob("*.md")))


def row_of(dialect: Dialect) -> list[str]:
    (line,) = re.findall(rf"^\| `{dialect.name}` \| (.*) \|$", TEXT, re.MULTILINE)
    return [cell.strip().lower() for cell in line.split("|")]


@pytest.mark.parametrize("dialect", BY_NAME.values(), ids=lambda dialect: dialect.name)
def test_each_dialect_has_its_row(dialect: Dialect) -> None:
    method, target, host, to_sign_in, cookies = row_of(dialect)

    assert (dialect.method or b"own").decode() in method
    assert (dialect.target or f"/oauth2/auth/{dialect.name}".encode()).decode() in target
    assert dialect.is_url or (dialect.host or b"host").decode() in host
    assert ("302" in to_sign_in) == (dialect.to_sign_in == "redirect")
    assert ("number" in cookies or "cookie-1" in cookies or "the same" in cookies) == dialect.numbers_cookies


def test_nginx_copies_as_many_cookies_as_a_session_can_be() -> None:
    """One for each chunk, and for each name that may be stale beside them."""
    texts = [path.read_text("utf-8") for path in (NGINX, ROOT / "docs" / "ingress" / "ingress-nginx.md")]

    assert all(f"$upstream_http_x_doorward_set_cookie_{MAX_CHUNKS + 2};" in text for text in texts)


def test_each_file_is_named() -> None:
    files = {path.name for path in (ROOT / "config" / "ingress").iterdir()}

    assert {name for name in files if f"`{name}`" not in TEXT} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_link_leads_to_a_file(page: Path) -> None:
    links = [
        link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")) if ":" not in link
    ]

    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []
