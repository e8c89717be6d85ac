"""What finding a request's rule costs, and that ten thousand rules cost what ten do.

    python -m bench.micro_rules

Times are the processor's, the best of several rounds. Each shape of rule set is looked up with random paths
that were never asked for before, so nothing is remembered, and once with paths that no rule matches. Two
figures a shape: the look-up alone, and all that a request needs (target parsed, rules of its readings found).
With many rules, each of the few objects that a look-up touches is a cache miss, and that is what remains of
the difference.
"""

from __future__ import annotations

import gc
import random
import time
import timeit
from collections.abc import Callable, Sequence
from typing import Final

from sidecar.core.paths import parse_target
from sidecar.core.policy import Anyone, Authenticated, Groups
from sidecar.core.rules import Rule, RuleTable

FEW, MANY = 10, 10_000
ROUNDS: Final = 15
PATHS: Final = 20_000
HOST: Final = "app.example.com"

# "{}" is the part that tells one rule from another.
SHAPES: Final = {
    "wildcard behind": "/{}/**",
    "wildcard in the middle": "/api/{}/*/items/**",
    "wildcard before": "/api/*/{}/items",
    "within a segment": "/files/*/{}-*.css",
    "any depth before": "/**/{}/edit",
    "any depth in the middle": "/org/{}/**/settings",
}


def build_table(shape: str, count: int) -> tuple[RuleTable, list[str]]:
    """Return rules of one shape and the words that tell them apart."""
    words = [f"s{number * 7919 % 1_048_576:05x}" for number in range(count)]
    rules = [
        Rule(name=f"access[{number}]", allow=Groups((word,)), path=shape.format(word))
        for number, word in enumerate(words)
    ]
    return RuleTable.build(rules), words


def make_paths(shape: str, words: Sequence[str], rng: random.Random) -> list[str]:
    """Return random paths of the shape, each with one of the words."""
    return [fill(shape.format(rng.choice(words)), rng) for _ in range(PATHS)]


def fill(pattern: str, rng: random.Random) -> str:
    """Put something random for each wildcard."""
    path = pattern
    while "**" in path:
        path = path.replace("**", "/".join(word(rng) for _ in range(2)), 1)
    while "*" in path:
        path = path.replace("*", word(rng), 1)
    return path


def word(rng: random.Random) -> str:
    """Return a random segment."""
    return f"{rng.getrandbits(40):010x}"


def best(*runs: Callable[[], None], per: int) -> list[float]:
    """Return the best time of each run in microseconds, the runs taking turns."""
    times = [float("inf")] * len(runs)
    gc.collect()
    gc.freeze()
    for _ in range(ROUNDS):
        for number, run in enumerate(runs):
            taken = timeit.timeit(run, timer=time.process_time, number=1)
            times[number] = min(times[number], taken / per * 1e6)
    gc.unfreeze()
    return times


def look_up(table: RuleTable, paths: list[str]) -> Callable[[], None]:
    """Return a run that finds the rule of each path, nothing remembered."""

    def run() -> None:
        match = table.match
        for path in paths:
            match(HOST, path, b"GET")

    return run


def serve(table: RuleTable, targets: list[bytes]) -> Callable[[], None]:
    """Return a run that does all that a request needs."""

    def run() -> None:
        for target in targets:
            table.rules_for(HOST, parse_target(target).readings, b"GET")

    return run


def compare(name: str, shape: str) -> None:
    """Print what few and many rules of a shape cost."""
    rng = random.Random(11)
    few, few_words = build_table(shape, FEW)
    many, many_words = build_table(shape, MANY)
    for kind, prefix in (("matches", ""), ("no rule", "z")):
        few_paths, many_paths = (
            make_paths(shape, [prefix + each for each in words], rng) for words in (few_words, many_words)
        )
        alone = best(look_up(few, few_paths), look_up(many, many_paths), per=PATHS)
        whole = best(
            serve(few, [path.encode() for path in few_paths]),
            serve(many, [path.encode() for path in many_paths]),
            per=PATHS,
        )
        figures = "".join(
            f"{low:8.2f} {high:7.2f}  {high / low:5.2f}" for low, high in (tuple(alone), tuple(whole))
        )
        print(f"{name:24} {kind:8}{figures}")


def time_call(name: str, call: Callable[[], object]) -> None:
    """Print what one call costs."""
    number = 20_000
    taken = min(timeit.repeat(call, timer=time.process_time, number=number, repeat=ROUNDS)) / number * 1e6
    print(f"{name:58}{taken:8.2f}")


def main() -> None:
    """Print all figures."""
    table = RuleTable.build(
        [
            Rule(name="public", path="/public/**", allow=Anyone()),
            Rule(name="admin", path="/api/admin/**", methods=frozenset({b"POST"}), allow=Groups(("admins",))),
            Rule(name="rest", allow=Authenticated()),
        ]
    )
    target = b"/api/v1/dashboards/home/panels/12?from=now-6h&to=now"
    path = parse_target(target).canonical
    fresh = iter(range(1 << 60))
    print(f"{'one call':58}{'us':>8}")
    time_call("parse_target, a target seen before", lambda: parse_target(target))
    time_call("parse_target, a new plain target", lambda: parse_target(b"%b&n=%d" % (target, next(fresh))))
    time_call("parse_target, a new one with %2F", lambda: parse_target(b"/a/g%%2Fp/%d" % next(fresh)))
    time_call("match, three rules", lambda: table.match(HOST, path, b"GET"))
    time_call("rules_for, a path seen before", lambda: table.rules_for(HOST, (path,), b"GET"))
    print(f"\n{'us a look-up':33}{f'{FEW} {MANY}':>16}  ratio{'parsed too':>16}  ratio")
    for name, shape in SHAPES.items():
        compare(name, shape)


if __name__ == "__main__":
    main()
