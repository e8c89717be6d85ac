"""What an answer to a probe means. Ends in "unknown" wherever an answer could be somebody else's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from sidecar.doctor.findings import Verdict
from sidecar.doctor.probes import EVIL
from sidecar.doctor.wire import Answer

__all__ = ["Gate", "came_words", "is_doorwards", "judge_endpoint"]

type Judged = tuple[Verdict, str]

_MARK: Final = "doorward-intercepted"
_SWITCHING: Final = 101
_PASSED: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_CLIENT_ERRORS: Final = range(400, 500)
# The ingress's own word on a request that it does not take: no application answers so to a plain GET.
_NOT_TAKEN: Final = frozenset({400, 405, 411, 413, 414, 421, 426, 431, 501, 505})
_ASKS_FOR_LOGIN: Final = ("login_required", "session_expired", "session_revoked", "allowed")


def is_doorwards(answer: Answer) -> bool:
    """Tell whether an answer says that it is Doorward's own."""
    return bool(answer.value(_MARK))


def came_words(answer: Answer) -> str:
    """Say what came back, in a few words."""
    location = answer.value("location").partition("?")[0]
    extra = answer.value(_MARK) or (f"to {location}" if location else "")
    return f"{answer.status} {extra}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """How Doorward refuses a page and a script here; probes must get no less.

    `path` is the protected path, `prefix` that of our endpoints.
    """

    page: Answer
    script: Answer
    path: str
    prefix: str

    @property
    def is_open(self) -> bool:
        """Tell whether somebody without a session gets through as it is."""
        return any(answer.status in _PASSED for answer in (self.page, self.script))

    @property
    def is_doorwards(self) -> bool:
        """Tell whether it is Doorward that refuses."""
        return is_doorwards(self.script) or is_doorwards(self.page) or self.leads_to_login(self.page)

    def leads_to_login(self, answer: Answer) -> bool:
        """Tell whether an answer sends the browser to sign in: with us, or at once with the provider."""
        location = urlsplit(answer.value("location"))
        if answer.status not in _REDIRECTS:
            return False
        if location.path in {f"{self.prefix}/start", f"{self.prefix}/sign_in"}:
            return True
        back = parse_qs(location.query).get("redirect_uri", [""])[0]
        return urlsplit(back).path.startswith(f"{self.prefix}/callback")

    def judge(self, answer: Answer) -> Judged:
        """Judge the answer to a request without a session that must be refused."""
        status = answer.status
        if EVIL in unquote(answer.value("location")):
            return Verdict.OPEN, "the redirect leads to a host that the request made up"
        if status == _SWITCHING:
            return Verdict.OPEN, "the connection was handed over"
        if is_doorwards(answer) or self.leads_to_login(answer):
            return Verdict.OK, "refused"
        if status in _PASSED:
            return Verdict.OPEN, "passed without a session"
        if status in _NOT_TAKEN:
            return Verdict.OK, "not taken by the ingress"
        return self._judge_stranger(answer)

    def _judge_stranger(self, answer: Answer) -> Judged:
        """Judge a refusal that does not say who refuses."""
        if answer.status in _REDIRECTS:
            if urlsplit(answer.value("location")).path == self.path:
                return Verdict.OK, "sent to the plain path"
            return Verdict.UNKNOWN, "a redirect that is not Doorward's"
        if answer.status in _CLIENT_ERRORS:
            if answer.status == self.script.status and not is_doorwards(self.script):
                return Verdict.OK, "refused"
            return Verdict.UNKNOWN, "refused, but not by Doorward: by the application?"
        return Verdict.UNKNOWN, "an error, which may come from behind the gate"


def judge_endpoint(gate: Gate, answer: Answer) -> Judged:
    """Judge the answer of the endpoint that only the ingress may ask."""
    if answer.status in _PASSED:
        return Verdict.OPEN, "answers as it answers the ingress"
    is_asked = answer.value(_MARK).startswith(_ASKS_FOR_LOGIN) or gate.leads_to_login(answer)
    if is_asked:
        return Verdict.OPEN, "answers as it answers the ingress"
    if answer.status in _CLIENT_ERRORS:
        return Verdict.OK, "out of reach"
    return Verdict.UNKNOWN, "neither refused nor answered"
