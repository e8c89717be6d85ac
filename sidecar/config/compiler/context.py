"""What every part of the compiler has at hand: where problems go, files, the environment.

A part that finds a problem notes it and goes on, so that all of them are told at once; in its place it uses
something harmless, for after a problem no Runtime leaves the compiler.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Final

from sidecar.config.models.base import SecretSource
from sidecar.config.problems import Path, Problem, quoted
from sidecar.config.substitution import Substituted
from sidecar.config.validation import Checked
from sidecar.config.yamltext import Document
from sidecar.core.errors import ConfigurationError
from sidecar.core.secret import Secret

__all__ = ["Context"]

_MAX_SECRET_BYTES: Final = 64 << 10
_OTHERS_READ: Final = stat.S_IRGRP | stat.S_IROTH


class Context:
    """One compilation. `problems` and `warnings` fill up; `files` are those that were read or named."""

    def __init__(
        self, document: Document, checked: Checked, file: FilePath, environment: Mapping[str, str]
    ) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.files: list[FilePath] = []
        self.has_plain_secret = False
        self._document = document
        self._checked = checked
        self._folder = file.parent
        self._environment = environment

    def is_sound(self, *paths: Path) -> bool:
        """Tell whether the values at `paths` are the operator's own (see `Checked`)."""
        return self._checked.is_sound(*paths)

    def refuse(self, path: Path, message: str, *concerned: Path, at_key: bool = False) -> None:
        """Note a problem, unless it follows from a value that was refused already."""
        if self.is_sound(path, *concerned):
            self.problems.append(self._at(path, message, at_key=at_key))

    def refuse_error(self, path: Path, error: ConfigurationError) -> None:
        """Note what the core refuses; it names the key itself, which is the path's end here."""
        for sentence in error.problems:
            key, colon, rest = sentence.partition(": ")
            message = rest if colon and key.replace("_", "").isalnum() else sentence
            self.refuse(path, message.removesuffix("."))

    def warn(self, path: Path, message: str, *concerned: Path, at_key: bool = False) -> None:
        """Note something that works and is probably not meant."""
        if self.is_sound(path, *concerned):
            self.warnings.append(self._at(path, message, at_key=at_key))

    def _at(self, path: Path, message: str, *, at_key: bool) -> Problem:
        place = self._document.position_of_key if at_key else self._document.position_of
        return Problem(path, message, place(path))

    def is_written(self, path: Path) -> bool:
        """Tell whether the file has a value at `path`, or it comes from a default."""
        return path in self._document.values

    def file(self, path: Path, name: str | None) -> str | None:
        """Return a file's absolute path; a problem when it can't be read."""
        if name is None:
            return None
        full = (self._folder / name).absolute()
        self._read(path, full, 1)
        return str(full)

    def place(self, name: str) -> str:
        """Return the absolute path of what need not be there yet."""
        return str((self._folder / name).absolute())

    def is_readable(self, file: str) -> bool:
        """Tell whether a file of this compilation could be read."""
        return FilePath(file) in self.files

    def secret(self, path: Path, form: Secret | SecretSource | None) -> Secret | None:
        """Return a secret's bytes, newlines at the end of a file cut off; None after a problem."""
        raw = self.raw_secret(path, form)
        if raw is None:
            return None
        value = raw.reveal().rstrip(b"\r\n")
        if not value:
            self.refuse(path, f"{_source(form)} is empty; write the secret into it")
            return None
        return Secret(value)

    def raw_secret(self, path: Path, form: Secret | SecretSource | None) -> Secret | None:
        """Return a secret exactly as it is kept: keys may be bytes of any kind."""
        match form:
            case Secret():
                self.has_plain_secret = self.has_plain_secret or not self._is_substituted(path)
                return form
            case SecretSource(file=str() as name, env=None):
                data = self._read(path, self._folder / name, _MAX_SECRET_BYTES)
                return None if data is None else Secret(data)
            case SecretSource(file=None, env=str() as name):
                value = self._environment.get(name)
                if value is not None:
                    return Secret(value.encode("utf-8", "surrogateescape"))
                self.refuse(path, f"the environment variable {name} is not set; set it")
            case SecretSource():
                self.refuse(path, "needs exactly one of file and env")
            case None:
                pass
        return None

    def _is_substituted(self, path: Path) -> bool:
        """Tell whether the text at `path` came from the environment, so that the file does not hold it."""
        value: object = self._document.value
        for step in path:
            if isinstance(value, Mapping):
                value = value.get(step)
            elif isinstance(value, tuple) and isinstance(step, int) and step < len(value):
                value = value[step]
        return isinstance(value, Substituted) and value.source.startswith("${")

    def _read(self, path: Path, full: FilePath, at_most: int) -> bytes | None:
        try:
            with full.open("rb") as file:
                data = file.read(at_most + 1)
                mode = full.stat().st_mode
        except OSError as error:
            self.refuse(path, f"can't read {quoted(str(full))}: {error.strerror}{_mend(error)}")
            return None
        self.files.append(full)
        if at_most > 1:
            self._judge_secret_file(path, full, mode)
            if len(data) > at_most:
                self.refuse(path, f"{quoted(str(full))} has more than 64KiB, which no secret has")
                return None
        return data

    def _judge_secret_file(self, path: Path, full: FilePath, mode: int) -> None:
        if mode & _OTHERS_READ and stat.S_ISREG(mode):
            permissions = f"{stat.S_IMODE(mode):04o}"
            self.warn(path, f"others can read {quoted(str(full))} (mode {permissions}); chmod 600 it")

    def judge_own_file(self, file: FilePath) -> None:
        """Warn when others can read a configuration file that holds secrets."""
        try:
            mode = file.stat().st_mode
        except OSError:
            return  # the text did not come from a file
        if self.has_plain_secret and mode & _OTHERS_READ and stat.S_ISREG(mode):
            self.warnings.append(
                Problem(
                    (),
                    f"holds secrets, and others can read it (mode {stat.S_IMODE(mode):04o}); chmod 600 it, or"
                    " move them out with {file: ...}",
                )
            )


def _source(form: Secret | SecretSource | None) -> str:
    if not isinstance(form, SecretSource):
        return "the secret"
    return f"the file {form.file}" if form.file is not None else f"the environment variable {form.env}"


def _mend(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "; mend the path, or put the file there"
        case PermissionError():
            return "; let the user that runs doorward read it"
        case IsADirectoryError():
            return "; name the file in it"
        case _:
            return ""
