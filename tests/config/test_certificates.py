"""Certificates and keys are tried before anything starts with them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from tests.config.files import loaded, problems

_KEY = ec.generate_private_key(ec.SECP256R1())
_OTHER = ec.generate_private_key(ec.SECP256R1())


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app.example.com")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_KEY.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
        .sign(_KEY, SHA256())
    )
    return built.public_bytes(Encoding.PEM)


def private(key: ec.EllipticCurvePrivateKey, protection: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection or NoEncryption())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "tls.crt": certificate(),
        "tls.key": private(_KEY),
        "other.key": private(_OTHER),
        "locked.key": private(_KEY, BestAvailableEncryption(b"passphrase")),
        "text": b"nothing",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def test_a_certificate_and_its_key_serve(folder: Path) -> None:
    tls = loaded("tls: {certificate: tls.crt, key: tls.key}\n", folder=folder).runtime.tls
    assert tls is not None
    assert (tls.certificate_file, tls.key_file) == (f"{folder}/tls.crt", f"{folder}/tls.key")


@pytest.mark.parametrize(
    ("certificate", "key", "complaint"),
    [
        ("tls.crt", "other.key", "does not belong to the certificate; name the key that it was made with"),
        (
            "tls.crt",
            "locked.key",
            "is protected by a passphrase; write it without one (openssl pkey -in KEY)",
        ),
        (
            "tls.crt",
            "text",
            "can't be used together with the certificate: one of the files holds no PEM of its kind",
        ),
        (
            "text",
            "tls.key",
            "can't be used together with the certificate: one of the files holds no PEM of its kind",
        ),
    ],
)
def test_what_can_not_serve_is_refused(folder: Path, certificate: str, key: str, complaint: str) -> None:
    column = len(f"tls: {{certificate: {certificate}, key: ") + 1
    assert problems(f"tls: {{certificate: {certificate}, key: {key}}}\n", folder=folder) == [
        f"1:{column}: tls.key: {complaint}"
    ]
    text = f"upstream: {{url: https://a:1, certificate: {certificate}, key: {key}}}\n"
    column = text.index(" key: ") + len(" key: ") + 1
    assert problems(text, folder=folder) == [f"1:{column}: upstream.key: {complaint}"]


def test_an_upstream_has_authorities_and_a_client_certificate_of_its_own(folder: Path) -> None:
    text = "upstream: {url: https://a:1, ca_file: tls.crt, certificate: tls.crt, key: tls.key}\n"
    tls = loaded(text, folder=folder).runtime.sites[0].routes[0].upstream.tls
    assert tls is not None
    assert (tls.ca_file, tls.certificate_file, tls.key_file) == (
        f"{folder}/tls.crt",
        f"{folder}/tls.crt",
        f"{folder}/tls.key",
    )


def test_a_file_of_authorities_holds_certificates(folder: Path) -> None:
    complaint = 'holds no certificate in PEM; it begins with "-----BEGIN CERTIFICATE-----"'
    assert problems("upstream: {url: https://a:1, ca_file: text}\n", folder=folder) == [
        f"1:39: upstream.ca_file: {complaint}"
    ]
    provider = "provider: {type: oidc, issuer: https://id.example.com, client_id: app, ca_file: %s}\n"
    assert problems(provider % "text", folder=folder) == [f"1:81: provider.ca_file: {complaint}"]
    found = loaded(provider % "tls.crt", folder=folder).runtime.sites[0].providers["default"]
    assert found.ca_file == f"{folder}/tls.crt"
