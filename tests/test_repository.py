"""What the repository promises about itself: its walls, its sizes, its commands and its pages."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import standards

ROOT = Path(__file__).resolve().parent.parent
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60

# Calls that reach a clock, randomness, files or other modules without an import that a contract could see.
IMPURE_CALLS = frozenset(
    {
        "__import__",
        "breakpoint",
        "date.today",
        "datetime.now",
        "datetime.today",
        "datetime.utcnow",
        "eval",
        "exec",
        "generate_key",
        "generate_private_key",
        "getLogger",
        "import_module",
        "input",
        "io.open",
        "open",
        "print",
        "uuid1",
        "uuid4",
    }
)


def read_sources(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def find_impure_calls(source: str) -> list[str]:
    """Return the calls of IMPURE_CALLS in the source, each by its last one or two names."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            names = ast.unparse(node.func).split(".")
            calls = {names[-1], ".".join(names[-2:])}
            if len(names) > 1:
                # `keys.open(token)` unseals. Paths have an `open` too: the contracts keep pathlib out.
                calls.discard("open")
            found += sorted(calls & IMPURE_CALLS)
    return found


def count_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's lines from `def` on, its docstring not counted."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def list_tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("only a git checkout knows which files are tracked")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


class TestWalls:
    @pytest.mark.parametrize(
        "source",
        [
            "import datetime\ndatetime.datetime.now(datetime.UTC)",
            "from datetime import date\ndate.today()",
            "import uuid\nuuid.uuid4()",
            "open('/etc/passwd')",
            "import io\nio.open('/etc/passwd')",
            "AESGCM.generate_key(256)",
        ],
    )
    def test_an_impure_call_is_found(self, source: str) -> None:
        assert find_impure_calls(source)

    def test_the_core_reaches_no_clock_randomness_or_file(self) -> None:
        calls = {name: find_impure_calls(text) for name, text in read_sources("sidecar/core")}

        assert {name: found for name, found in calls.items() if found} == {}

    @pytest.mark.parametrize(
        ("module", "source"),
        [
            ("core/clock.py", "import time\n"),
            ("core/network.py", "import asyncio\n"),
            ("core/client.py", "from httpx import Client\n"),
            ("core/lazy.py", "def f() -> None:\n    import socket\n"),
            ("core/up.py", "from sidecar import config\n"),
            ("config/up.py", "from sidecar import cli\n"),
            ("nobody_placed_this.py", ""),
        ],
    )
    def test_a_module_in_breach_of_the_import_contracts_is_found(
        self, tmp_path: Path, module: str, source: str
    ) -> None:
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        for package in ("sidecar", "sidecar/core", "sidecar/config", "sidecar/cli", "addons"):
            (tmp_path / package).mkdir()
            (tmp_path / package / "__init__.py").touch()
        assert self.lint_imports(tmp_path).returncode == 0

        (tmp_path / "sidecar" / module).write_text(source, encoding="utf-8")

        assert self.lint_imports(tmp_path).returncode == 1

    @staticmethod
    def lint_imports(folder: Path) -> subprocess.CompletedProcess[bytes]:
        command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
        return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=60)


class TestSizes:
    def test_no_module_is_longer_than_four_hundred_lines(self) -> None:
        lengths = {name: text.count("\n") for name, text in read_sources("sidecar", "addons")}

        assert {name: length for name, length in lengths.items() if length > MAX_MODULE_LINES} == {}

    def test_no_function_is_longer_than_sixty_lines(self) -> None:
        lengths = {
            f"{name}:{node.name}": count_lines(node)
            for name, text in read_sources("sidecar", "addons")
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }

        assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


class TestCommands:
    def test_each_make_target_that_a_page_names_exists(self) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
        pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        # In code only: at a line's start in a block, or right after a backtick. Prose may "make a choice".
        named = {
            (page.name, target)
            for page in pages
            for target in re.findall(r"(?:^ {4}|^\$ |`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
        }

        assert {(page, target) for page, target in named if target not in targets} == set()
        assert ("README.md", "demo") in named

    def test_the_targets_that_everybody_relies_on_are_listed_by_help(self) -> None:
        if shutil.which("make") is None:
            pytest.skip("make is not installed")
        told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, check=True).stdout.decode()

        listed = set(re.findall(r"^  make ([a-z]+)", told, re.MULTILINE))

        assert {"help", "demo", "test", "check", "lint", "types", "bench"} <= listed


class TestFiles:
    # Put together here, so that this file does not hold them.
    FOREIGN = (
        "/" + "work/",
        "/" + "root/",
        "pypi" + ".org",
        "files.python" + "hosted.org",
        "registry." + "npmjs.org",
        "registry." + "yarnpkg.com",
        "static." + "crates.io",
        "proxy." + "golang.org",
        "repo.maven" + ".apache.org",
        "deb." + "debian.org",
    )

    def test_no_tracked_file_names_a_place_of_one_machine_or_a_package_registry(self) -> None:
        found = {
            (path.relative_to(ROOT).as_posix(), word)
            for path in list_tracked_files()
            for word in self.FOREIGN
            if word.encode() in path.read_bytes()
        }

        assert found == set()

    @pytest.mark.parametrize("name", ["run", "dev", "build", "ingress"])
    def test_each_locked_requirement_has_a_version_and_hashes(self, name: str) -> None:
        text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        code = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))
        requirements = code.replace("\\\n", "").splitlines()
        form = re.compile(r"[a-z0-9._-]+(\[.*\])?==\S+( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+ *")

        assert len(requirements) > 1
        assert [line for line in requirements if not form.fullmatch(line)] == []

    def test_what_is_installed_alone_is_what_is_tested(self) -> None:
        """The run and build locks hold no version that the tests' lock does not hold too."""
        run, build, dev = (
            set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / name).read_text("utf-8"), re.MULTILINE))
            for name in ("run.txt", "build.txt", "dev.txt")
        )

        assert run | build <= dev


class TestStandards:
    def test_ids_are_read_from_the_beginning_of_a_docstrings_lines(self) -> None:
        docstring = """S31: one.

        S30, S32: two. See S40: not at the beginning.
        S62-S64: three.
        oidcc-client-test-invalid-iss: four.
        """

        assert standards.find_ids(docstring) == [
            "S31",
            "S30",
            "S32",
            "S62",
            "S63",
            "S64",
            "oidcc-client-test-invalid-iss",
        ]

    def test_a_row_is_filled_with_its_tests_and_keeps_its_reason_without_them(self) -> None:
        page = "| S01 | rule | later: why |\n| S02 | rule | `old` |\n| S03 | rule | later: why |"

        rendered = standards.render_page(page, {"S03": ["tests/a.py::test_b", "tests/a.py::test_c"]})

        assert rendered.split("\n") == [
            "| S01 | rule | later: why |",
            "| S02 | rule | |",
            "| S03 | rule | `tests/a.py::test_b`<br>`tests/a.py::test_c` |",
        ]
        assert standards.find_open_lines(rendered) == ["S02"]

    def test_a_test_can_not_prove_a_line_that_the_page_does_not_have(self) -> None:
        with pytest.raises(standards.UnknownLineError, match="S99"):
            standards.render_page("| S01 | rule | |", {"S99": ["tests/a.py::test_b"]})

    def test_the_page_is_up_to_date(self) -> None:
        """The mend is `make docs`."""
        page = standards.PAGE.read_text(encoding="utf-8")
        rendered = standards.render_page(page, standards.collect_proofs(ROOT / "tests"))
        lines = zip(page.split("\n"), rendered.split("\n"), strict=True)

        assert [new for old, new in lines if old != new] == []

    def test_each_line_has_a_test_or_a_reason_to_come_later(self) -> None:
        assert ", ".join(standards.find_open_lines(standards.PAGE.read_text(encoding="utf-8"))) == ""
