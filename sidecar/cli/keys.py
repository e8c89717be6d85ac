"""`doorward keys`: makes keys, and never shows one that is in a file."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import typer

__all__ = ["assertion", "new", "rotate"]

_KEY_BYTES: Final = 32
_OWNER_ONLY: Final = 0o600
_FEWEST_FILES: Final = 2


def new(out: Path | None) -> int:
    """Print a session key, or write it to `out`. Returns the exit code."""
    return _hand_over(_session_key(), out)


def assertion(out: Path | None) -> int:
    """Print a private key for the signed assertion, or write it to `out`. Returns the exit code."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return _hand_over(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), out)


def rotate(files: Sequence[Path]) -> int:
    """Move each key one file on and put a new one into the first. Returns the exit code.

    `files` are those of `session.keys`, in its order. From the oldest on, each file is replaced whole, so
    that an interruption leaves no file without a key. One file alone would sign everybody out at once.
    """
    if len(files) < _FEWEST_FILES:
        return _complain(
            "keys rotate: name two files at least, the newest key's first, as in session.keys: with one alone"
            " everybody would be signed out",
            code=2,
        )
    if len({file.absolute() for file in files}) < len(files):
        return _complain("keys rotate: a file is named twice; each key has its own", code=2)
    newest = files[0]
    if not newest.is_file():
        return _complain(f"{newest}: holds no key yet; `doorward keys new --out {newest}` makes one")
    try:
        for older, younger in zip(reversed(files), [*reversed(files)][1:], strict=False):
            if younger.exists():
                _replace(older, younger.read_bytes())
        _replace(newest, _session_key())
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}; nothing was lost, mend it and start again")
    typer.echo(f"{newest} holds a new key. It counts once Doorward has read it again.")
    return 0


def _session_key() -> bytes:
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n"


def _hand_over(key: bytes, out: Path | None) -> int:
    if out is None:
        typer.echo(key.decode("ascii"), nl=False)
        return 0
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        return _complain(f"{out}: exists already, and a key is never written over; name another file")
    except OSError as error:
        return _complain(f"{out}: can't be written: {error.strerror}")
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
    typer.echo(f"{out} holds the key; only its owner can read it.", err=True)
    return 0


def _replace(file: Path, content: bytes) -> None:
    """Replace a file whole; whoever reads it meanwhile gets the old or the new content."""
    scratch = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    scratch.replace(file)


def _complain(sentence: str, *, code: int = 1) -> int:
    typer.echo(sentence, err=True)
    return code
