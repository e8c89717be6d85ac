"""YAML text to plain values, keeping where each key and value stands.

Read strictly, because a configuration that is read otherwise than it was meant opens doors: a key written
twice, a key that is no text, a tag (`!!python/...`), a key without a value and an alias that holds itself
are problems. Scalars follow YAML 1.2's core schema, so `no` and `on` are text and `1:30` is no number.
Anchors, aliases and merges (`<<`) work; what they make of a file is limited in size, so that ten lines
can't fill the memory. Sequences become tuples: values of a configuration do not change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from sidecar.config.problems import Path, Position, Problem, quoted
from sidecar.config.substitution import SubstitutionError, substitute

__all__ = ["MAX_DEPTH", "MAX_VALUES", "Document", "parse_yaml"]

MAX_VALUES: Final = 250_000
"""How many values a file may hold once its aliases are expanded; ten thousand rules have some 100,000."""
MAX_DEPTH: Final = 32

_TAG: Final = "tag:yaml.org,2002:"
_MERGE_KEY: Final = "<<"


def _add_core_schema(loader: type[yaml.SafeLoader | yaml.CSafeLoader]) -> None:
    """Give `loader` the scalars of YAML 1.2's core schema (§10.3.2) in place of YAML 1.1's.

    Less its exponents, and a number of more digits than any setting needs stays text: it is somebody's id.
    """
    loader.yaml_implicit_resolvers = {}
    for tag, pattern, first in (
        ("null", r"~|null|Null|NULL|", "~nN"),
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?[0-9]{1,18}|0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}", "-+0123456789"),
        ("float", r"[-+]?[0-9]{0,15}\.[0-9]{1,15}", "-+.0123456789"),
    ):
        loader.add_implicit_resolver(
            _TAG + tag, re.compile(f"(?:{pattern})\\Z"), [*first, ""] if tag == "null" else list(first)
        )


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, used up to the node graph only; its messages are the clearer ones."""


_add_core_schema(_Loader)
_FastLoader: type[yaml.SafeLoader | yaml.CSafeLoader] = _Loader
if yaml.__with_libyaml__:

    class _LibraryLoader(yaml.CSafeLoader):
        """The same by libyaml, eight times as fast: ten thousand rules take 0.3 s instead of 2.6."""

    _add_core_schema(_LibraryLoader)
    _FastLoader = _LibraryLoader


@dataclass(slots=True)
class Document:
    """A file's values as plain mappings, tuples and scalars, and where each of them stands.

    `keys` are the places of mapping keys, `values` those of all values. `problems` were found on the way;
    what they concern is left out of `value`.
    """

    value: object = None
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def position_of(self, path: Path) -> Position | None:
        """Return where the value at `path` stands, else where the nearest thing above it does."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path)

    def position_of_key(self, path: Path) -> Position | None:
        """Return where the key at the end of `path` stands; a missing one is looked for where it belongs."""
        return self.keys.get(path) or self.keys.get(path[:-1]) or self.position_of(path)


def parse_yaml(text: str, environment: Mapping[str, str]) -> Document:
    """Return the document in `text`, with references to the environment resolved. Never raises."""
    document = Document()
    try:
        node = _compose(text)
    except yaml.YAMLError as error:
        document.problems.append(_syntax_problem(error, text))
        return document
    except RecursionError:
        document.problems.append(Problem((), "is nested too deeply; no setting needs that"))
        return document
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}null"):
        document.problems.append(_EMPTY)
        return document
    walk = _Walk(document, environment)
    try:
        document.value = walk.read(node, ())
    except _TooLargeError as error:
        document.problems.append(Problem((), str(error)))
    return document


_EMPTY: Final = Problem(
    (),
    "is empty; begin with public_url, upstream, provider, session and access (config/doorward.example.yaml)",
)


class _TooLargeError(Exception):
    """The document is larger than any configuration is."""


def _compose(text: str) -> yaml.Node | None:
    """Return the node graph. Raises yaml.YAMLError with the pure loader's words."""
    try:
        return _checked_compose(text, _FastLoader)
    except yaml.YAMLError:
        return _checked_compose(text, _Loader)


def _checked_compose(text: str, loader: type[yaml.SafeLoader | yaml.CSafeLoader]) -> yaml.Node | None:
    composed = yaml.compose(text, Loader=loader)
    return composed if isinstance(composed, yaml.Node) else None


class _Walk:
    """Reads a node graph into a document, depth first."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._count = 0
        self._above: list[int] = []

    def read(self, node: yaml.Node, path: Path) -> object:
        """Return the value of `node`, None when it has a problem (which is noted)."""
        self._count += 1
        if self._count > MAX_VALUES:
            raise _TooLargeError(f"holds more than {MAX_VALUES} values once its aliases are expanded")
        self._document.values[path] = _position(node)
        if id(node) in self._above:
            self._note(path, node, "this alias holds itself; write the values out")
            return None
        if len(self._above) >= MAX_DEPTH:
            self._note(path, node, f"is nested more than {MAX_DEPTH} levels deep")
            return None
        self._above.append(id(node))
        try:
            return self._read_kind(node, path)
        finally:
            self._above.pop()

    def _read_kind(self, node: yaml.Node, path: Path) -> object:
        match node:
            case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node, path)
            case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
                read = (self.read(item, (*path, index)) for index, item in enumerate(node.value))
                return tuple(read)
            case yaml.ScalarNode():
                return self._scalar(node, path)
            case _:
                self._note(path, node, f"the tag {_tag(node)} is not known here; write a plain value")
                return None

    def _note(self, path: Path, node: yaml.Node, message: str) -> None:
        self._document.problems.append(Problem(path, message, _position(node)))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        made: dict[str, object] = {}
        for key, (key_node, value_node) in self._pairs(node, path).items():
            below = (*path, key)
            self._document.keys[below] = _position(key_node)
            value = self.read(value_node, below)
            if value is not None:
                made[key] = value
        return made

    def _pairs(self, node: yaml.MappingNode, path: Path) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return the mapping's own pairs, then those that its merges add; an earlier one goes first."""
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key == _MERGE_KEY and not key_node.style:
                merges.append(value_node)
            elif key in pairs:
                first = pairs[key][0].start_mark.line + 1
                self._note(
                    (*path, key), key_node, f"is there twice, first in line {first}; remove one of them"
                )
            elif key is not None:
                pairs[key] = (key_node, value_node)
        for merge in merges:
            for key, pair in self._merged(merge, path).items():
                pairs.setdefault(key, pair)
        return pairs

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return the pairs of what stands behind `<<`: a mapping or a list of them."""
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                self._note((*path, _MERGE_KEY), source, "merges mappings only; give it an alias of one")
            elif id(source) in self._above:
                self._note((*path, _MERGE_KEY), source, "this alias holds itself; write the values out")
            else:
                self._above.append(id(source))
                for key, pair in self._pairs(source, path).items():
                    pairs.setdefault(key, pair)
                self._above.pop()
        return pairs

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "str":
            return str(node.value)
        shown = quoted(node.value) if isinstance(node, yaml.ScalarNode) else "a list or mapping"
        self._note(path, node, f"{shown} can't be a key: keys are text; put it in quotes if it is meant")
        return None

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        """Return text, number or switch; None for a problem."""
        kind, text = node.tag.removeprefix(_TAG), str(node.value)
        match kind:
            case "str":
                try:
                    return substitute(text, self._environment)
                except SubstitutionError as error:
                    self._note(path, node, str(error))
                    return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            case "float":
                return float(text)
            case "null":
                self._note(path, node, "has no value; give it one, or remove the key")
                return None
            case _:
                self._note(path, node, f"the tag {_tag(node)} is not known here; write a plain value")
                return None


def _tag(node: yaml.Node) -> str:
    return str(node.tag).replace(_TAG, "!!")


def _position(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


_MENDS: Final = (
    ("found character '\\t'", "YAML is indented with spaces; replace the tab"),
    ("mapping values are not allowed", 'a key stands where none may, or text with ": " in it needs quotes'),
    ("that cannot start any token", "put the text in quotes"),
    ("expected <block end>", "check the indentation of this line and of those above it"),
    ("found undefined alias", "write its anchor (&name) before it"),
    ("but got '{'", "${NAME} inside of { } or [ ] needs quotes"),
    ("but found another document", "one file is one configuration; remove the line ---"),
)


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    """Say in one line what the parser stumbled over, where, and what mends it most often."""
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        place = Position(before.count("\n") + 1, error.position - before.rfind("\n"))
        return Problem(
            (), f"is not YAML: U+{ord(text[error.position]):04X} may not be in it; remove it", place
        )
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem((), "is not YAML")
    said, opened = str(error.problem or error.context), error.context_mark
    mark = error.problem_mark or opened
    mend = next((mend for sign, mend in _MENDS if sign in said), None)
    if "unexpected end of stream" in said and opened is not None:
        mark, mend = opened, "close the quotes that are opened here"
    elif mend is None and opened is not None and "expected ',' or" in said:
        mend = f"close the bracket that is opened in line {opened.line + 1}"
    place = Position(1, 1) if mark is None else Position(mark.line + 1, mark.column + 1)
    return Problem((), f"is not YAML: {said}{'' if mend is None else f'; {mend}'}", place)
