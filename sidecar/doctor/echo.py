"""What reached the application, read from a page of its own that shows the fields it got.

Such pages have no common form, so all usual ones are read: JSON in which fields are members or pairs, text
with one `Name: value` a line, and HTML with a name and its value in neighbouring elements. A field that
is not recognised is not seen, so `examination` first sends one of its own and looks for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from typing import Final, override

from sidecar.core.hygiene import fold

__all__ = ["Echo", "read_echo"]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_LINE: Final = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*[:=]\s?(.*)")
_HIDDEN: Final = frozenset({"script", "style"})


class Echo:
    """The fields that the application says it got."""

    def __init__(self, pairs: Iterator[tuple[str, str]]) -> None:
        """Keep them."""
        self.pairs = tuple(pairs)

    def values(self, name: str) -> list[str]:
        """Return the values of every field that some server takes for `name`."""
        wanted = fold(name.encode("latin-1", "replace"))
        return [value for known, value in self.pairs if _folded(known) == wanted]

    def names_of(self, value: str) -> list[str]:
        """Return under which names a value arrived."""
        return [name for name, known in self.pairs if value in known]


def _folded(name: str) -> bytes:
    folded = fold(name.encode("latin-1", "replace"))
    return folded.removeprefix(b"http-")  # HTTP_X_AUTH_REQUEST_USER, as CGI and WSGI have it


def read_echo(body: bytes) -> Echo:
    """Return what can be recognised in a page."""
    text = body.decode("utf-8", "replace")
    return Echo(_pairs(text))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    try:
        yield from _of_json(json.loads(text))
    except (ValueError, RecursionError):
        if "<" not in text:
            yield from _of_lines(text)
            return
        chunks = _Chunks.of(text)
        for name, value in pairwise([*chunks, ""]):
            if _NAME.fullmatch(name):
                yield name, value
            elif name.startswith(("{", "[")):
                yield from _pairs(name)
            else:
                yield from _of_lines(name)


def _of_json(value: object) -> Iterator[tuple[str, str]]:
    match value:
        case {"name": str(name), "value": str(text)}:
            yield name, text
        case dict():
            for name, member in value.items():
                yield from _of_member(str(name), member)
        case [str(name), str(text)]:
            yield name, text
        case list():
            for member in value:
                yield from _of_json(member)


def _of_member(name: str, member: object) -> Iterator[tuple[str, str]]:
    """Read a member as a field, which may be there several times; and for fields inside it."""
    if isinstance(member, str):
        yield name, member
        return
    if isinstance(member, list) and all(isinstance(text, str) for text in member):
        yield from ((name, text) for text in member)
    yield from _of_json(member)


def _of_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            yield found[1], found[2].strip()


class _Chunks(HTMLParser):
    """The pieces of text of a page, in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._texts: list[str] = []
        self._hidden = 0

    @classmethod
    def of(cls, text: str) -> list[str]:
        parser = cls()
        parser.feed(text)
        parser.close()
        return [chunk for raw in parser._texts if (chunk := raw.strip())]

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _HIDDEN

    @override
    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _HIDDEN and self._hidden > 0

    @override
    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._texts.append(data)
