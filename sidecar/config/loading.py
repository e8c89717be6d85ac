"""From a file to a `Runtime`, or to every problem in it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.config.compiler import Context, compile_document
from sidecar.config.problems import Position, Problem
from sidecar.config.validation import check_document
from sidecar.config.yamltext import Document, parse_yaml
from sidecar.core.errors import ConfigurationError, UnreadableConfiguration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.runtime import Runtime

__all__ = ["Loaded", "compile_parsed", "compile_text", "load", "load_text", "read_config"]

_MAX_FILE_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration that can serve.

    `warnings` are sentences about what works and is probably not meant; `files` are the secrets, keys and
    certificates that it was made from.
    """

    runtime: Runtime
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def read_config(path: Path) -> str:
    """Return the text of a configuration file.

    Raises UnreadableConfiguration, with one sentence: missing, a directory, too large or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableConfiguration(f"{path}: can't be read: {error.strerror}{_mend(error)}") from error
    if len(data) > _MAX_FILE_BYTES:
        raise UnreadableConfiguration(f"{path}: is larger than 16MiB, which no configuration is")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise UnreadableConfiguration(
            f"{path}:{line}:{column}: is not UTF-8 (byte 0x{data[error.start]:02x}); save the file as UTF-8"
        ) from error


def _mend(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "; name another file"
        case IsADirectoryError():
            return "; name the file in it"
        case PermissionError():
            return "; let the user that runs doorward read it"
        case _:
            return ""


def load(path: Path, environment: Mapping[str, str]) -> Runtime:
    """Return what the file at `path` configures. Raises ConfigurationError with all problems."""
    return load_text(read_config(path), path, environment)


def load_text(text: str, path: Path, environment: Mapping[str, str]) -> Runtime:
    """Return what `text` configures; `path` is where it comes from. Raises ConfigurationError."""
    return compile_text(text, path, environment).runtime


def compile_text(text: str, path: Path, environment: Mapping[str, str]) -> Loaded:
    """Return what `text` configures, with warnings.

    Relative file names in it start at the folder of `path`, which need not exist. Raises ConfigurationError
    with every problem, in the order in which they stand in the file.
    """
    return compile_parsed(parse_yaml(text, environment), path, environment)


def compile_parsed(
    document: Document, path: Path, environment: Mapping[str, str], sources: Mapping[str, str] | None = None
) -> Loaded:
    """Return what a document configures that was read before, or put together of several files.

    `sources` names where a setting at the top comes from, if not from `path`. Raises ConfigurationError.
    """
    checked = check_document(document)
    context = Context(document, checked, path, environment)
    runtime = None if checked.model is None else compile_document(context, checked.model)
    context.judge_own_file(path)
    problems = [*checked.problems, *context.problems]
    if problems or runtime is None:
        raise ConfigurationError(*_sentences(problems, str(path), sources or {}))
    return Loaded(
        runtime=runtime,
        warnings=_sentences(context.warnings, str(path), sources or {}),
        files=tuple(dict.fromkeys(context.files)),
    )


def _sentences(problems: Iterable[Problem], source: str, sources: Mapping[str, str]) -> tuple[str, ...]:
    """Return the sentences in the file's order; what an alias repeats is told once."""
    ordered = sorted(problems, key=lambda problem: problem.position or Position(0, 0))
    told = {(problem.position, problem.path[-1:], problem.message): problem for problem in reversed(ordered)}
    return tuple(
        problem.sentence(sources.get(str(problem.path[0]), source) if problem.path else source)
        for problem in ordered
        if told[problem.position, problem.path[-1:], problem.message] is problem
    )
