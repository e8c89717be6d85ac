"""The order of an examination: how this gate refuses, what gets past it, what reaches the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from sidecar.core.errors import ConfigurationError
from sidecar.doctor.arriving import arrivals
from sidecar.doctor.findings import Finding, Verdict
from sidecar.doctor.judging import Gate, came_words, is_doorwards, judge_endpoint
from sidecar.doctor.mends import guess_ingress
from sidecar.doctor.probes import (
    HANDSHAKE,
    PAGE,
    SCRIPT,
    Surroundings,
    endpoint_probes,
    refusal_probes,
)
from sidecar.doctor.wire import Answer, Ingress, NoAnswerError, NotExaminedError, Request

__all__ = ["Examination", "Report", "examine"]

_TOTAL_SECONDS: Final = 120.0
_UNAUTHORIZED: Final = 401
_REDIRECTS: Final = range(300, 400)
_PASSED: Final = range(200, 300)
_GUESSED_DECOY: Final = "/public/doorward-doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is examined. `public_path` is open to anyone; `echo_path` shows the fields that it got.

    `cookie` is the value of a Cookie field with a session.
    """

    ingress: Ingress
    path: str = "/"
    public_path: str | None = None
    echo_path: str | None = None
    cookie: str | None = None
    prefix: str = "/oauth2"

    def __post_init__(self) -> None:
        """Refuse what can't be asked for. Raises ConfigurationError."""
        paths = {
            "--path": self.path,
            "--public-path": self.public_path,
            "--echo": self.echo_path,
            "--prefix": self.prefix,
        }
        for option, path in paths.items():
            if path is not None and not (path.startswith("/") and path.isascii() and path.isprintable()):
                raise ConfigurationError(f"{option} {path}: a path begins with / and is plain ASCII")
        if self.cookie is not None and self.ingress.scheme != "https" and not self.ingress.is_local:
            raise ConfigurationError("--cookie: a session does not go over http to another machine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found. `ingress` is which one it says it is, None when it does not say."""

    findings: tuple[Finding, ...]
    ingress: str | None

    @property
    def is_open(self) -> bool:
        """Tell whether anything got through."""
        return any(finding.verdict is Verdict.OPEN for finding in self.findings)


async def examine(examination: Examination) -> Report:
    """Send the probes and return what they found. Raises NotExaminedError."""
    findings: list[Finding] = []
    try:
        async with asyncio.timeout(_TOTAL_SECONDS):
            gate = await _find_gate(examination)
            async for finding in _findings(examination, gate):
                findings.append(finding)  # noqa: PERF401  what is there when time is up counts
    except TimeoutError as error:
        if not findings:
            raise NotExaminedError(f"{examination.ingress.origin} is too slow") from error
        findings.append(
            Finding(
                group="gate",
                probe="the rest",
                sent="",
                came=f"time is up after {_TOTAL_SECONDS:.0f} s",
                verdict=Verdict.UNKNOWN,
            )
        )
        return Report(findings=tuple(findings), ingress=None)
    return Report(findings=tuple(findings), ingress=guess_ingress(gate.script))


async def _find_gate(examination: Examination) -> Gate:
    """Learn how the protected path is refused, and by whom. Raises NotExaminedError."""
    ingress, path, prefix = examination.ingress, examination.path, examination.prefix
    try:
        page = await ingress.send(Request(target=path, headers=PAGE))
        script = await ingress.send(Request(target=path, headers=SCRIPT))
        gate = Gate(page=page, script=script, path=path.partition("?")[0], prefix=prefix)
        own = await ingress.send(Request(target=f"{prefix}/userinfo", headers=SCRIPT))
    except NoAnswerError as error:
        raise NotExaminedError(f"{ingress.origin}: {error}") from error
    if not gate.is_doorwards and not is_doorwards(own):
        raise NotExaminedError(
            f"{ingress.origin}: no Doorward behind it: neither {path} ({page.status}) nor {prefix}/userinfo"
            f" ({own.status}) is answered by one"
        )
    return gate


async def _findings(examination: Examination, gate: Gate) -> AsyncIterator[Finding]:
    for finding in _gate_findings(gate):
        yield finding
    async for finding in _more_of_the_gate(examination, gate):
        yield finding
    about = Surroundings(
        origin=examination.ingress.origin,
        authority=examination.ingress.authority,
        path=examination.path,
        decoy=examination.public_path or _GUESSED_DECOY,
        prefix=examination.prefix,
    )
    send = examination.ingress.send
    for probe in endpoint_probes(about):
        try:
            answer = await send(probe.request)
            verdict, words = judge_endpoint(gate, answer)
            came = f"{came_words(answer)}: {words}"
        except NoAnswerError as error:
            verdict, came = Verdict.OK, str(error)
        yield Finding(group=probe.group, probe=probe.name, sent=probe.sent, came=came, verdict=verdict)
    if gate.is_open:
        came = f"not asked: {examination.path} is open as it is; --path names one that is not"
        yield Finding(group="gate", probe="all tricks", sent="", came=came, verdict=Verdict.UNKNOWN)
    else:
        for probe in refusal_probes(about):
            yield await _judged(examination, gate, probe.group, probe.name, (probe.sent, probe.request))
    async for finding in arrivals(examination.ingress, examination.echo_path, examination.cookie):
        yield finding


def _gate_findings(gate: Gate) -> list[Finding]:
    """Judge the first two answers, which the examination began with."""
    found = []
    for name, sent, answer in (
        ("a page without a session", "as a navigation", gate.page),
        ("a script without a session", "as fetch()", gate.script),
    ):
        verdict, words = gate.judge(answer)
        group = "gate"
        if verdict is Verdict.OK and answer is gate.script and answer.status != _UNAUTHORIZED:
            verdict, words, group = Verdict.UNKNOWN, "scripts can't follow it; 401 would tell them", "refusal"
        if verdict is Verdict.OK and answer is gate.page and answer.status not in _REDIRECTS:
            verdict, words, group = Verdict.UNKNOWN, "nobody is sent to sign in", "refusal"
        came = f"{came_words(answer)}: {words}"
        found.append(
            Finding(group=group, probe=name, sent=f"GET {gate.path} {sent}", came=came, verdict=verdict)
        )
    return found


async def _more_of_the_gate(examination: Examination, gate: Gate) -> AsyncIterator[Finding]:
    path = examination.path
    for method in ("HEAD", "OPTIONS"):
        request = Request(method=method, target=path, headers=SCRIPT)
        name = f"{method} without a session"
        yield await _judged(examination, gate, "gate", name, (f"{method} {path}", request))
    name = "a WebSocket without a session"
    origin = ("Origin", examination.ingress.origin)
    request = Request(target=path, headers=(*HANDSHAKE, origin))
    yield await _judged(examination, gate, "websocket", name, (f"handshake at {path}", request))
    public = examination.public_path
    if public is not None:
        answer = await _answer(examination, Request(target=public, headers=SCRIPT))
        is_open = answer is not None and not is_doorwards(answer) and answer.status in _PASSED
        came = "no answer" if answer is None else came_words(answer)
        yield Finding(
            group="gate",
            probe="the open path",
            sent=f"GET {public}",
            came=came if is_open else f"{came}: not open, so tricks with it say little",
            verdict=Verdict.OK if is_open else Verdict.UNKNOWN,
        )


async def _answer(examination: Examination, request: Request) -> Answer | None:
    try:
        return await examination.ingress.send(request)
    except NoAnswerError:
        return None


async def _judged(
    examination: Examination, gate: Gate, group: str, name: str, asked: tuple[str, Request]
) -> Finding:
    """Send a request that must be refused, and judge the answer."""
    sent, request = asked
    try:
        answer = await examination.ingress.send(request)
    except NoAnswerError as error:
        return Finding(group=group, probe=name, sent=sent, came=str(error), verdict=Verdict.UNKNOWN)
    verdict, words = gate.judge(answer)
    return Finding(group=group, probe=name, sent=sent, came=f"{came_words(answer)}: {words}", verdict=verdict)
