"""Secrets, keys and the files that hold them."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.config.files import KEY, complete, loaded, problems, site, warnings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_RAW = bytes(range(100, 132))
_PROVIDER = "provider: {{type: oidc, issuer: https://id.example.com, client_id: app, client_secret: {}}}\n"


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def pem(key: PrivateKeyTypes, passphrase: bytes | None = None) -> bytes:
    protection = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def sealed_by(text: str, folder: Path, environment: dict[str, str] | None = None) -> bytes:
    """Return what tells session keys apart: the ring's id of the first."""
    ring = loaded(text, environment, folder).runtime.sites[0].session.keys
    return ring.seal(b"", purpose="p", name=b"n", site="s", entropy=bytes)


class TestSecrets:
    @pytest.mark.parametrize("content", [b"hush", b"hush\n", b"hush\r\n", b"hush\n\n"])
    def test_a_newline_at_the_end_of_a_file_is_no_part_of_the_secret(
        self, tmp_path: Path, content: bytes
    ) -> None:
        file = private(tmp_path / "client", content)
        secret = site(_PROVIDER.format(f"{{file: {file}}}")).providers["default"].client_secret
        assert secret is not None
        assert secret.reveal() == b"hush"

    def test_a_relative_path_begins_at_the_file_of_the_configuration(self, tmp_path: Path) -> None:
        private(tmp_path / "client", b"hush")
        found = loaded(_PROVIDER.format("{file: client}"), folder=tmp_path)
        secret = found.runtime.sites[0].providers["default"].client_secret
        assert secret is not None
        assert secret.reveal() == b"hush"
        assert found.files == (tmp_path / "client",)

    def test_a_secret_may_be_in_a_variable(self) -> None:
        for written in ("{env: SECRET}", '"${SECRET}"'):
            secret = site(_PROVIDER.format(written), {"SECRET": "hush"}).providers["default"].client_secret
            assert secret is not None
            assert secret.reveal() == b"hush"

    def test_a_secret_is_never_shown_by_what_holds_it(self) -> None:
        """S74: neither the model nor the runtime repeats it."""
        assert "hush" not in repr(loaded(_PROVIDER.format("hush")))

    def test_an_empty_file_holds_no_secret(self, tmp_path: Path) -> None:
        private(tmp_path / "client", b"\n")
        assert problems(_PROVIDER.format("{file: client}"), folder=tmp_path) == [
            "1:87: provider.client_secret: the file client is empty; write the secret into it"
        ]

    def test_a_large_file_holds_no_secret(self, tmp_path: Path) -> None:
        file = private(tmp_path / "client", b"x" * 70_000)
        assert problems(_PROVIDER.format("{file: client}"), folder=tmp_path) == [
            f'1:87: provider.client_secret: "{file}" has more than 64KiB, which no secret has'
        ]

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "client").mkdir()
        complaint = f'can\'t read "{tmp_path}/client": Is a directory; name the file in it'
        found = problems(_PROVIDER.format("{file: client}"), folder=tmp_path)
        assert found == [f"1:87: provider.client_secret: {complaint}"]

    def test_a_file_that_is_not_ours_to_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> NoReturn:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        complaint = (
            f'can\'t read "{tmp_path}/client": Permission denied; let the user that runs doorward read it'
        )
        found = problems(_PROVIDER.format("{file: client}"), folder=tmp_path)
        assert found == [f"1:87: provider.client_secret: {complaint}"]


class TestSessionKeys:
    @pytest.mark.parametrize(
        "content",
        [
            _RAW,
            _RAW + b"\n",
            base64.b64encode(_RAW),
            base64.b64encode(_RAW) + b"\n",
            base64.urlsafe_b64encode(_RAW),
            base64.b64encode(_RAW).rstrip(b"="),
        ],
    )
    def test_a_file_holds_32_bytes_or_their_base64(self, tmp_path: Path, content: bytes) -> None:
        private(tmp_path / "key", content)
        plain = f"session: {{keys: [{base64.b64encode(_RAW).decode()}]}}\n"
        assert sealed_by("session: {keys: [{file: key}]}\n", tmp_path) == sealed_by(plain, tmp_path)

    def test_bytes_that_end_in_a_newline_are_a_key_all_the_same(self, tmp_path: Path) -> None:
        raw = bytes(range(31)) + b"\n"
        private(tmp_path / "key", raw)
        plain = f"session: {{keys: [{base64.b64encode(raw).decode()}]}}\n"
        assert sealed_by("session: {keys: [{file: key}]}\n", tmp_path) == sealed_by(plain, tmp_path)

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b"", "is empty, and a key has 32 bytes"),
            (_RAW[:31], "is neither base64 nor 32 bytes: it has 31 bytes that are not base64"),
            (base64.b64encode(_RAW[:16]), "has 16 bytes once its base64 is decoded, and a key has 32"),
            (base64.b64encode(_RAW * 2), "has 64 bytes once its base64 is decoded, and a key has 32"),
            (_RAW.hex().encode(), "is written in hexadecimal, and a key is written in base64"),
        ],
    )
    def test_a_key_of_another_length_names_it(self, tmp_path: Path, content: bytes, complaint: str) -> None:
        private(tmp_path / "key", content)
        assert problems("session: {keys: [{file: key}]}\n", folder=tmp_path) == [
            f"1:18: session.keys[0]: {complaint}; `doorward keys new` makes a key"
        ]

    def test_a_key_in_a_variable_is_base64(self, tmp_path: Path) -> None:
        text = "session: {keys: [{env: SESSION_KEY}]}\n"
        assert sealed_by(text, tmp_path, {"SESSION_KEY": KEY + "\n"}) == sealed_by("", tmp_path)

    def test_a_made_up_key_is_refused_where_others_could_guess_it(self) -> None:
        made_up = base64.b64encode(b"k" * 32).decode()
        assert problems(f"session: {{keys: [{made_up}]}}\n") == [
            "1:18: session.keys[0]: is not random, so anybody may have it; `doorward keys new` makes a key"
        ]
        text = f"session: {{keys: [{made_up}]}}\npublic_url: http://localhost:8080\n"
        assert warnings(text) == [
            "1:18: session.keys[0]: is not random, so anybody may have it; `doorward keys new` makes a key"
        ]

    def test_the_first_key_seals_and_all_open(self) -> None:
        other = base64.b64encode(_RAW).decode()
        old = site(f"session: {{keys: [{other}]}}\n").session.keys
        ring = site(f"session: {{keys: [{KEY}, {other}]}}\n").session.keys
        token = old.seal(b"x", purpose="p", name=b"n", site="s", entropy=os.urandom)
        assert ring.open(token, purpose="p", name=b"n", site="s") == b"x"


class TestPrivateKeys:
    @pytest.mark.parametrize(
        ("key", "algorithm"),
        [
            (rsa.generate_private_key(65537, 2048), "RS256"),
            (ec.generate_private_key(ec.SECP256R1()), "ES256"),
            (ec.generate_private_key(ec.SECP384R1()), "ES384"),
            (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        ],
    )
    def test_the_algorithm_follows_from_the_key(
        self, tmp_path: Path, key: PrivateKeyTypes, algorithm: str
    ) -> None:
        private(tmp_path / "key.pem", pem(key))
        text = (
            "provider: {type: oidc, issuer: https://i.example, client_id: a, private_key: {file: key.pem}}\n"
        )
        provider = loaded(text, folder=tmp_path).runtime.sites[0].providers["default"]
        assert (provider.auth_method, provider.private_key_alg) == ("private_key_jwt", algorithm)

    def test_an_algorithm_that_does_not_fit_is_told_those_that_do(self, tmp_path: Path) -> None:
        private(tmp_path / "key.pem", pem(ec.generate_private_key(ec.SECP256R1())))
        text = (
            "provider: {type: oidc, issuer: https://i.example, client_id: a, private_key: {file: key.pem},"
            " private_key_algorithm: RS256}\n"
        )
        assert problems(text, folder=tmp_path) == [
            '1:118: provider.private_key_algorithm: "RS256" does not fit private_key; write ES256'
        ]

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (
                pem(ec.generate_private_key(ec.SECP256R1()), b"passphrase"),
                "is protected by a passphrase; write it without one (openssl pkey -in KEY)",
            ),
            (
                pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505  too short is the point
                "is an RSA key of 1024 bits; it needs 2048 at least",
            ),
            (
                pem(ec.generate_private_key(ec.SECP256K1())),
                "is no key to sign with; use RSA, EC P-256, P-384 or P-521, or Ed25519",
            ),
            (b"nothing", 'is no private key in PEM; it begins with "-----BEGIN PRIVATE KEY-----"'),
        ],
    )
    def test_a_key_that_can_not_sign_is_refused(self, tmp_path: Path, content: bytes, complaint: str) -> None:
        private(tmp_path / "key.pem", content)
        text = (
            "provider: {type: oidc, issuer: https://i.example, client_id: a, private_key: {file: key.pem}}\n"
        )
        assert problems(text, folder=tmp_path) == [f"1:78: provider.private_key: {complaint}"]

    def test_an_assertion_key_is_p_256(self, tmp_path: Path) -> None:
        private(tmp_path / "key.pem", pem(ec.generate_private_key(ec.SECP384R1())))
        assert problems("headers: {assertion: {keys: [{file: key.pem}]}}\n", folder=tmp_path) == [
            "1:30: headers.assertion.keys[0]: is no EC P-256 key; `doorward keys assertion` makes one"
        ]


class TestPermissions:
    """S74: a secret that others can read is no secret."""

    def test_a_secret_file_that_others_can_read_is_warned_of(self, tmp_path: Path) -> None:
        private(tmp_path / "key", base64.b64encode(_RAW)).chmod(0o640)
        assert warnings("session: {keys: [{file: key}]}\n", tmp_path) == [
            f'1:18: session.keys[0]: others can read "{tmp_path}/key" (mode 0640); chmod 600 it'
        ]

    def test_one_that_only_we_can_read_is_not(self, tmp_path: Path) -> None:
        private(tmp_path / "key", base64.b64encode(_RAW))
        assert warnings("session: {keys: [{file: key}]}\n", tmp_path) == []

    def test_a_configuration_with_secrets_that_others_can_read_is_warned_of(self, tmp_path: Path) -> None:
        file = tmp_path / "doorward.yaml"
        file.write_text(complete(""))
        file.chmod(0o644)
        complaint = "holds secrets, and others can read it (mode 0644); chmod 600 it, or move them out with"
        assert warnings("", tmp_path) == [f"{complaint} {{file: ...}}"]
        file.chmod(0o600)
        assert warnings("", tmp_path) == []

    def test_a_configuration_without_secrets_may_be_read_by_all(self, tmp_path: Path) -> None:
        private(tmp_path / "key", base64.b64encode(_RAW))
        file = tmp_path / "doorward.yaml"
        file.write_text("")
        file.chmod(0o644)
        assert warnings("session: {keys: [{file: key}]}\n", tmp_path) == []

    def test_a_secret_from_the_environment_is_not_in_the_file(self, tmp_path: Path) -> None:
        private(tmp_path / "key", base64.b64encode(_RAW))
        file = tmp_path / "doorward.yaml"
        file.write_text("")
        file.chmod(0o644)
        text = 'session: {keys: ["${SESSION_KEY}"]}\n'
        assert loaded(text, {"SESSION_KEY": KEY}, tmp_path).warnings == ()
