"""The table in RESULTS.md and the chart in results.svg."""

from __future__ import annotations

import html
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.rows import Row

__all__ = ["chart", "machine", "table"]

_MARK: Final = {True: "reached", False: "**falls short**", None: "for scale"}
_HEAD: Final = """# Results

Measured {when} on {machine}. Made by `make bench`; every figure of a row comes from one run.

CPU time is that of the subject's own processes per answered request (user + system, from /proc), one worker
alone on one core, load and upstream on the other. A ratio is nginx's CPU time divided by ours, median of
three interleaved rounds, 32 connections, a browser-sized request.

| figure | to reach | measured | | details |
|---|---|---|---|---|"""
_BAR: Final = 28
_WIDTH: Final = 720
_LABEL: Final = 300


def machine() -> str:
    """Return the processor and the versions that matter, in a line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, Linux {platform.release()}, CPython {platform.python_version()}"


def table(rows: Sequence[Row], when: str) -> str:
    """Return the whole RESULTS.md."""
    lines = [_HEAD.format(when=when, machine=machine())]
    for row in rows:
        cells = (row.figure, row.goal, row.measured, _MARK[row.is_reached], row.details)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def chart(rows: Sequence[Row]) -> str:
    """Return a bar chart of the ratios, nginx = 1, as SVG."""
    bars = [("nginx proxy_pass, no authentication", 1.0)]
    bars += [(row.figure, row.ratio) for row in rows if row.ratio is not None]
    scale = (_WIDTH - _LABEL - 70) / max(value for _, value in bars)
    height = _BAR * len(bars) + 40
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" role="img" '
            'font-family="system-ui, sans-serif" font-size="13">'
        ),
        "<title>Requests per CPU second, bare nginx = 1</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        '<text x="12" y="22" font-weight="600">Requests per CPU second, bare nginx = 1</text>',
    ]
    for number, (label, value) in enumerate(bars):
        y = 34 + number * _BAR
        is_peer = number == 0 or "oauth2-proxy" in label or "Envoy" in label
        colour = "#8a8f98" if is_peer else "#1f6f5c"
        length = value * scale
        parts += [
            f'<text x="{_LABEL - 8}" y="{y + 17}" text-anchor="end">{html.escape(label)}</text>',
            f'<rect x="{_LABEL}" y="{y + 4}" width="{length:.1f}" height="18" rx="3" fill="{colour}"/>',
            f'<text x="{_LABEL + length + 6:.1f}" y="{y + 17}">{value:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
