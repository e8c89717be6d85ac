"""`doorward doctor`: what a live ingress lets through, as a table, or as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import typer

from sidecar.core.errors import ConfigurationError
from sidecar.doctor import Examination, Finding, NotExaminedError, Report, Verdict, examine, parse_url
from sidecar.doctor.mends import mend

__all__ = ["Order", "doctor", "read_cookie"]

_MAX_COOKIE_BYTES: Final = 64 * 1024
_COLOURS: Final = {Verdict.OK: "green", Verdict.OPEN: "bold red", Verdict.UNKNOWN: "yellow"}
_MEANINGS: Final = {
    Verdict.OK: "as it should be",
    Verdict.OPEN: "open: it got through",
    Verdict.UNKNOWN: "unknown: it can't be seen from here, or is no hole by itself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed. `kind` names the ingress, whose mends alone are shown."""

    url: str
    path: str | None = None
    public_path: str | None = None
    echo: str | None = None
    cookie: Path | None = None
    prefix: str = "/oauth2"
    kind: str | None = None
    as_json: bool = False


def doctor(order: Order) -> int:
    """Examine a live ingress and print what was found.

    Returns 0 when nothing is open, 1 when something is, 2 when nothing can be said.
    """
    try:
        report = asyncio.run(examine(_examination(order)))
    except (ConfigurationError, NotExaminedError) as error:
        if order.as_json:
            typer.echo(json.dumps({"error": str(error)}, indent=2))
        else:
            typer.echo(f"doorward doctor: {error}", err=True)
        return 2
    kind = order.kind or report.ingress
    if order.as_json:
        typer.echo(json.dumps(_document(report, kind), indent=2))
    elif sys.stdout.isatty():
        _print_table(report, kind)
    else:
        typer.echo("\n".join(_lines(report, kind)))
    return 1 if report.is_open else 0


def _examination(order: Order) -> Examination:
    ingress, path = parse_url(order.url)
    return Examination(
        ingress=ingress,
        path=order.path or path or "/",
        public_path=order.public_path,
        echo_path=order.echo,
        cookie=None if order.cookie is None else read_cookie(order.cookie),
        prefix=order.prefix.rstrip("/"),
    )


def read_cookie(file: Path) -> str:
    """Return the Cookie field in a file, with or without its name. Raises ConfigurationError."""
    try:
        text = file.read_bytes()[: _MAX_COOKIE_BYTES + 1].decode("ascii").strip()
    except OSError as error:
        raise ConfigurationError(f"--cookie {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"--cookie {file}: a cookie is plain ASCII") from error
    if text.lower().startswith("cookie:"):
        text = text.partition(":")[2].strip()
    if "=" not in text or not text.isprintable() or len(text) > _MAX_COOKIE_BYTES:
        raise ConfigurationError(f"--cookie {file}: one line is wanted, NAME=VALUE; NAME=VALUE")
    return text


# For programs


def _document(report: Report, kind: str | None) -> dict[str, Any]:
    return {
        "open": report.is_open,
        "ingress": kind,
        "findings": [
            {**asdict(finding), "mend": _mends(finding, kind) if _needs_mend(finding) else {}}
            for finding in report.findings
        ],
    }


def _mends(finding: Finding, kind: str | None) -> dict[str, str]:
    return dict(mend(finding.group, kind))


def _needs_mend(finding: Finding) -> bool:
    return finding.verdict is not Verdict.OK


# For people


def _lines(report: Report, kind: str | None) -> Iterator[str]:
    """Write one line for each probe, where no terminal is there to wrap a table."""
    width = max(len(finding.probe) for finding in report.findings)
    for finding in report.findings:
        sent = f"  [{finding.sent}]" if finding.sent else ""
        yield f"{finding.verdict:<8} {finding.probe:<{width}}  {finding.came}{sent}"
    yield from _ending(report, kind)


def _print_table(report: Report, kind: str | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("probe", "sent", "came back", "verdict"):
        table.add_column(heading, overflow="fold")
    for finding in report.findings:
        words = (finding.probe, _short(finding.sent), finding.came)
        table.add_row(*map(Text, words), Text(finding.verdict.value, style=_COLOURS[finding.verdict]))
    console = Console(no_color="NO_COLOR" in os.environ or None)
    console.print(table)
    for line in _ending(report, kind):
        console.print(Text(line))


_SENT_CHARS: Final = 60


def _short(sent: str) -> str:
    return sent if len(sent) <= _SENT_CHARS else f"{sent[: _SENT_CHARS - 3]}..."


def _ending(report: Report, kind: str | None) -> Iterator[str]:
    """Say how to mend what is not right, each part of a configuration once, and what it comes to."""
    groups = dict.fromkeys(finding.group for finding in report.findings if finding.verdict is Verdict.OPEN)
    for group in groups:
        yield ""
        yield f"to mend ({group}):"
        yield from (f"  {ingress:<14} {line}" for ingress, line in mend(group, kind))
    counts = Counter(finding.verdict for finding in report.findings)
    yield ""
    for verdict, meaning in _MEANINGS.items():
        yield f"{counts[verdict]:>3} {meaning}"
