"""Templates, style and drawings of one package of pages: loaded once, at the first page.

`sidecar.pages` has one wardrobe, the embedded provider and the demo application each another one that adds
templates of theirs to the same base, style and drawings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.pages.links import safe_link
from sidecar.pages.security import source_hash

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Wardrobe", "plain_value"]

_TEMPLATES: Final = Path(__file__).parent / "templates"
# C0 and C1 control characters have no place in a page; surrogates have none in UTF-8.
_UNPRINTABLE: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160)), "\ufffd")

type Plain = bool | int | float | str | list[Plain] | dict[str, Plain] | None


def plain_value(value: object) -> Plain:
    """Return `value` as plain data of which every string is a `str` and nothing else.

    A subclass such as Jinja2's Markup would be written unescaped; an object would be asked for attributes.
    Raises TypeError for anything that is not plain data: a defect of the page's author.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str.translate(value, _UNPRINTABLE).encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {str(plain_value(key)): plain_value(part) for key, part in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        return [plain_value(part) for part in value]
    message = f"a page can't show a {type(value).__name__}"
    raise TypeError(message)


def _instant(seconds: object) -> str:
    """Write seconds since the epoch as a UTC instant (RFC 3339), or "" when they are none."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):  # a year that no calendar has
        return ""


class Wardrobe:
    """Renders templates of `folder` (and those that all pages share) to HTML.

    `style` files are put behind the common style. Jinja2 is imported by the first page: it costs some 4 MiB
    and 40 ms, and most workers of an API never need it.
    """

    def __init__(self, folder: Path | None = None, *, styles: tuple[str, ...] = ()) -> None:
        """Remember where to look; nothing is read yet."""
        self._folders = [*([folder] if folder else []), _TEMPLATES]
        self._styles = ("style.css", *styles)
        self._environment: Environment | None = None

    def environment(self) -> Environment:
        """Return the Jinja2 environment, made on first use."""
        if self._environment is None:
            self._environment = self._build()
        return self._environment

    def text(self, name: str) -> str:
        """Return the file `name` as it is, without white space around it."""
        return _read(tuple(self._folders), name)

    def style(self) -> str:
        """Return the style sheet that every page of this wardrobe carries."""
        return "\n".join(self.text(name) for name in self._styles)

    def style_hash(self) -> str:
        """Return the CSP source of the style sheet."""
        return source_hash(self.style())

    def html(
        self, template: str, values: Mapping[str, object], *, door: str, script: str | None = None
    ) -> str:
        """Render `template` with `values`, each reduced to plain data and escaped where it is written."""
        plain = {name: plain_value(value) for name, value in values.items()}
        rendered = self.environment().get_template(template)
        return rendered.render(
            plain, style=self._trusted(self.style()), door=door, script=self._script(script)
        )

    def _script(self, name: str | None) -> object:
        return self._trusted(self.text(name)) if name else None

    @staticmethod
    def _trusted(text: str) -> str:
        """Mark a file of our own as HTML: the one place where something is written unescaped."""
        from markupsafe import Markup

        return Markup(text)  # noqa: S704  a file of this package, no value of a request

    def _build(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader([str(folder) for folder in self._folders]),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["link"] = safe_link
        environment.filters["instant"] = _instant
        return environment


@cache
def _read(folders: tuple[Path, ...], name: str) -> str:
    """Read a file of the first folder that has it; the names are ours, so the cache stays small."""
    for folder in folders:
        path = folder / name
        if path.is_file():
            return path.read_text(encoding="utf-8").strip()
    raise FileNotFoundError(name)
