"""`python -m bench [scenario ...]`: run all, or some without touching the results."""

from __future__ import annotations

import argparse
import compileall
import datetime as dt
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import comparison, ingress, interception, memory, scenarios
from bench.processes import ROOT
from bench.report import chart, table, updated
from bench.rows import Setting
from bench.subjects import upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.rows import Row

_NEEDED: Final = ("nginx", "wrk", "h2load", "taskset")

SCENARIOS: Final[dict[str, Callable[[Setting], list[Row]]]] = {
    "proxying": scenarios.proxying,
    "access_line": scenarios.access_line,
    "assertion": scenarios.assertion,
    "varied": scenarios.varied,
    "resident": memory.resident,
    "start": memory.start,
    "rules": scenarios.rules,
    "sessions": scenarios.sessions,
    "idle": memory.idle,
    "download": memory.download,
    "others": comparison.others,
    "interception": interception.interception,
    "interception_http2": interception.interception_http2,
    "dev": interception.dev,
    "nginx_asks": ingress.nginx_asks,
    "ingresses": ingress.ingresses,
}


def main() -> int:
    """Run, print, and write the results when all scenarios ran."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure Doorward beside bare nginx and bare mitmproxy."
    )
    parser.add_argument(
        "scenario", nargs="*", help=f"only these, and no results are written: {', '.join(SCENARIOS)}"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="write the rows of these scenarios into the results, with the date",
    )
    parser.add_argument("--seconds", type=int, default=5, help="length of each round")
    options = parser.parse_args()
    unknown = set(options.scenario) - set(SCENARIOS)
    if unknown:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    # Debian keeps nginx where a user's PATH often does not look.
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin"
    missing = [tool for tool in _NEEDED if shutil.which(tool) is None]
    if missing:
        print(f"bench: not on PATH: {', '.join(missing)} (Debian: nginx-light wrk nghttp2-client util-linux)")
        return 2
    # As an installation does; a start that has to compile takes half as long again.
    for package in ("sidecar", "addons"):
        compileall.compile_dir(ROOT / package, quiet=1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="doorward-bench-") as name, upstream(Path(name)) as application:
        Path(name).chmod(0o755)
        setting = Setting(Path(name), application.port, options.seconds)
        for scenario in options.scenario or SCENARIOS:
            for row in SCENARIOS[scenario](setting):
                print(f"{row.figure}: {row.measured} (to reach: {row.goal or '-'}) {row.details}", flush=True)
                rows.append(row)
    results = ROOT / "bench" / "RESULTS.md"
    when = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    if not options.scenario:
        results.write_text(table(rows, when), "utf-8")
        (ROOT / "bench" / "results.svg").write_text(chart(rows), "utf-8")
    elif options.update:
        results.write_text(updated(results.read_text("utf-8"), rows, when), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
