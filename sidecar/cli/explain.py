"""`doorward explain`: what happens with a request, decided by the code that serves.

A request head and, with `--as`, the sealed cookie of a session that nobody logged in to go into
`core.gate.decide`; what is printed is its answer. Nothing is sent anywhere: a flow that would call the
provider stops before it. Where nothing goes through us, an ingress asks about the request.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import typer

from sidecar.cli.samples import build_session, cookie_pairs
from sidecar.cli.words import condition_words, rule_words
from sidecar.config import load_text, read_config
from sidecar.core import gate
from sidecar.core.claims import build_identity
from sidecar.core.decision import Flow, Forward, Respond
from sidecar.core.errors import BadRequest, ConfigurationError, InvalidToken, UnreadableConfiguration
from sidecar.core.http import RequestHead
from sidecar.core.paths import parse_target
from sidecar.core.reasons import REASONS
from sidecar.core.revocation import RevocationList
from sidecar.core.runtime import ForwardAuthPolicy
from sidecar.core.sessioncache import SessionCache
from sidecar.core.state import State, Surroundings

if TYPE_CHECKING:
    from sidecar.core.decision import Note
    from sidecar.core.http import HeaderPair
    from sidecar.core.plan import SitePlan
    from sidecar.core.rules import Rule
    from sidecar.core.runtime import Runtime, Site

__all__ = ["Question", "explain"]

# What a browser sends when somebody follows a link, and what a page's own script or form sends.
_NAVIGATION: Final = (
    ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Site", "none"),
)
_REDACTED: Final = "(signed when it is sent)"


class _WrongQuestionError(Exception):
    """The request can't be explained as it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request, and who makes it: `claims` names a file with a JSON object, None is nobody."""

    method: str
    url: str
    claims: Path | None = None
    provider: str | None = None
    peer: str = "192.0.2.1"
    headers: tuple[str, ...] = ()


def explain(
    config: Path, environment: Mapping[str, str], question: Question, output: Literal["text", "json"]
) -> int:
    """Print what happens with the request. Returns the exit code: 0 whatever the decision is."""
    try:
        runtime = load_text(read_config(config), config, environment)
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        return 2 if isinstance(error, UnreadableConfiguration) else 1
    try:
        answer = _Answer(runtime, question).facts()
    except _WrongQuestionError as error:
        typer.echo(f"explain: {error}", err=True)
        return 2
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False) if output == "json" else _text(answer))
    return 0


class _Answer:
    """The finding for one question."""

    def __init__(self, runtime: Runtime, question: Question) -> None:
        self._runtime = runtime
        self._question = question
        self._state = State(
            surroundings=Surroundings(clock=time.time, entropy=os.urandom),
            sessions=SessionCache(),
            revocations=RevocationList(),
        )
        self._authority, self._target = _split(question.url, runtime)
        self._plan = self._find_plan()
        self._site = None if self._plan is None else self._plan.site

    def facts(self) -> dict[str, Any]:
        """Return what is to be told, in its order."""
        head = self._head()
        facts: dict[str, Any] = {"request": f"{self._question.method} {self._authority}{self._target}"}
        if self._site is not None:
            facts["site"] = self._site.name
        facts |= self._judged(head)
        return facts | self._decided(head)

    def _find_plan(self) -> SitePlan | None:
        try:
            return self._state.plans.of(self._runtime).hosts.find(self._authority.encode("ascii"))
        except (BadRequest, UnicodeEncodeError) as error:
            raise _WrongQuestionError(f"{self._authority!r} is no host") from error

    def _head(self) -> RequestHead:
        headers = [("Host", self._authority), *self._browser_headers()]
        for text in self._question.headers:
            name, colon, value = text.partition(":")
            if not colon or not name.strip():
                raise _WrongQuestionError(f"{text!r} is no header; write 'Name: value'")
            headers = [pair for pair in headers if pair[0].lower() != name.strip().lower()]
            headers.append((name.strip(), value.strip()))
        _check_peer(self._question.peer)
        cookies = self._cookies()
        if cookies:
            headers.append(("Cookie", cookies))
        try:
            encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
            method = self._question.method.upper().encode("ascii")
        except UnicodeEncodeError as error:
            raise _WrongQuestionError("method and headers are ASCII") from error
        return RequestHead(
            method,
            self._target.encode("ascii"),
            encoded,
            self._question.peer,
            "explain",
            is_tls=self._runtime.tls is not None,
        )

    def _browser_headers(self) -> tuple[tuple[str, str], ...]:
        """Return what a browser adds: a link followed for GET, else a page of the site itself."""
        if self._question.method.upper() in {"GET", "HEAD"} or self._site is None:
            return _NAVIGATION
        return (
            ("Accept", "*/*"),
            ("Origin", str(self._site.public_url)),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
            ("Sec-Fetch-Site", "same-origin"),
        )

    # --- who asks ---

    def _cookies(self) -> str:
        """Return the Cookie field of a session with the claims, sealed as after a login."""
        if self._question.claims is None or self._site is None:
            return ""
        site, provider = self._site, self._provider(self._site)
        claims = _read_claims(self._question.claims)
        try:
            identity = build_identity(claims, site.providers[provider], site.session.kept_claims)
            session = build_session(site, provider, identity, self._state.surroundings.clock())
            pairs = cookie_pairs(site, session)
        except InvalidToken as error:
            raise _WrongQuestionError(f"with these claims nobody gets in: {error}") from error
        return b"; ".join(pairs).decode("ascii")

    def _provider(self, site: Site) -> str:
        wanted = self._question.provider
        if wanted is None and len(site.providers) == 1:
            return next(iter(site.providers))
        if wanted in site.providers:
            return str(wanted)
        known = ", ".join(site.providers)
        raise _WrongQuestionError(
            f"the claims are from one of the providers {known}; name it with --provider"
        )

    # --- what follows ---

    def _judged(self, head: RequestHead) -> dict[str, Any]:
        """Return the path's readings and the rules that they fall under."""
        if self._plan is None:
            return {}
        try:
            parsed = parse_target(head.target)
            facts: dict[str, Any] = {"path": parsed.canonical, "readings": list(parsed.readings)}
            if self._plan.endpoint(parsed.readings) is not None:
                return {**facts, "rules": ["none: an endpoint of our own"]}
            rules = self._plan.site.rules.rules_for(self._authority, parsed.readings, head.method)
        except BadRequest as error:
            return {"path": error.detail or error.code}
        return {**facts, "rules": [_rule_line(rule) for rule in rules]}

    def _decided(self, head: RequestHead) -> dict[str, Any]:
        if self._is_asked_about(head):
            return self._told(head)
        decision = gate.decide(self._runtime, self._state, head)
        match decision:
            case Forward():
                return {
                    "decision": f"forward to {decision.upstream.name}",
                    **_note(decision.note),
                    "headers": self._shown(pair for edits in decision.edits for pair in edits.pairs),
                }
            case Respond():
                return self._respond(decision)
            case Flow():
                return self._flow(decision)

    def _is_asked_about(self, head: RequestHead) -> bool:
        """Tell whether an ingress asks us about such a request, instead of sending it through us."""
        if self._runtime.forward_auth is None or self._plan is None or self._plan.site.routes:
            return False
        with contextlib.suppress(BadRequest):
            return self._plan.endpoint(parse_target(head.target).readings) is None
        return True

    def _told(self, head: RequestHead) -> dict[str, Any]:
        """Return what an ingress is told about the request; who may ask is another question."""
        prefix = "/oauth2" if self._site is None else self._site.prefix
        asking = RequestHead(
            head.method,
            f"{prefix}/auth/envoy".encode("ascii") + head.target,
            [*head.headers, (b"X-Forwarded-For", head.peer.encode("ascii"))],
            "unix",
            head.request_id,
        )
        runtime = replace(self._runtime, forward_auth=ForwardAuthPolicy(trusts_unix=True))
        decision = gate.decide(runtime, self._state, asking)
        facts = self._flow(decision) if isinstance(decision, Flow) else {}
        if isinstance(decision, Respond):
            facts = self._respond(decision)
            facts["decision"] = f"tell the ingress {decision.response.status}"
        return facts

    def _shown(self, pairs: Iterable[HeaderPair]) -> dict[str, str]:
        """Return header fields without what would be as good as a login."""
        assertion = None if self._site is None else self._site.headers.assertion
        signed = "" if assertion is None else assertion.header.lower()
        texts = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)
        return {
            name: _REDACTED if name.lower() == signed else value
            for name, value in texts
            if name.lower() != "set-cookie"
        }

    def _flow(self, flow: Flow) -> dict[str, Any]:
        """Say where a flow begins: what it would ask of a provider is not asked."""
        try:
            effect = next(flow.steps)
        except StopIteration as ended:
            return self._respond(ended.value) if isinstance(ended.value, Respond) else {"decision": flow.name}
        flow.steps.close()
        if flow.name == "login":
            return {
                "decision": "send the browser to sign in",
                "reason": "login_required",
                "because": REASONS["login_required"],
            }
        return {"decision": f"begin {flow.name}, first {type(effect).__name__}"}

    def _respond(self, respond: Respond) -> dict[str, Any]:
        answer = respond.response
        return {
            "decision": f"answer {answer.status}",
            **_note(respond.note),
            "headers": self._shown(answer.headers),
        }


def _split(url: str, runtime: Runtime) -> tuple[str, str]:
    """Return authority and request target, as a browser would send them."""
    text = quote(url.partition("#")[0], safe="".join(map(chr, range(0x21, 0x7F))))
    scheme, separator, rest = text.partition("://")
    if separator and scheme in {"http", "https"}:
        authority = rest.partition("/")[0].partition("?")[0]
        target = rest[len(authority) :]
        return authority, target if target.startswith("/") else f"/{target}"
    if text.startswith("/") and len(runtime.sites) == 1:
        return runtime.sites[0].public_url.authority, text
    if text.startswith("/"):
        raise _WrongQuestionError("there are several sites; write the whole URL")
    raise _WrongQuestionError(f"{url!r} is neither a URL nor a path; write https://app.example.com/path")


def _check_peer(peer: str) -> None:
    if peer == "unix":
        return
    try:
        ip_address(peer)
    except ValueError as error:
        raise _WrongQuestionError(f"{peer!r} is no address; write 192.0.2.1, 2001:db8::1 or unix") from error


def _read_claims(file: Path) -> dict[str, Any]:
    try:
        claims = json.loads(file.read_bytes())
    except OSError as error:
        raise _WrongQuestionError(f"can't read {file}: {error.strerror}") from error
    except ValueError as error:
        raise _WrongQuestionError(f"{file} is not JSON: {error}") from error
    if not isinstance(claims, dict):
        raise _WrongQuestionError(
            f'{file} holds no JSON object; write {{"sub": "ann", "email": "ann@example.com"}}'
        )
    return claims


def _rule_line(rule: Rule | None) -> str:
    if rule is None:
        return "no rule matches: nobody"
    return f"{rule.name}: {rule_words(rule)}: {condition_words(rule.allow)}"


def _note(note: Note) -> dict[str, Any]:
    told = {"rule": note.rule, "user": note.user, "reason": note.reason, "because": REASONS[note.reason]}
    return {key: value for key, value in {**told, "detail": note.detail}.items() if value is not None}


def _text(facts: Mapping[str, Any]) -> str:
    return "\n".join(_lines(facts))


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    for label, value in facts.items():
        match value:
            case list():
                values = [str(item) for item in value]
            case dict():
                values = [f"{key}: {item}" for key, item in value.items()] or ["none"]
            case _:
                values = [str(value)]
        for number, text in enumerate(values):
            yield f"{'' if number else label:<10}{text}"
