from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.cli.commands import doorward, write_config


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


class TestNew:
    def test_a_key_is_32_random_bytes_in_base64(self) -> None:
        first, second = doorward("keys", "new"), doorward("keys", "new")
        assert (first.code, first.err) == (0, "")
        assert len(base64.b64decode(first.out, validate=False)) == 32
        assert first.out != second.out

    def test_a_key_in_a_file_is_its_owners_alone(self, tmp_path: Path) -> None:
        """S74: and it is not printed besides."""
        file = tmp_path / "key"
        found = doorward("keys", "new", "--out", file)
        assert (found.code, found.out) == (0, "")
        assert found.err == f"{file} holds the key; only its owner can read it.\n"
        assert mode(file) == 0o600
        text = f"session: {{keys: [{{file: {file}}}]}}\n"
        assert doorward("check", write_config(tmp_path, text)).code == 0

    def test_a_file_is_never_written_over(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text("precious")
        found = doorward("keys", "new", "--out", file)
        assert (found.code, found.out) == (1, "")
        assert found.err == f"{file}: exists already, and a key is never written over; name another file\n"
        assert file.read_text() == "precious"

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
        assert doorward("keys", "new", "--out", tmp_path / "key").code == 1
        assert not (tmp_path / "elsewhere").exists()

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        file = tmp_path / "no" / "key"
        found = doorward("keys", "new", "--out", file)
        assert (found.code, found.err) == (1, f"{file}: can't be written: No such file or directory\n")


class TestAssertion:
    def test_a_key_is_p_256_in_pem(self, tmp_path: Path) -> None:
        file = tmp_path / "assertion.pem"
        assert doorward("keys", "assertion", "--out", file).code == 0
        key = load_pem_private_key(file.read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        assert key.curve.name == "secp256r1"
        text = f"headers: {{assertion: {{keys: [{{file: {file}}}]}}}}\n"
        found = doorward("check", write_config(tmp_path, text))
        assert found.code == 0
        assert "X-Doorward-Assertion (signed assertion)" in found.out

    def test_it_can_be_printed(self) -> None:
        assert doorward("keys", "assertion").out.startswith("-----BEGIN PRIVATE KEY-----\n")


class TestRotate:
    @pytest.fixture
    def keys(self, tmp_path: Path) -> list[Path]:
        """Three files, the first two with keys."""
        files = [tmp_path / name for name in ("newest", "older", "oldest")]
        for file in files[:2]:
            doorward("keys", "new", "--out", file)
        return files

    def test_each_key_moves_on_and_a_new_one_comes_first(self, keys: list[Path]) -> None:
        before = [file.read_text() for file in keys[:2]]
        found = doorward("keys", "rotate", *keys)
        assert found.code == 0
        assert found.out == f"{keys[0]} holds a new key. It counts once Doorward has read it again.\n"
        after = [file.read_text() for file in keys]
        assert after[1:] == before
        assert after[0] not in before
        assert [mode(file) for file in keys] == [0o600] * 3
        assert sorted(path.name for path in keys[0].parent.iterdir()) == ["newest", "older", "oldest"]

    def test_the_oldest_goes(self, keys: list[Path]) -> None:
        before = [file.read_text() for file in keys[:2]]
        doorward("keys", "rotate", *keys[:2])
        assert keys[1].read_text() == before[0]

    def test_one_file_alone_would_sign_everybody_out(self, keys: list[Path]) -> None:
        before = keys[0].read_text()
        found = doorward("keys", "rotate", keys[0])
        assert found.code == 2
        assert found.err == (
            "keys rotate: name two files at least, the newest key's first, as in session.keys: with one alone"
            " everybody would be signed out\n"
        )
        assert keys[0].read_text() == before

    def test_a_file_named_twice_is_refused(self, keys: list[Path]) -> None:
        found = doorward("keys", "rotate", keys[0], keys[0])
        assert (found.code, found.err) == (2, "keys rotate: a file is named twice; each key has its own\n")

    def test_there_must_be_a_key_to_move_on(self, tmp_path: Path) -> None:
        found = doorward("keys", "rotate", tmp_path / "a", tmp_path / "b")
        assert found.code == 1
        assert (
            found.err == f"{tmp_path}/a: holds no key yet; `doorward keys new --out {tmp_path}/a` makes one\n"
        )

    def test_a_folder_that_can_not_be_written(self, keys: list[Path]) -> None:
        missing = keys[0].parent / "no" / "key"
        found = doorward("keys", "rotate", keys[0], missing)
        assert found.code == 1
        assert found.err.endswith(": No such file or directory; nothing was lost, mend it and start again\n")
        assert keys[0].exists()

    def test_sessions_of_the_key_before_still_open(self, keys: list[Path], tmp_path: Path) -> None:
        """S34: rotation signs nobody out."""
        text = f"session: {{keys: [{{file: {keys[0]}}}, {{file: {keys[1]}}}]}}\n"
        file = write_config(tmp_path, text)
        assert doorward("keys", "rotate", *keys[:2]).code == 0
        assert doorward("check", file).code == 0
