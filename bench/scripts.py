"""What wrk sends when each request differs: paths for the rule table, cookies, and everything at once."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["rule_lines", "write_cookie_script", "write_path_script", "write_varied_script"]


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


def write_path_script(path: Path, request: str) -> Path:
    """Write a wrk script that asks for another path each time; all fall under the last rule.

    `request` is one for "/".
    """
    rest = json.dumps(request.removeprefix("GET /"))
    path.write_text(
        f"local n, rest = 0, {rest}\nrequest = function()\n  n = n + 1\n"
        '  return "GET /w/" .. n .. "/x" .. (n * 7919) % 100003 .. "/k" .. n % 977 .. rest\nend\n',
        "ascii",
    )
    return path


def write_cookie_script(path: Path, request: str, cookies: Sequence[str]) -> Path:
    """Write a wrk script that sends the next cookie each time; `request` is one without a cookie."""
    data = path.with_suffix(".txt")
    data.write_text("\n".join(cookies), "ascii")
    head = json.dumps(request.removesuffix("\r\n"))
    path.write_text(
        f"local cookies, head = {{}}, {head}\n"
        f'for line in io.lines("{data}") do cookies[#cookies + 1] = line end\n'
        # Each run begins somewhere else, so that a short one does not meet the same few again.
        "math.randomseed(os.time())\nlocal n = math.random(#cookies)\n"
        "request = function()\n  n = n % #cookies + 1\n"
        '  return head .. "Cookie: " .. cookies[n] .. "\\r\\n\\r\\n"\nend\n',
        "ascii",
    )
    return path


def write_varied_script(path: Path, request: str) -> Path:
    """Write a wrk script in which no request is like the one before it on its connection.

    Paths with a number in them, a Referer with another, and the Accept of scripts and images in turn.
    `request` is one for "/".
    """
    rest, _, cookie = request.removeprefix("GET /").removesuffix("\r\n").rpartition("Cookie: ")
    before, _, after = rest.partition("Accept: ")
    pieces = [json.dumps(text) for text in (before, after.partition("\r\n")[2], cookie)]
    path.write_text(
        f"local before, after, cookie = {', '.join(pieces)}\n"
        'local accept = {"*/*", "image/avif,image/webp,image/apng,*/*;q=0.8", "text/css,*/*;q=0.1"}\n'
        "local n = 0\nrequest = function()\n  n = n + 1\n"
        '  return "GET /varied/item/" .. n .. before\n'
        '    .. "Accept: " .. accept[n % 3 + 1] .. "\\r\\n" .. after\n'
        '    .. "Referer: http://localhost/page/" .. (n * 7919) % 100003 .. "\\r\\n"\n'
        '    .. "Cookie: " .. cookie .. "\\r\\n"\nend\n',
        "ascii",
    )
    return path
