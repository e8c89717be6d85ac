"""`python -m bench [scenario ...]`: run all, or some without touching the results."""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import sys
import tempfile
from pathlib import Path

from bench.report import chart, table
from bench.scenarios import SCENARIOS, Setting
from bench.subjects import upstream

_HERE = Path(__file__).parent
_NEEDED = ("nginx", "wrk", "h2load", "taskset")


def main() -> int:
    """Run, print, and write the results when all scenarios ran."""
    parser = argparse.ArgumentParser(description="Measure Doorward beside bare nginx.")
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], help="only these; writes no results")
    parser.add_argument("--seconds", type=int, default=5, help="length of each round")
    options = parser.parse_args()
    missing = [tool for tool in _NEEDED if shutil.which(tool) is None]
    if missing:
        print(f"bench: not on PATH: {', '.join(missing)} (Debian: nginx-light wrk nghttp2-client util-linux)")
        return 2
    rows = []
    with tempfile.TemporaryDirectory(prefix="doorward-bench-") as name, upstream(Path(name)) as application:
        Path(name).chmod(0o755)
        setting = Setting(Path(name), application.port, options.seconds)
        for scenario in options.scenario or SCENARIOS:
            for row in SCENARIOS[scenario](setting):
                print(f"{row.figure}: {row.measured} (to reach: {row.goal}) {row.details}", flush=True)
                rows.append(row)
    if not options.scenario:
        when = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
        (_HERE / "RESULTS.md").write_text(table(rows, when), "utf-8")
        (_HERE / "results.svg").write_text(chart(rows), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
