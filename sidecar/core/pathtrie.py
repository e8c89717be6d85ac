"""The look-up of path patterns: the first that matches, at a cost that more patterns don't raise.

Theory of operation. Patterns share a trie by segments. Each node is a dictionary of its literal children, so
ten thousand literals cost what ten do; a "*" within a segment is found by the lengths of what stands before
and after it, so its cost is the number of such lengths, not of patterns. Where only one pattern remains (and
no more than one "**" of it), its `Entry` is the leaf and keeps the rest, since most patterns part ways early;
and few objects are touched on the way, because with many patterns each one is a cache miss.

`find` walks down as long as one node is all that a path may have reached; from where "*", "**" and literals
stand side by side, `_find_among` goes on with the set of nodes. "**" is a node that stays in the set. Every
node knows the least index below it, so that a match prunes all that can't come before it. What remains is
bounded: after `max_steps` the search gives up, and the request is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sidecar.core.errors import BadRequest
from sidecar.core.patterns import Segment

__all__ = ["Entry", "PathTrie"]

_MIN_STEPS: Final = 10_000  # some 4 ms; a path of 20 segments against 100 nested "**" needs a tenth
_STEPS_PER_PATTERN: Final = 4  # so that a look-up may cost as much as asking each pattern in turn


class Entry[T]:
    """A pattern's place: `index` (the least wins), `methods` (None: any) and `value`.

    Made anew for each trie; `tail` is set when the trie is compiled. A plain slots class, because what is
    read at a look-up should lie together.
    """

    __slots__ = ("index", "methods", "tail", "value")

    def __init__(self, index: int, methods: frozenset[bytes] | None, value: T) -> None:
        """Keep the parts."""
        self.index = index
        self.methods = methods
        self.value = value
        self.tail = _NO_TAIL


class _Tail:
    """The rest of a pattern below a leaf, with one "**" at most; leaves that have the same rest share it.

    `head` are the segments before the "**" (all, if there is none), `last` those behind it.
    """

    __slots__ = ("_head", "_is_exact", "_last", "_length")

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        gap = segments.index(None) if None in segments else len(segments)
        self._head = tuple(segment for segment in segments[:gap] if segment is not None)
        self._last = tuple(segment for segment in segments[gap:] if segment is not None)
        self._is_exact = gap == len(segments)
        self._length = len(self._head) + len(self._last)

    def matches(self, path: Sequence[str], start: int) -> bool:
        """Return whether the segments of `path` from `start` on are this rest."""
        left = len(path) - start
        if left < self._length or (self._is_exact and left != self._length):
            return False
        if self._head and not _agree(self._head, path, start):
            return False
        return not self._last or _agree(self._last, path, len(path) - len(self._last))


def _agree(block: tuple[str | tuple[str, str], ...], path: Sequence[str], start: int) -> bool:
    for wanted in block:
        segment = path[start]
        if isinstance(wanted, str):
            if segment != wanted:
                return False
        elif not segment or (wanted != _STAR and not _is_between(segment, wanted)):
            return False
        start += 1
    return True


_STAR: Final = ("", "")


def _is_between(segment: str, around: tuple[str, str]) -> bool:
    before, after = around
    return len(segment) >= len(before) + len(after) and segment.startswith(before) and segment.endswith(after)


_NO_TAIL: Final = _Tail(())


def _first[T](one: Entry[T] | None, other: Entry[T] | None) -> Entry[T] | None:
    if one is None:
        return other
    return one if other is None or one.index <= other.index else other


class _Ends[T]:
    """The patterns of one place with nothing left: the first for any method, and by method."""

    __slots__ = ("_any", "_by_method")

    def __init__(self) -> None:
        self._any: Entry[T] | None = None
        self._by_method: dict[bytes, Entry[T] | None] = {}

    def add(self, entry: Entry[T]) -> None:
        if entry.methods is None:
            self._any = _first(self._any, entry)
            return
        for method in entry.methods:
            self._by_method[method] = _first(self._by_method.get(method), entry)

    def first(self, method: bytes, best: Entry[T] | None) -> Entry[T] | None:
        """Return the first of `best` and what ends here for `method`."""
        found = _first(self._any, best)
        return _first(self._by_method.get(method), found) if self._by_method else found


class _Node[T]:
    """A place where patterns part.

    `least` is the least index at or below it. `ends` are the patterns that end here, or with a "**" right
    below; `opens` the latter alone, which match whatever follows. `star` and `shapes` are the children by a
    "*", alone or within a segment; a shape is a pair of lengths with the children by what stands there.
    `loop` is the node of a "**" that goes on. `is_single`: a segment leads to one child at most, by `star`
    or by `literals`.
    """

    __slots__ = ("ends", "is_single", "least", "literals", "loop", "opens", "shapes", "star")

    def __init__(self, least: int) -> None:
        self.least = least
        self.literals: dict[str, _Node[T] | Entry[T]] = {}
        self.star: _Node[T] | Entry[T] | None = None
        self.shapes: tuple[tuple[int, int, dict[tuple[str, str], _Node[T] | Entry[T]]], ...] = ()
        self.loop: _Node[T] | None = None
        self.ends: _Ends[T] | None = None
        self.opens: _Ends[T] | None = None
        self.is_single = True

    def children(self, segment: str) -> list[_Node[T] | Entry[T]]:
        """Return all children that `segment` leads to."""
        found: list[_Node[T] | Entry[T]] = []
        if not segment:
            return found  # a literal is never empty, and "*" does not match it
        literal = self.literals.get(segment)
        if literal is not None:
            found.append(literal)
        if self.star is not None:
            found.append(self.star)
        size = len(segment)
        for before, after, table in self.shapes:
            if before + after <= size:
                child = table.get((segment[:before], segment[size - after :]))
                if child is not None:
                    found.append(child)
        return found


class PathTrie[T]:
    """An immutable set of path patterns, each with an entry."""

    __slots__ = ("_root", "max_steps")

    def __init__(self, entries: Iterable[_Placed[T]]) -> None:
        """Compile entries and their patterns."""
        placed = list(entries)
        self._root = _Builder[T]().build_node(placed, 0)
        self.max_steps = _MIN_STEPS + _STEPS_PER_PATTERN * len(placed)

    def find(self, segments: Sequence[str], method: bytes, best: Entry[T] | None = None) -> Entry[T] | None:
        """Return the entry with the least index whose pattern covers `segments`, or `best` if that is less.

        Raises `BadRequest` ("invalid_path") when that would take more than `max_steps` steps.
        """
        node = self._root
        for position, segment in enumerate(segments):
            if not node.is_single:
                return self._find_among(node, segments, position, method, best)
            if node.opens is not None:
                best = node.opens.first(method, best)
            child = node.literals.get(segment) if node.star is None else node.star if segment else None
            if child is None:
                return best
            if isinstance(child, Entry):
                return _better(child, segments, position + 1, method, best)
            node = child
        return best if node.ends is None else node.ends.first(method, best)

    def _find_among(
        self, node: _Node[T], segments: Sequence[str], start: int, method: bytes, best: Entry[T] | None
    ) -> Entry[T] | None:
        """Go on from `node`, reached before segment `start`, with all nodes that the path may reach."""
        size, steps = len(segments), 0
        active: list[_Node[T]] = [node]
        loops: dict[_Node[T], None] = {}
        for position in range(start, size):
            best = _opened(active, loops, method, best)
            following: list[_Node[T]] = []
            for reached in active:
                steps += 1
                if steps > self.max_steps:
                    raise BadRequest("invalid_path", "more segments than the rules can be searched for")
                if best is not None and reached.least >= best.index:
                    continue
                for child in reached.children(segments[position]):
                    if isinstance(child, _Node):
                        following.append(child)
                    else:
                        best = _better(child, segments, position + 1, method, best)
            following.extend(loops)
            if not following:
                return best
            active = following
        for reached in active:
            if reached.ends is not None:
                best = reached.ends.first(method, best)
        return best


def _opened[T](
    active: list[_Node[T]], loops: dict[_Node[T], None], method: bytes, best: Entry[T] | None
) -> Entry[T] | None:
    """Add to `active` and `loops` the nodes of each "**" that is reached; return the first end or `best`."""
    for node in active:  # grows meanwhile
        if node.opens is not None:
            best = node.opens.first(method, best)
        if node.loop is not None and node.loop not in loops:
            loops[node.loop] = None
            active.append(node.loop)
    return best


def _better[T](
    entry: Entry[T], segments: Sequence[str], position: int, method: bytes, best: Entry[T] | None
) -> Entry[T] | None:
    """Return `entry` if it comes before `best` and covers what is left from `position` on, else `best`."""
    if best is not None and best.index <= entry.index:
        return best
    if entry.methods is not None and method not in entry.methods:
        return best
    return entry if entry.tail.matches(segments, position) else best


type _Placed[T] = tuple[Entry[T], tuple[Segment, ...]]


class _Builder[T]:
    """Compiles patterns into nodes; keeps each distinct tail once."""

    def __init__(self) -> None:
        self._tails: dict[tuple[Segment, ...], _Tail] = {}

    def build(self, entries: list[_Placed[T]], depth: int) -> _Node[T] | Entry[T]:
        """Return what `entries`, alike in their first `depth` segments, become."""
        entry, pattern = entries[0]
        rest = pattern[depth:]
        if len(entries) > 1 or rest.count(None) > 1:
            return self.build_node(entries, depth)
        tail = self._tails.get(rest)
        if tail is None:
            tail = self._tails[rest] = _Tail(rest)
        entry.tail = tail
        return entry

    def build_node(self, entries: list[_Placed[T]], depth: int) -> _Node[T]:
        """Return the node of `entries`, even of none or one."""
        node = _Node[T](min((entry.index for entry, _ in entries), default=0))
        groups: dict[str | tuple[str, str], list[_Placed[T]]] = {}
        deep: list[_Placed[T]] = []
        for entry, pattern in entries:
            if len(pattern) == depth:
                node.ends = node.ends or _Ends()
                node.ends.add(entry)
            elif (segment := pattern[depth]) is None:
                deep.append((entry, pattern))
            else:
                groups.setdefault(segment, []).append((entry, pattern))
        self._add_open(node, deep, depth + 1)
        shapes: dict[tuple[int, int], dict[tuple[str, str], _Node[T] | Entry[T]]] = {}
        for key, group in groups.items():
            child = self.build(group, depth + 1)
            if isinstance(key, str):
                node.literals[key] = child
            elif key == _STAR:
                node.star = child
            else:
                shapes.setdefault((len(key[0]), len(key[1])), {})[key] = child
        node.shapes = tuple((*lengths, table) for lengths, table in shapes.items())
        node.is_single = not (node.shapes or node.loop or (node.star and node.literals))
        return node

    def _add_open(self, node: _Node[T], entries: list[_Placed[T]], depth: int) -> None:
        """Add the patterns that go on with "**": those that end with it, and those that don't."""
        longer = [(entry, pattern) for entry, pattern in entries if len(pattern) > depth]
        for entry, pattern in entries:
            if len(pattern) == depth:
                node.ends = node.ends or _Ends()
                node.ends.add(entry)
                node.opens = node.opens or _Ends()
                node.opens.add(entry)
        if longer:
            node.loop = self.build_node(longer, depth)
