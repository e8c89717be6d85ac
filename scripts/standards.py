"""Fills the last column of docs/standards.md: which tests prove which line.

A line of a test's docstring that begins with ids ("S31: ...", "S30, S31: ...", "S62-S66: ...",
"oidcc-client-test-invalid-iss: ...") proves those lines. Only the last column is written; with --check
nothing is, and the status says whether the page is up to date.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "standards.md"

_ID = r"(?:[A-Z]\d{1,2}|(?:oidcc-client|fapi2)[a-z0-9-]*)"
_CLAIM = re.compile(rf"\s*({_ID}(?:\s*(?:,|-)\s*{_ID})*):")
_ROW = re.compile(rf"\| (?P<id>{_ID}) \| (?P<rule>.*?) \| ?(?P<proof>.*?) ?\|")
_LATER = "later: "
# The second are base classes (promises.py), whose tests run in each class that inherits them.
_HOLDS_TESTS = re.compile(r"Test|\w+Promises$")


class UnknownLineError(Exception):
    """A test claims to prove a line that the page does not have."""


def _expand(claim: str) -> Iterator[str]:
    for part in re.split(r"\s*,\s*", claim):
        span = re.fullmatch(r"([A-Z])(\d+)\s*-\s*\1(\d+)", part)
        if span is None:
            yield part
            continue
        letter, first, last = span.groups()
        for number in range(int(first), int(last) + 1):
            yield f"{letter}{number:0{len(first)}}"


def find_ids(docstring: str) -> list[str]:
    """Return the ids that the docstring's lines begin with, in order."""
    claims = (_CLAIM.match(line) for line in docstring.splitlines())
    return [line_id for claim in claims if claim for line_id in _expand(claim[1])]


def _tests_of(source: str) -> Iterator[tuple[str, str]]:
    """Yield the name and docstring of each test, and of each class of tests."""

    def visit(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, str]]:
        for node in body:
            if isinstance(node, ast.ClassDef) and _HOLDS_TESTS.match(node.name):
                yield prefix + node.name, ast.get_docstring(node) or ""
                yield from visit(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield prefix + node.name, ast.get_docstring(node) or ""

    yield from visit(ast.parse(source).body, "")


def collect_proofs(tests: Path) -> dict[str, list[str]]:
    """Return for each id the tests (`file::name`, from the checkout's root) that prove it."""
    proofs: dict[str, list[str]] = {}
    for path in sorted((*tests.rglob("test_*.py"), *tests.rglob("promises.py"))):
        if "node_modules" in path.parts:
            continue
        place = path.relative_to(tests.parent).as_posix()
        for name, docstring in _tests_of(path.read_text(encoding="utf-8")):
            for line_id in find_ids(docstring):
                proofs.setdefault(line_id, []).append(f"{place}::{name}")
    return proofs


def render_page(page: str, proofs: Mapping[str, list[str]]) -> str:
    """Return the page with its last column written anew; raise UnknownLineError for an id without a row."""
    unknown = set(proofs) - {row["id"] for row in _ROW.finditer(page)}
    if unknown:
        claims = "; ".join(f"{line_id} in {', '.join(proofs[line_id])}" for line_id in sorted(unknown))
        raise UnknownLineError(f"no row of docs/standards.md has the id of: {claims}")

    def fill(row: re.Match[str]) -> str:
        kept = row["proof"] if row["proof"].startswith(_LATER) else ""
        proof = "<br>".join(f"`{test}`" for test in proofs.get(row["id"], ())) or kept
        return f"| {row['id']} | {row['rule']} | {proof + ' ' if proof else ''}|"

    return "\n".join(_ROW.sub(fill, line) for line in page.split("\n"))


def find_open_lines(page: str) -> list[str]:
    """Return the ids of the rows that have neither a test nor a reason to come later."""
    return [row["id"] for row in _ROW.finditer(page) if not row["proof"]]


def main(arguments: list[str]) -> int:
    """Write the page, or with --check compare it; return the exit status."""
    page = PAGE.read_text(encoding="utf-8")
    try:
        rendered = render_page(page, collect_proofs(ROOT / "tests"))
    except UnknownLineError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments == ["--check"]:
        return int(page != rendered)
    PAGE.write_text(rendered, encoding="utf-8")
    open_lines = find_open_lines(rendered)
    print(f"docs/standards.md is written; lines without a test: {', '.join(open_lines) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
