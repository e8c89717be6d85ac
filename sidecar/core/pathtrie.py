"""The look-up of path patterns: the lowest index that matches, at a cost that more patterns don't raise.

Theory of operation. Patterns share a trie by segments. Each node is a dictionary of its literal children, so
ten thousand literals cost what ten do; a "*" within a segment is found by the lengths of what stands before
and after it, so its cost is the number of such lengths, not of patterns. A path is walked segment by segment
with the set of nodes it may have reached: one in the common case, more where "*" and literals stand side by
side. A node below which only one pattern remains is a leaf that keeps the rest of it, since most patterns
part ways early, and few objects touched means few cache misses.

"**" is a node that stays in the set once reached. Every node knows the least index below it, so that a match
already found prunes all that can't be earlier. What remains is bounded: after `_MAX_STEPS` the search gives
up, and whoever asked refuses the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sidecar.core.errors import BadRequest
from sidecar.core.patterns import Segment

__all__ = ["NOTHING", "PathTrie"]

NOTHING: Final = 1 << 62
"""An index behind all others: no pattern matches."""

_MAX_STEPS: Final = 20_000  # some 3 ms; a path of 20 segments against 100 nested "**" needs a tenth


class _Tail:
    """The rest of a pattern below a leaf, shared by all leaves that have the same.

    `head` are the segments before the first "**" (all, if there is none), `blocks` those between two,
    `last` those behind the last one.
    """

    __slots__ = ("blocks", "head", "is_exact", "last", "shortest")

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        blocks: list[tuple[str | tuple[str, str], ...]] = []
        block: list[str | tuple[str, str]] = []
        for segment in segments:
            if segment is None:
                blocks.append(tuple(block))
                block = []
            else:
                block.append(segment)
        blocks.append(tuple(block))
        self.head = blocks[0]
        self.is_exact = len(blocks) == 1
        self.last = () if self.is_exact else blocks[-1]
        self.blocks = tuple(blocks[1:-1])
        self.shortest = sum(map(len, blocks))

    def matches(self, path: Sequence[str], start: int) -> bool:
        """Return whether the segments of `path` from `start` on are this rest."""
        end = len(path)
        if end - start < self.shortest or (self.is_exact and end - start != self.shortest):
            return False
        if not _agree(self.head, path, start):
            return False
        if self.is_exact:
            return True
        end -= len(self.last)
        return _agree(self.last, path, end) and self._blocks_match(path, start + len(self.head), end)

    def _blocks_match(self, path: Sequence[str], start: int, end: int) -> bool:
        # The leftmost place for each block leaves the most room for those behind it.
        for block in self.blocks:
            while start + len(block) <= end and not _agree(block, path, start):
                start += 1
            start += len(block)
        return start <= end


def _agree(block: tuple[str | tuple[str, str], ...], path: Sequence[str], start: int) -> bool:
    for offset, wanted in enumerate(block, start):
        segment = path[offset]
        if isinstance(wanted, str):
            if segment != wanted:
                return False
        elif not _is_between(segment, wanted):
            return False
    return True


def _is_between(segment: str, around: tuple[str, str]) -> bool:
    before, after = around
    return (
        segment != ""
        and len(segment) >= len(before) + len(after)
        and segment.startswith(before)
        and segment.endswith(after)
    )


class _Leaf:
    """Where only one pattern remains: its index, methods (None: any) and rest."""

    __slots__ = ("least", "methods", "tail")

    def __init__(self, least: int, methods: frozenset[bytes] | None, tail: _Tail) -> None:
        self.least = least
        self.methods = methods
        self.tail = tail


class _Ends:
    """The patterns of one place with nothing left: the least index for any method, and by method."""

    __slots__ = ("any", "by_method")

    def __init__(self) -> None:
        self.any = NOTHING
        self.by_method: dict[bytes, int] | None = None

    def add(self, index: int, methods: frozenset[bytes] | None) -> None:
        if methods is None:
            self.any = min(self.any, index)
            return
        table = self.by_method = self.by_method or {}
        for method in methods:
            table[method] = min(table.get(method, NOTHING), index)

    def least(self, method: bytes) -> int:
        if self.by_method is None:
            return self.any
        return min(self.any, self.by_method.get(method, NOTHING))


class _Node:
    """A place where patterns part.

    `least` is the least index at or below it. `ends` are the patterns that end here, or with a "**" right
    below; `opens` the latter alone, which match whatever follows. `star` and `shapes` are the children by a
    "*", alone or within a segment; a shape is a pair of lengths with the children by what stands there.
    `loop` is the node of a "**" that goes on.
    """

    __slots__ = ("ends", "is_wild", "least", "literals", "loop", "opens", "shapes", "star")

    def __init__(self, least: int) -> None:
        self.least = least
        self.literals: dict[str, _Node | _Leaf] = {}
        self.star: _Node | _Leaf | None = None
        self.shapes: tuple[tuple[int, int, dict[tuple[str, str], _Node | _Leaf]], ...] = ()
        self.is_wild = False
        self.loop: _Node | None = None
        self.ends = _Ends()
        self.opens: _Ends | None = None

    def children(self, segment: str) -> list[_Node | _Leaf]:
        """Return all children that `segment` leads to, in a node with a "*"."""
        found: list[_Node | _Leaf] = []
        if not segment:
            return found  # "*" is never empty, and a literal never is
        if self.star is not None:
            found.append(self.star)
        size = len(segment)
        for before, after, table in self.shapes:
            if before + after <= size:
                child = table.get((segment[:before], segment[size - after :]))
                if child is not None:
                    found.append(child)
        literal = self.literals.get(segment)
        if literal is not None:
            found.append(literal)
        return found


type Entry = tuple[int, frozenset[bytes] | None, tuple[Segment, ...]]
"""Index, methods (None: any), pattern."""


class PathTrie:
    """An immutable set of path patterns, each with an index and methods."""

    __slots__ = ("_root",)

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Compile the patterns. Indices may repeat."""
        self._root = _Builder().build_node(list(entries), 0)

    def find(self, segments: Sequence[str], method: bytes, best: int = NOTHING) -> int:
        """Return the least index below `best` whose pattern covers `segments`, else `best`.

        Raises `BadRequest` ("invalid_path") when that would take more than `_MAX_STEPS` steps.
        """
        size, steps = len(segments), 0
        active: list[_Node] = [self._root]
        loops: dict[_Node, None] = {}
        for position, segment in enumerate(segments, 1):
            following: list[_Node] = []
            for node in active:
                if node.least >= best:
                    continue
                steps += 1
                if node.opens is not None:
                    best = min(best, node.opens.least(method))
                if node.loop is not None and node.loop not in loops:
                    loops[node.loop] = None
                    active.append(node.loop)  # this same iteration takes it up
                if node.is_wild:
                    children = node.children(segment)
                else:
                    child = node.literals.get(segment)
                    if child is None:
                        continue
                    children = [child]
                for child in children:
                    if child.least >= best:
                        continue
                    if isinstance(child, _Node):
                        following.append(child)
                        continue
                    if child.methods is not None and method not in child.methods:
                        continue
                    if not child.tail.is_exact:
                        steps += size - position
                    if child.tail.matches(segments, position):
                        best = child.least
            if steps > _MAX_STEPS:
                raise BadRequest("invalid_path", "more segments than the rules can be searched for")
            if loops:
                following.extend(loops)
            elif not following:
                return best
            active = following
        for node in active:
            if node.least < best:
                best = min(best, node.ends.least(method))
        return best


class _Builder:
    """Compiles patterns into nodes; keeps each distinct tail once."""

    def __init__(self) -> None:
        self._tails: dict[tuple[Segment, ...], _Tail] = {}

    def build(self, entries: list[Entry], depth: int) -> _Node | _Leaf:
        """Return what `entries`, alike in their first `depth` segments, become."""
        if len(entries) > 1:
            return self.build_node(entries, depth)
        index, methods, pattern = entries[0]
        rest = pattern[depth:]
        return _Leaf(index, methods, self._tails.setdefault(rest, _Tail(rest)))

    def build_node(self, entries: list[Entry], depth: int) -> _Node:
        """Return the node of `entries`, even of none or one."""
        node = _Node(min((index for index, _, _ in entries), default=NOTHING))
        groups: dict[Segment, list[Entry]] = {}
        for index, methods, pattern in entries:
            if len(pattern) == depth:
                node.ends.add(index, methods)
            else:
                groups.setdefault(pattern[depth], []).append((index, methods, pattern))
        self._add_open(node, groups.pop(None, []), depth + 1)
        shapes: dict[tuple[int, int], dict[tuple[str, str], _Node | _Leaf]] = {}
        for key, group in groups.items():
            child = self.build(group, depth + 1)
            if isinstance(key, str):
                node.literals[key] = child
            elif key == ("", ""):
                node.star = child
            elif key is not None:
                shapes.setdefault((len(key[0]), len(key[1])), {})[key] = child
        node.shapes = tuple((*lengths, table) for lengths, table in shapes.items())
        node.is_wild = bool(node.shapes) or node.star is not None
        return node

    def _add_open(self, node: _Node, entries: list[Entry], depth: int) -> None:
        """Add the patterns that go on with "**": those that end with it, and those that don't."""
        longer: list[Entry] = []
        for index, methods, pattern in entries:
            if len(pattern) > depth:
                longer.append((index, methods, pattern))
                continue
            node.ends.add(index, methods)
            node.opens = node.opens or _Ends()
            node.opens.add(index, methods)
        if longer:
            node.loop = self.build_node(longer, depth)
