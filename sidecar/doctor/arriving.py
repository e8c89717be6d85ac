"""What reaches the application with a session, seen in a page of its own that shows the fields it got.

A probe sends a field with a value that nobody else has, and looks for the value among what arrived. A field
is *in use* when it arrives without being sent: that one the application believes, so a stranger's value in it
is a hole. A stranger's value in another identity header is none until an application believes that one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from sidecar.core.hygiene import IDENTITY_NAMES, fold
from sidecar.doctor.echo import Echo, read_echo
from sidecar.doctor.findings import Finding, Verdict
from sidecar.doctor.judging import came_words
from sidecar.doctor.probes import PAGE, SPELLINGS, UPGRADE_H2C, identity_names, spelled
from sidecar.doctor.wire import Answer, Ingress, NoAnswerError, NotExaminedError, Request

__all__ = ["arrivals"]

_PASSED: Final = range(200, 300)
_CLIENT_ERRORS: Final = range(400, 500)
_SWITCHING: Final = 101
_SHOWN: Final = 4
_OWN: Final = "X-Doctor-Probe"
_VALUE: Final = "doorwarddoctor"
_ADDRESS: Final = "192.0.2.77"  # RFC 5737: nobody's
_ALWAYS_BELIEVED: Final = ("X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups")
_REROUTING: Final = (
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Forwarded-Uri",
    "X-HTTP-Method-Override",
    "X-Method-Override",
)
_PLACE: Final = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
_EXACT: Final = {name for name in IDENTITY_NAMES if not name.endswith("-")} | {"authorization"}
_FAMILIES: Final = tuple(name for name in IDENTITY_NAMES if name.endswith("-") and name != "x-forwarded-")
_FORWARDED_IDENTITY: Final = tuple(
    f"x-forwarded-{member}" for member in ("user", "email", "groups", "preferred-username", "access-token")
)

type Judged = tuple[str, Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """The page through which the application is seen, and what it shows as it is."""

    ingress: Ingress
    request: Request
    plain: Echo

    @property
    def in_use(self) -> dict[str, list[str]]:
        """Return the identity headers that the application gets, with their values."""
        return {name: self.plain.values(name) for name, _ in self.plain.pairs if _tells_identity(name)}

    async def send(self, *headers: tuple[str, str]) -> tuple[Answer, Echo]:
        """Ask for the page with further fields; status 0 stands for no answer."""
        try:
            answer = await self.ingress.send(self.request.adding(*headers))
        except NoAnswerError:
            answer = Answer(status=0)
        return answer, read_echo(answer.body if answer.status in _PASSED else b"")


def _tells_identity(name: str) -> bool:
    folded = fold(name.encode("latin-1", "replace")).decode("latin-1").removeprefix("http-")
    return folded in _EXACT or folded.startswith((*_FAMILIES, *_FORWARDED_IDENTITY))


async def arrivals(ingress: Ingress, path: str | None, cookie: str | None) -> AsyncIterator[Finding]:
    """Yield what is found with a session. Raises NotExaminedError for a cookie that opens none."""
    if path is None:
        came = "not seen; --echo (a page that shows its request's headers) and --cookie let the doctor look"
        yield _finding("identity", "what reaches the application", "", came, Verdict.UNKNOWN)
        return
    window, shown = await _open_window(ingress, path, cookie)
    if window is None:
        yield shown
        return
    yield shown
    if cookie is not None:
        yield _identity_arrives(window)
    for probe in (_spellings, _place, _rerouting, _nominated, _h2c):
        async for finding in probe(window):
            yield finding


async def _open_window(ingress: Ingress, path: str, cookie: str | None) -> tuple[_Window | None, Finding]:
    headers = PAGE if cookie is None else (*PAGE, ("Cookie", cookie))
    request = Request(target=path, headers=headers)
    sent = f"GET {path}"
    try:
        answer = await ingress.send(request.adding((_OWN, _VALUE)))
    except NoAnswerError as error:
        raise NotExaminedError(f"{ingress.origin}{path}: {error}") from error
    if answer.status not in _PASSED:
        if cookie is not None:
            raise NotExaminedError(
                f"{ingress.origin}{path}: the cookie opens nothing there: {came_words(answer)}"
            )
        came = f"{came_words(answer)}: closed; --cookie lets the doctor in"
        return None, _finding("identity", "the page that shows headers", sent, came, Verdict.UNKNOWN)
    echo = read_echo(answer.body)
    if not echo.names_of(_VALUE):
        came = f"{answer.status}: it does not show {_OWN}, so nothing can be seen there"
        return None, _finding("identity", "the page that shows headers", sent, came, Verdict.UNKNOWN)
    found = _finding("identity", "the page that shows headers", sent, f"{answer.status}: it does", Verdict.OK)
    return _Window(ingress=ingress, request=request, plain=echo), found


def _identity_arrives(window: _Window) -> Finding:
    names = sorted(name for name, values in window.in_use.items() if any(values))
    if not names:
        came = "the application is told nothing of who it is"
        return _finding("identity", "the identity with a session", "", came, Verdict.UNKNOWN)
    return _finding("identity", "the identity with a session", "", f"in {', '.join(names)}", Verdict.OK)


async def _spellings(window: _Window) -> AsyncIterator[Finding]:
    """Send every identity header in one spelling, each with a value of its own."""
    wanted = list(dict.fromkeys([*identity_names(), *window.in_use]))
    for spelling, signs in SPELLINGS.items():
        names = [spelled(name, signs) for name in wanted if signs == "-" or "-" in name]
        told = {f"{_VALUE}{number:03}": name for number, name in enumerate(names)}
        answer, echo = await window.send(*((name, value) for value, name in told.items()))
        came, verdict = _not_taken(answer) or _judge_arrived(list(told), window, echo)
        sent = f"{next(iter(told.values()))} and {len(told) - 1} more"
        yield _finding("identity", f"identity headers {spelling}", sent, came, verdict)


def _judge_arrived(values: list[str], window: _Window, echo: Echo) -> Judged:
    arrived = sorted({name for value in values for name in echo.names_of(value)})
    believed = {_folded(name) for name in (*_ALWAYS_BELIEVED, *window.in_use)}
    if holes := [name for name in arrived if _folded(name) in believed]:
        return f"arrive with the client's value: {', '.join(holes)}", Verdict.OPEN
    if missing := [name for name, known in window.in_use.items() if echo.values(name) != known]:
        return f"changed or gone: {', '.join(missing)}", Verdict.OPEN
    if arrived:
        more = f" and {len(arrived) - _SHOWN} more" if len(arrived) > _SHOWN else ""
        told = f"{', '.join(arrived[:_SHOWN])}{more}"
        return f"arrive: {told}; fine unless the application believes them", Verdict.UNKNOWN
    return "none arrives", Verdict.OK


async def _place(window: _Window) -> AsyncIterator[Finding]:
    """Send a made-up address and host, which the ingress must replace or put its own word behind."""
    answer, echo = await window.send(*((name, _ADDRESS) for name in _PLACE))
    # The last address is that of who spoke to the ingress; only what stands alone is believed by everybody.
    kept = [name for name in _PLACE if _ADDRESS in echo.values(name)]
    came, verdict = _not_taken(answer) or (
        (f"arrive as they were: {', '.join(kept)}", Verdict.OPEN) if kept else ("replaced", Verdict.OK)
    )
    yield _finding("client", "a made-up client", ", ".join(_PLACE), came, verdict)


async def _rerouting(window: _Window) -> AsyncIterator[Finding]:
    """Send what some applications take for the request itself; with values that change nothing."""
    told = tuple((name, "HEAD" if "Method" in name else f"/{_VALUE}") for name in _REROUTING)
    answer, echo = await window.send(*told)
    arrived = [name for name, value in told if value in echo.values(name)]
    came, verdict = _not_taken(answer) or ("none arrives", Verdict.OK)
    if arrived:
        came = f"arrive: {', '.join(arrived)}; fine unless something believes them"
        verdict = Verdict.UNKNOWN
    yield _finding("rerouting", "another request behind the gate", ", ".join(_REROUTING), came, verdict)


async def _nominated(window: _Window) -> AsyncIterator[Finding]:
    """Name the verified headers in Connection, with which one server tells the next to drop them (S45)."""
    names = sorted(window.in_use) or list(_ALWAYS_BELIEVED)
    field = f"close, {', '.join(names)}"
    answer, echo = await window.send(("Connection", field))
    options = ",".join(echo.values("Connection")).lower()
    if refused := _not_taken(answer):
        came, verdict = refused
    elif gone := [name for name, values in window.in_use.items() if echo.values(name) != values]:
        came, verdict = f"gone: {', '.join(gone)}", Verdict.OPEN
    elif any(name.lower() in options for name in names):
        came, verdict = "Connection arrives as it was sent: the next server drops them", Verdict.OPEN
    else:
        came, verdict = "all there", Verdict.OK
    yield _finding("connection", "verified headers taken away", f"Connection: {field}", came, verdict)


async def _h2c(window: _Window) -> AsyncIterator[Finding]:
    """Ask for HTTP/2 on this connection: whoever grants it has a tunnel past every decision."""
    answer, echo = await window.send(*UPGRADE_H2C)
    if answer.status == _SWITCHING:
        came, verdict = "101: a tunnel past the gate", Verdict.OPEN
    elif any("h2c" in value.lower() for value in echo.values("Upgrade")):
        came = "arrives: an application that speaks it opens a tunnel past the gate"
        verdict = Verdict.OPEN
    else:
        came, verdict = _not_taken(answer) or ("does not arrive", Verdict.OK)
    yield _finding("upgrade", "HTTP/2 in clear, seen by the application", "Upgrade: h2c", came, verdict)


def _not_taken(answer: Answer) -> Judged | None:
    """Judge an answer without a page: a refusal of what is special in the request is fine."""
    if answer.status in _PASSED:
        return None
    if answer.status in _CLIENT_ERRORS:
        return f"{came_words(answer)}: not taken", Verdict.OK
    return (
        f"{came_words(answer)}: another answer than without" if answer.status else "no answer",
        Verdict.UNKNOWN,
    )


def _folded(name: str) -> bytes:
    return fold(name.encode("latin-1", "replace")).removeprefix(b"http-")


def _finding(group: str, probe: str, sent: str, came: str, verdict: Verdict) -> Finding:
    return Finding(group=group, probe=probe, sent=sent, came=came, verdict=verdict)
