"""Certificates: whether what the files hold can be used, before anything is started with it."""

from __future__ import annotations

from sidecar.config.compiler.context import Context
from sidecar.config.problems import Path

__all__ = ["check_authorities", "check_pair"]


def check_authorities(context: Context, path: Path, file: str | None) -> None:
    """Note a problem when a readable file holds no certificates."""
    if file is None or not context.is_readable(file):
        return
    import ssl

    try:
        ssl.create_default_context(cafile=file)
    except (ssl.SSLError, OSError):
        context.refuse(path, 'holds no certificate in PEM; it begins with "-----BEGIN CERTIFICATE-----"')


def check_pair(context: Context, section: Path, certificate: str | None, key: str | None) -> None:
    """Note a problem when certificate and key do not belong together, or one is missing."""
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        present, missing = ("key", "certificate") if certificate is None else ("certificate", "key")
        context.refuse((*section, missing), f"is missing, and {present} is of no use without it", at_key=True)
        return
    if not (context.is_readable(certificate) and context.is_readable(key)):
        return
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        context.refuse((*section, "key"), _complaint(error), (*section, "certificate"))
    except (OSError, ValueError):
        context.refuse(
            (*section, "key"), "is protected by a passphrase; write it without one (openssl pkey -in KEY)"
        )


def _no_passphrase() -> str:
    raise ValueError("there is none")


def _complaint(error: Exception) -> str:
    if "KEY_VALUES_MISMATCH" in str(error):
        return "does not belong to the certificate; name the key that it was made with"
    return "can't be used together with the certificate: one of the files holds no PEM of its kind"
