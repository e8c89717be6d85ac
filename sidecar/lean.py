"""Imports without what we don't use: a library's optional parts cost memory and start-up time.

structlog loads rich, and httpx its command line (click, pygments, rich again), wherever these are installed.
We print no coloured tracebacks from a server and run no command line of httpx, and each worker would carry
8 MiB for them (docs/performance.md). mitmproxy imports its thirty addons, with Flask and an LDAP client, when
one of them is asked for: 16 MiB and a tenth of a second.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

__all__ = ["postpone", "without"]


def postpone(name: str) -> None:
    """Have the package `name` (of another one) run its `__init__` not before something of it is asked for.

    Its modules can be imported without. A package that is loaded already stays as it is.
    """
    if name in sys.modules:
        return
    spec = find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(name=name)
    package = module_from_spec(spec)
    package.__getattr__ = lambda wanted: _complete(package, wanted)  # type: ignore[method-assign]  # PEP 562
    sys.modules[name] = package
    parent, _, last = name.rpartition(".")
    setattr(sys.modules[parent], last, package)


def _complete(package: ModuleType, wanted: str) -> object:
    """Return what `package` has after its `__init__` has run. Raises AttributeError for a module of it."""
    spec = package.__spec__
    if wanted.startswith("__") or spec is None or spec.loader is None or find_spec(f"{spec.name}.{wanted}"):
        raise AttributeError(wanted)  # an import statement then looks for the module
    del package.__getattr__
    spec.loader.exec_module(package)
    return getattr(package, wanted)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Within the block, importing one of the modules `names` fails as if it was not installed.

    For optional imports (`try: import rich`) of the library that the block imports. A module that is loaded
    already stays available.
    """
    # `None` in sys.modules halts an import (the language reference, "The module cache").
    hidden = [name for name in names if name not in sys.modules]
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]  # typed without that None
    for name in hidden:
        modules[name] = None
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]
