"""What wrk sends when each request differs: paths for the rule table, cookies for the session memory."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["rule_lines", "write_cookie_script", "write_path_script"]


def rule_lines(count: int) -> str:
    """Return `count` rules as a YAML flow list: distinct paths, most with a wildcard in the middle."""
    rng = random.Random(count)
    rules = []
    for number in range(count - 1):
        team, kind = rng.randrange(1 << 30), rng.randrange(1 << 20)
        path = f"/t{team}/*/k{kind}/**" if number % 3 else f"/t{team}/k{kind}"
        rules.append(f"{{path: {path}, allow: {{groups: [g{number % 50}]}}}}")
    rules.append("{path: /w/**, allow: {email_domains: [example.com]}}")
    return "[" + ", ".join(rules) + "]"


def write_path_script(path: Path) -> Path:
    """Write a wrk script that asks for another path each time; all fall under the last rule."""
    path.write_text(
        "local n = 0\nrequest = function()\n  n = n + 1\n"
        '  return wrk.format("GET", "/w/" .. n .. "/x" .. (n * 7919) % 100003 .. "/k" .. n % 977)\nend\n',
        "ascii",
    )
    return path


def write_cookie_script(path: Path, cookies: Sequence[str]) -> Path:
    """Write a wrk script that sends the next cookie each time."""
    data = path.with_suffix(".txt")
    data.write_text("\n".join(cookies), "ascii")
    path.write_text(
        f'local cookies = {{}}\nfor line in io.lines("{data}") do cookies[#cookies + 1] = line end\n'
        "local n = 0\nrequest = function()\n  n = n % #cookies + 1\n"
        '  wrk.headers["Cookie"] = cookies[n]\n  return wrk.format("GET", "/")\nend\n',
        "ascii",
    )
    return path
