"""The table in RESULTS.md and the chart in results.svg."""

from __future__ import annotations

import html
import os
import platform
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.rows import Row

__all__ = ["chart", "machine", "table", "updated"]

_MARK: Final = {True: "reached", False: "**falls short**", None: "for scale"}
_HEAD: Final = """# Results

Measured {when} on {machine}. Made by `make bench`; all figures of a row come from one run.
[What they mean, and where the time goes](../docs/performance.md).

CPU time is that of the subject's own processes per answered request (user + system, from /proc), one worker
alone on one core, load and upstream on the other. A ratio is nginx's CPU time divided by the subject's: what
one core serves, bare nginx = 1. Each is the median of three interleaved rounds, 32 connections, a request of
a browser with its session among other cookies. The interception engine's rows are ratios of rates beside bare
mitmproxy in reverse mode (`mitmdump --quiet`, Host kept), the same way. A row with a date of its own was
measured then.

| figure | to reach | measured | | details |
|---|---|---|---|---|"""

_WIDTH: Final = 760
_LEFT: Final = 300
_TOP: Final = 58
_BAR: Final = 30
_OWN: Final = "#1f6f5c"
_OTHER: Final = "#9aa1a9"
_NGINX: Final = "#5b636d"


def machine() -> str:
    """Return the processor and the versions that matter, in a line."""
    model = "an unknown processor"
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    build = "built with" if "--enable-optimizations" in options else "built without"
    version = platform.python_version()
    return (
        f"{os.cpu_count()} cores of {model}, Linux {platform.release().partition('-')[0]},"
        f" CPython {version} ({build} profile-guided optimisation)"
    )


def table(rows: Sequence[Row], when: str) -> str:
    """Return the whole RESULTS.md."""
    return "\n".join([_HEAD.format(when=when, machine=machine()), *(_line(row) for row in rows)]) + "\n"


def _line(row: Row, when: str = "") -> str:
    details = f"{row.details}; measured {when}" if when else row.details
    cells = (row.figure, row.goal, row.measured, _MARK[row.is_reached], details)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def updated(text: str, rows: Sequence[Row], when: str) -> str:
    """Return a RESULTS.md with `rows` in the place of those of the same figures, or behind all others."""
    lines = text.splitlines()
    for row in rows:
        line, begin = _line(row, when), _line(row).partition(" | ")[0] + " | "
        places = [number for number, known in enumerate(lines) if known.startswith(begin)]
        if places:
            lines[places[0]] = line
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def chart(rows: Sequence[Row]) -> str:
    """Return a bar chart of the ratios, nginx = 1, as SVG: ours first, then the others', each by length."""
    bars = [(row.bar, row.ratio, _is_other(row.bar)) for row in rows if row.ratio is not None]
    bars.sort(key=lambda bar: (bar[2], -bar[1]))
    scale = (_WIDTH - _LEFT - 60) / max(1.0, *(value for _, value, _ in bars))
    height = _TOP + _BAR * (len(bars) + 1) + 16
    one = _LEFT + scale
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
            f' viewBox="0 0 {_WIDTH} {height}" role="img" font-family="system-ui, sans-serif" font-size="13">'
        ),
        "<title>Requests per second of one core's CPU time, bare nginx = 1</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#fff"/>',
        '<text x="16" y="26" font-size="15" font-weight="600" fill="#1c2b27">What one core serves</text>',
        '<text x="16" y="45" fill="#5b636d">Requests per CPU second, bare nginx = 1; longer is better</text>',
        f'<path d="M{one:.1f} {_TOP - 4}V{height - 10}" stroke="#c9ced3" stroke-dasharray="3 3"/>',
    ]
    for number, (label, value, is_other) in enumerate([("nginx, no authentication", 1.0, None), *bars]):
        colour = _NGINX if is_other is None else _OTHER if is_other else _OWN
        parts += _bar(label, value, colour, _TOP + number * _BAR, scale)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _is_other(bar: str) -> bool:
    return not bar.startswith("Doorward")


def _bar(label: str, value: float, colour: str, y: int, scale: float) -> list[str]:
    length = value * scale
    return [
        f'<text x="{_LEFT - 10}" y="{y + 19}" text-anchor="end" fill="#1c2b27">{html.escape(label)}</text>',
        f'<rect x="{_LEFT}" y="{y + 5}" width="{length:.1f}" height="20" rx="3" fill="{colour}"/>',
        f'<text x="{_LEFT + length + 7:.1f}" y="{y + 19}" fill="#1c2b27">{value:.2f}</text>',
    ]
