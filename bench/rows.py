"""A row of the table, and how rounds become one."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.load import Cost

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MIB", "ROUNDS", "Row", "Setting", "compare", "describe", "flat", "interleaved", "median"]

ROUNDS: Final = 3
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `is_reached` None: for comparison only, there is no figure to reach.

    `bar` is its name in the chart, which shows `ratio`: requests per CPU second, bare nginx = 1.
    """

    figure: str
    goal: str
    measured: str
    details: str
    is_reached: bool | None
    ratio: float | None = None
    bar: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """What every scenario needs: a scratch folder, the upstream, seconds for each round."""

    folder: Path
    upstream_port: int
    seconds: int


def interleaved[T](*probes: Callable[[], T]) -> list[list[T]]:
    """Run the probes in turn, `ROUNDS` times, so that a machine's moods fall on all of them."""
    rounds = [[probe() for probe in probes] for _ in range(ROUNDS)]
    return [list(costs) for costs in zip(*rounds, strict=True)]


def median(costs: list[Cost], name: str) -> float:
    """Return the median of one figure."""
    return float(statistics.median(getattr(cost, name) for cost in costs))


def describe(name: str, costs: list[Cost]) -> str:
    """Return what a request cost, in words."""
    user, system = median(costs, "user_us"), median(costs, "system_us")
    return f"{name} {user + system:.1f} us ({user:.1f} user + {system:.1f} system)"


def compare(  # noqa: PLR0917  what a row is made of
    figure: str, goal: float | None, nginx: list[Cost], ours: list[Cost], bar: str, name: str = "Doorward"
) -> Row:
    """Return nginx's CPU time for a request divided by that of `name`."""
    ratio = statistics.median(n.cpu_us / o.cpu_us for n, o in zip(nginx, ours, strict=True))
    rate = statistics.median(o.rate / n.rate for n, o in zip(nginx, ours, strict=True))
    details = f"{describe('nginx', nginx)}; {describe(name, ours)}; rate ratio {rate:.2f}"
    errors = sum(cost.errors for cost in ours)
    if errors:
        details += f"; {errors} socket errors"
    is_reached = None if goal is None else ratio >= goal and not errors
    return Row(figure, "" if goal is None else f">= {goal}", f"{ratio:.2f}", details, is_reached, ratio, bar)


def flat(figure: str, small: list[Cost], large: list[Cost], limit: float | None = 1.15) -> Row:
    """Return the cost of `large` as a multiple of that of `small`."""
    ratio = statistics.median(b.cpu_us / a.cpu_us for a, b in zip(small, large, strict=True))
    details = f"{describe('few', small)}; {describe('many', large)}"
    is_reached = None if limit is None else ratio <= limit
    return Row(figure, "" if limit is None else f"<= {limit} x", f"{ratio:.2f} x", details, is_reached)
