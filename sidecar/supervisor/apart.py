"""The configuration is read by a process of its own, which hands over what it means.

What reads and checks one (pydantic, YAML, the models of every key) takes 12 MiB and is needed once; a process
that serves would carry it to its end (docs/performance.md). A fork of this process reads instead: it has the
core loaded already, and while it reads, this one can load what serving needs.

The Runtime comes back pickled, through a pipe that no other process has. A `Secret` refuses to be pickled, so
that none is by accident; the pickler here, and only it, writes them nevertheless.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sidecar.core.errors import ConfigurationError
from sidecar.core.secret import Secret

if TYPE_CHECKING:
    from sidecar.core.runtime import Runtime

__all__ = ["compile_apart", "read_apart"]

_PROTOCOL = 5


def read_apart(
    path: Path, environment: Mapping[str, str], meanwhile: Callable[[], object] = lambda: None
) -> tuple[Runtime, str]:
    """Return what the file at `path` configures, and its text; call `meanwhile` while it is being read.

    Raises ConfigurationError with all problems, as `sidecar.config.load` does.
    """

    def read() -> tuple[Runtime, str]:
        from sidecar.config import load_text, read_config

        text = read_config(path)
        return load_text(text, path, environment), text

    return _apart(read, meanwhile)


def compile_apart(text: str, path: Path, environment: Mapping[str, str]) -> Runtime:
    """Return what `text` configures; `path` is where it comes from. Raises ConfigurationError."""

    def compile_text() -> Runtime:
        from sidecar.config import load_text

        return load_text(text, path, environment)

    return _apart(compile_text, lambda: None)


class _Pickler(pickle.Pickler):
    """Writes secrets too."""

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401  what pickle expects
        """Write a Secret as what it is made from, everything else as usual."""
        return (Secret, (value.reveal(),)) if type(value) is Secret else NotImplemented


def _apart[T](work: Callable[[], T], meanwhile: Callable[[], object]) -> T:
    """Return what `work` returns in a fork of this process. Raises the ConfigurationError that it raises."""
    # Both would have to load it; so it is loaded once.
    import sidecar.core.gate  # noqa: F401

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(writer, work)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123  a descriptor has no path
        meanwhile()
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        # A defect, or the system ended it; what it had to say of that stands on our stderr.
        raise RuntimeError(f"reading the configuration ended with status {os.waitstatus_to_exitcode(status)}")
    found: T | ConfigurationError = pickle.loads(data)  # noqa: S301  from our own fork
    if isinstance(found, ConfigurationError):
        raise found
    return found


def _answer(writer: int, work: Callable[[], object]) -> NoReturn:
    """Do the work, write its result, and end without what else an end of this process would mean."""
    code = 1
    try:
        found: object
        try:
            found = work()
        except ConfigurationError as error:
            found = error
        with open(writer, "wb") as pipe:
            _Pickler(pipe, _PROTOCOL).dump(found)
        code = 0
    except Exception:  # noqa: BLE001  the outermost edge of this process
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
