"""What a request costs: each scenario returns rows for the table."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bench.load import Cost, ask, build_request, fields_of, fixed_rate_p99, measure, write_script
from bench.processes import resident_bytes
from bench.rows import MIB, ROUNDS, Row, Setting, compare, flat, interleaved, median
from bench.sessions import cookie_headers
from bench.subjects import bare_nginx, doorward, doorward_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.processes import Subject

__all__ = [
    "FORWARD_AUTH",
    "access_line",
    "as_question",
    "assertion",
    "browser",
    "proxying",
    "rules",
    "sessions",
    "varied",
]

FORWARD_AUTH: Final = {"forward_auth": "{callers: [127.0.0.1]}"}
"""The configuration line with which Doorward answers an ingress."""

_TARGET: Final = "/reports/2026?page=2"
_SESSIONS: Final = 100_000


def browser(
    subject: Subject, setting: Setting, target: str = _TARGET, *, options: Mapping[str, str] | None = None
) -> str:
    """Return the request of a browser with a session of `subject`, whose cookie's name carries the port."""
    yaml = doorward_yaml(subject.port, setting.upstream_port, options or {})
    cookie = cookie_headers(yaml, setting.folder / "bench.yaml", 1)[0]
    return build_request(f"localhost:{subject.port}", target, cookie)


def as_question(request: str) -> str:
    """Return what nginx would ask about `request`, as config/ingress/nginx.conf has it."""
    line, _, fields = request.partition("\r\n")
    host, _, rest = fields.partition("\r\n")
    method, target, version = line.split(" ")
    asked = (
        f"{method} /oauth2/auth/nginx {version}",
        f"X-Original-Method: {method}",
        f"X-Original-URI: {target}",
        host,
        "X-Forwarded-Proto: http",
        "X-Forwarded-For: 127.0.0.1",
        rest,
    )
    return "\r\n".join(asked)


def warmed(subject: Subject, script: Path, request: str) -> None:
    """See that `request` is answered, and let the memories of `subject` fill."""
    ask(subject, request)
    measure(subject, script, seconds=1)


def _against_nginx(
    setting: Setting,
    figure: str,
    goal: float,
    bar: str,
    options: Mapping[str, str],
    *,
    access_log: bool = False,
) -> Row:
    name = figure.replace(" ", "-").replace("/", "-")
    with (
        bare_nginx(setting.folder, setting.upstream_port, access_log=access_log) as nginx,
        doorward(setting.folder, setting.upstream_port, name, options) as ours,
    ):
        request = browser(ours, setting)
        script = write_script(setting.folder / f"{name}.lua", request)
        warmed(nginx, script, request)
        warmed(ours, script, request)
        base, proxy = interleaved(
            lambda: measure(nginx, script, seconds=setting.seconds),
            lambda: measure(ours, script, seconds=setting.seconds),
        )
    return compare(figure, goal, base, proxy, bar)


def proxying(setting: Setting) -> list[Row]:
    """Compare the reverse proxy, the auth endpoint and latency in one go."""
    with (
        bare_nginx(setting.folder, setting.upstream_port) as nginx,
        doorward(setting.folder, setting.upstream_port, options=FORWARD_AUTH) as ours,
    ):
        page = browser(ours, setting)
        auth = as_question(page)
        page_script = write_script(setting.folder / "page.lua", page)
        auth_script = write_script(setting.folder / "auth.lua", auth)
        warmed(nginx, page_script, page)
        warmed(ours, page_script, page)
        warmed(ours, auth_script, auth)
        seconds = setting.seconds
        base, proxy, authorized = interleaved(
            lambda: measure(nginx, page_script, seconds=seconds),
            lambda: measure(ours, page_script, seconds=seconds),
            lambda: measure(ours, auth_script, seconds=seconds),
        )
        return [
            compare("reverse proxy, logged in, access log off", 0.65, base, proxy, "Doorward"),
            compare("/oauth2/auth, logged in", 1.3, base, authorized, "Doorward, /oauth2/auth alone"),
            _latency(setting, nginx, ours, page, proxy),
        ]


def _latency(setting: Setting, nginx: Subject, ours: Subject, request: str, proxy: list[Cost]) -> Row:
    rate = int(median(proxy, "rate") / 2)
    cookie = request.partition("Cookie: ")[2].strip()
    fields = fields_of(f"localhost:{ours.port}", cookie)
    log = setting.folder / "h2load.log"

    def p99(subject: Subject) -> float:
        return fixed_rate_p99(subject, _TARGET, fields, rate=rate, seconds=setting.seconds, log=log)

    pairs = [(p99(nginx), p99(ours)) for _ in range(ROUNDS)]
    theirs = statistics.median(pair[0] for pair in pairs)
    own = statistics.median(pair[1] for pair in pairs)
    ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
    details = f"at {rate} requests/s: nginx {theirs:.2f} ms, Doorward {own:.2f} ms"
    return Row("p99 at half our peak load", "<= 2 x nginx", f"{ratio:.2f} x", details, ratio <= 2)


def access_line(setting: Setting) -> list[Row]:
    """Compare with an access line for each request on both sides."""
    options = {"log": "{access: true}"}
    figure = "the same, an access line on both sides"
    bar = "Doorward, an access line on both sides"
    return [_against_nginx(setting, figure, 0.50, bar, options, access_log=True)]


def assertion(setting: Setting) -> list[Row]:
    """Compare with the signed assertion on."""
    from bench.keys import assertion_option

    figure, bar = "the same, signed assertion on", "Doorward, signed assertion"
    return [_against_nginx(setting, figure, 0.60, bar, assertion_option())]


def varied(setting: Setting) -> list[Row]:
    """Compare when no request and no answer is like the one before, so that nothing is known again."""
    from bench.scripts import write_varied_script

    with (
        bare_nginx(setting.folder, setting.upstream_port) as nginx,
        doorward(setting.folder, setting.upstream_port, "doorward-varied") as ours,
    ):
        request = browser(ours, setting, "/")
        script = write_varied_script(setting.folder / "varied.lua", request)
        warmed(nginx, script, request)
        warmed(ours, script, request)
        base, proxy = interleaved(
            lambda: measure(nginx, script, seconds=setting.seconds),
            lambda: measure(ours, script, seconds=setting.seconds),
        )
    figure = "the same, each request and answer unlike the last"
    return [compare(figure, None, base, proxy, "Doorward, no two requests alike")]


def rules(setting: Setting) -> list[Row]:
    """Compare 10,000 rules (most with a wildcard in the middle) with 10, on distinct paths."""
    from bench.scripts import rule_lines, write_path_script

    with (
        doorward(setting.folder, setting.upstream_port, "doorward-10", {"access": rule_lines(10)}) as few,
        doorward(
            setting.folder, setting.upstream_port, "doorward-10000", {"access": rule_lines(10_000)}
        ) as many,
    ):
        scripts = []
        for number, subject in enumerate((few, many)):
            script = setting.folder / f"paths-{number}.lua"
            scripts.append(write_path_script(script, browser(subject, setting, "/")))
            ask(subject, browser(subject, setting, "/w/x"))
        ten, thousands = interleaved(
            lambda: measure(few, scripts[0], seconds=setting.seconds),
            lambda: measure(many, scripts[1], seconds=setting.seconds),
        )
    return [flat("10,000 rules instead of 10, random distinct paths", ten, thousands)]


def sessions(setting: Setting) -> list[Row]:
    """Compare 100,000 sessions going round with one, with ten, and with a memory too small for them.

    Where sessions go round, each request of a connection is another person's, so that the connection's fields
    are read anew each time. What that costs is in the first row; the second shows what the number costs.
    """
    from bench.scripts import write_cookie_script

    folder, upstream_port, seconds = setting.folder, setting.upstream_port, setting.seconds
    with (
        doorward(folder, upstream_port, "doorward-sessions", {"limits": "{session_memory: 1GiB}"}) as large,
        doorward(folder, upstream_port, "doorward-small", {"limits": "{session_memory: 8MiB}"}) as small,
    ):

        def script(subject: Subject, cookies: Sequence[str]) -> Path:
            host = f"localhost:{subject.port}"
            for cookie in (cookies[0], cookies[-1]):
                ask(subject, build_request(host, "/", cookie))
            path = folder / f"cookies-{subject.port}-{len(cookies)}.lua"
            return write_cookie_script(path, build_request(host, "/", ""), cookies)

        def cookies_for(subject: Subject) -> list[str]:
            yaml = doorward_yaml(subject.port, upstream_port, {})
            return cookie_headers(yaml, folder / "bench.yaml", _SESSIONS)

        cookies = cookies_for(large)
        single, ten, many = (script(large, cookies[:count]) for count in (1, 10, _SESSIONS))
        too_many = script(small, cookies_for(small))
        opened = 0
        while opened < 1.2 * _SESSIONS:  # a run begins where it likes, so some would be left out
            opened += measure(large, many, seconds=40).requests
        one, few, hits, misses = interleaved(
            lambda: measure(large, single, seconds=seconds),
            lambda: measure(large, ten, seconds=seconds),
            lambda: measure(large, many, seconds=seconds),
            lambda: measure(small, too_many, seconds=seconds),
        )
        memory = resident_bytes(large.pids) / MIB
    known = flat("100,000 sessions going round instead of 1", one, hits)
    known = replace(known, details=f"{known.details}; RSS then {memory:.0f} MiB")
    number = flat("100,000 sessions going round instead of 10 going round", few, hits)
    missed = flat("the same 100,000 in a memory of 8 MiB, each opened anew, instead of 1", one, misses, None)
    return [known, number, missed]
