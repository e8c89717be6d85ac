"""The answer to an ingress that asks about a request of somebody else.

The original request is judged as if it had come to us: by its site, in all readings of its path, with its
session, by the code that judges a request which passes through (`core.visit`). What differs is how the
verdict is told: as 200 with the identity headers for the ingress to copy, as a status that it hands to the
browser. Nothing is ever guessed: what can't be decided is refused, and the access line says why.

A session that is asked about again under a rule finds its answer prepared in its cache entry.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final, override

from sidecar.core import refusals
from sidecar.core.answer import INTERCEPTED
from sidecar.core.decision import Flow, Forward, Note, Respond
from sidecar.core.entrance import start_location
from sidecar.core.errors import BadRequest
from sidecar.core.fields import Fields
from sidecar.core.forwardauth.asks import Ask, detect
from sidecar.core.forwardauth.dialects import COMPAT, COMPAT_AT_ROOT
from sidecar.core.forwardauth.original import read_names, read_original
from sidecar.core.headers import auth_response_headers
from sidecar.core.hosts import parse_authority
from sidecar.core.http import NO_STORE, RECURS, RequestHead, Response, header_values
from sidecar.core.navigation import REFUSED_METHODS, SAFE_METHODS, is_navigation, is_same_origin
from sidecar.core.plan import PreparedAnswer
from sidecar.core.visit import Visit, with_cookies

if TYPE_CHECKING:
    from sidecar.core.decision import Decision, Steps
    from sidecar.core.flows.call import Call
    from sidecar.core.forwardauth.dialects import Dialect
    from sidecar.core.forwardauth.original import Original
    from sidecar.core.http import HeaderPair
    from sidecar.core.plan import Plan, SitePlan, Way
    from sidecar.core.rules import Rule
    from sidecar.core.runtime import Runtime, Site
    from sidecar.core.session import Session
    from sidecar.core.sessioncache import CachedSession
    from sidecar.core.state import State
    from sidecar.core.visit import SetCookies

__all__ = ["decide"]

_ASKED: Final = "asked"  # in a head's memo
_AT_ROOT: Final = Ask(COMPAT_AT_ROOT)
_MAX_NOTED: Final = 200
_OK: Final = 200
_ACCEPTED: Final = 202  # what oauth2-proxy answers
_FOUND: Final = 302
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_CLIENT_ERRORS: Final = range(400, 500)
_ROOT: Final = b"/"


def decide(runtime: Runtime, state: State, head: RequestHead) -> Decision | None:
    """Answer a request that asks about another one; None when `head` is no such request."""
    plan = state.plans.of(runtime)
    memo = head.memo
    question = memo.get(_ASKED) if memo else None
    if isinstance(question, _Question) and question.is_of(plan, head):
        return question.answer(state, head)
    if head.target.startswith(plan.asks.starts) or _asks_at_root(plan, head):
        return _read_and_answer(plan, state, head)
    return None


def _read_and_answer(plan: Plan, state: State, head: RequestHead) -> Decision | None:
    dialect: Dialect | None = None
    try:
        found = plan.asks.find(head.target) if head.target != _ROOT else (_AT_ROOT, b"")
        if found is None:
            return None
        ask, rest = found
        if plan.callers is None or (why := plan.callers.why_not(head)) is not None:
            return _refuse(None, "caller_refused", _FORBIDDEN, head, why)
        named = read_names(head.headers)
        dialect = ask.dialect or detect(named)
        original = read_original(dialect, head, named, rest)
        if dialect is COMPAT:
            _check_hosts(plan, named, original)
        site = plan.hosts.exact.get(original.host) or plan.hosts.find(original.host)
        if site is None:
            detail = original.host.decode("latin-1")
            return _told(dialect, _refuse(None, "unknown_host", _FORBIDDEN, head, detail))
        question = _Question(plan, site, ask, dialect, original, head)
        if head.memo is not None:
            head.memo[_ASKED] = question
            head.memo[RECURS] = True  # an ingress sends everybody's fields on all of its connections
        return question.answer(state, head)
    except BadRequest as error:
        return _told(dialect, _refuse(None, error.code, 400, head, error.detail))


def _asks_at_root(plan: Plan, head: RequestHead) -> bool:
    """Tell whether this is oauth2-proxy's second recipe for Traefik, which asks at the root."""
    if plan.runtime.compat is None or head.target != _ROOT:
        return False
    hosts = header_values(head.headers, b"host")
    try:
        site = plan.hosts.find(hosts[0]) if len(hosts) == 1 else None
    except BadRequest:
        return False
    has_application = site is not None and bool(site.site.routes)
    return not has_application and bool(header_values(head.headers, b"x-forwarded-uri"))


def _check_hosts(plan: Plan, named: dict[bytes, list[bytes]], original: Original) -> None:
    """Refuse an X-Forwarded-Host that changes which rules count.

    Of oauth2-proxy's recipes nginx's tells the host in Host and lets a client's X-Forwarded-Host through,
    Traefik's has it there and its own word for us in Host. Where the two lead to other rules nobody can say
    which: a Host that we don't know may be that word, or a client's at a server that takes every name.
    """
    hosts = named.get(b"host", [])
    own = plan.hosts.find(hosts[0]) if len(hosts) == 1 else None
    if len(hosts) == 1 and parse_authority(hosts[0]) == parse_authority(original.host):
        return
    asked = plan.hosts.find(original.host)
    is_one = own is asked if own is not None else len(plan.sites) == 1
    if not is_one or (asked is not None and asked.site.rules.has_hosts):
        raise BadRequest(
            "invalid_forwarded",
            "X-Forwarded-Host names another host than Host, and other rules; ask at auth/<dialect>",
        )


class _Question:
    """One original request, as far as it follows from the bytes that asked; who it is changes with time."""

    __slots__ = (
        "_asked_target",
        "_method",
        "_plan",
        "dialect",
        "fields",
        "is_plain",
        "is_refused",
        "key",
        "method",
        "original",
        "rule",
        "rules",
        "way",
    )

    def __init__(  # noqa: PLR0917  made in one place only
        self, plan: Plan, site: SitePlan, ask: Ask, dialect: Dialect, original: Original, head: RequestHead
    ) -> None:
        """Look up what the request means. Raises BadRequest."""
        self._plan = plan
        self._asked_target = head.target
        self._method = head.method
        self.dialect = dialect
        self.original = original
        forwarded = site.forwarded.behind(head.peer, original.chain)
        kept = [(b"Host", original.host)]
        self.fields = fields = Fields(site, forwarded, kept, original.cookie, original.is_handshake)
        fields.choose(original.method)
        self.way: Way = fields.ways[original.target]
        if self.way.parsed.authority is not None:
            raise BadRequest("invalid_request", "the original target is a URL")
        self.rules = ask.narrowed(self.way.rules)
        self.rule: Rule | None = self.rules[0] if len(self.rules) == 1 else None
        self.key = (dialect.name, id(self.rule))
        # Where the method is not told, an Origin is the sign of one that changes something (Fetch §3.2): such
        # a request counts as a POST in what depends on the method besides the rules.
        self.method = original.method or (b"POST" if original.has_origin else b"GET")
        self.is_refused = original.method in REFUSED_METHODS
        is_own = self.method in SAFE_METHODS or is_same_origin(site.site, self._inner(head))
        is_ordinary = not original.is_handshake and not self.is_refused
        self.is_plain = is_own and is_ordinary and self.way.endpoint is None

    def is_of(self, plan: Plan, head: RequestHead) -> bool:
        """Tell whether a head with the very same fields asks the same."""
        return self._plan is plan and self._asked_target == head.target and self._method == head.method

    def answer(self, state: State, head: RequestHead) -> Decision:
        """Decide now, and tell it in the dialect."""
        fields = self.fields
        now = state.surroundings.clock()
        head.client_ip = fields.forwarded.client_ip
        rule = self.rule
        if rule is not None and self.is_plain and (entry := fields.session_entry(state, now)) is not None:
            prepared = entry.grants.get(self.key)
            if (
                isinstance(prepared, PreparedAnswer)
                and prepared.rule is rule
                and prepared.forwarded is fields.forwarded
                and now < prepared.until
            ):
                return prepared.respond
        try:
            decision = self._decide(state, head, now)
        except BadRequest as error:
            decision = _refuse(fields.site.site, error.code, 400, head, error.detail)
        return fields.site.marked(self._tell(decision, head))

    def _decide(self, state: State, head: RequestHead, now: float) -> Decision:
        site = self.fields.site
        if self.is_refused:
            return _refuse(site.site, "method_refused", _FORBIDDEN, head, None)
        if self.way.endpoint is not None:
            return _refuse(site.site, "own_endpoint", _FORBIDDEN, head, f"route {site.prefix}/ to Doorward")
        return _AskedVisit(self, state, self._inner(head), now).admit(self.rules)

    def _inner(self, head: RequestHead) -> RequestHead:
        """Return the original request's head."""
        headers = self.original.own_headers(head.headers)
        target = self.original.target
        return RequestHead(self.method, target, headers, head.peer, head.request_id, head.is_tls)

    def _tell(self, decision: Decision, head: RequestHead) -> Decision:
        if isinstance(decision, Flow):
            return replace(decision, steps=self._told_steps(decision, head))
        return self._tell_result(decision)

    def _told_steps(self, flow: Flow, head: RequestHead) -> Steps[Respond | Forward]:
        try:
            result = yield from flow.steps
        except BadRequest as error:
            result = _refuse(self.fields.site.site, error.code, 400, head, error.detail)
        return self._tell_result(result)

    def _tell_result(self, result: Respond | Forward) -> Respond:
        if isinstance(result, Forward):  # a visit of this kind makes none
            raise TypeError("a request that is asked about can't be passed on")
        return _told(self.dialect, self._with_original(result))

    def _with_original(self, respond: Respond) -> Respond:
        """Note in a refusal what was asked about: the access line has the asking request's target."""
        note, original = respond.note, self.original
        if note.reason.startswith("allowed"):
            return respond
        path = original.target.partition(b"?")[0][:_MAX_NOTED]
        told = b"%b %b%b" % (original.method or b"?", original.host, path)
        detail = "asked about " + told.decode("latin-1")
        if note.detail is not None:
            detail = f"{note.detail}; {detail}"
        return Respond(respond.response, replace(note, detail=detail))


class _AskedVisit(Visit):
    """A visit whose verdict is told to an ingress."""

    __slots__ = ("question",)

    def __init__(self, question: _Question, state: State, inner: RequestHead, now: float) -> None:
        """Visit with the original request's head."""
        fields = question.fields
        super().__init__(fields, fields.site.runtime, state, inner, question.way.parsed, now)
        self.question = question

    @override
    def _handshake_key(self) -> bytes | None:
        return b"" if self.question.original.is_handshake else None

    @override
    def _pass_anyone(self, note: Note, key: bytes | None) -> Respond:
        return Respond(Response(status=self._yes(), headers=(NO_STORE, *self.site.absent)), note)

    @override
    def _pass_user(
        self,
        rule: Rule,
        session: Session,
        set_cookies: SetCookies,
        key: bytes | None,
        entry: CachedSession | None,
    ) -> Respond:
        site = self.site
        told = auth_response_headers(site.site.headers, session)
        until = math.inf
        if site.signer is not None:
            edits, until = site.signer.edits(session, self.now)
            told = (*told, *edits.pairs)
        names = {name for name, _ in told}
        absent = (pair for pair in site.absent if pair[0] not in names)
        response = Response(status=self._yes(), headers=(NO_STORE, *told, *absent))
        respond = Respond(response, self._allowed_note(rule, session))
        if set_cookies:
            return with_cookies(respond, set_cookies)
        if entry is not None:
            prepared = PreparedAnswer(rule, self.fields.forwarded, respond, until)
            if site.banner:
                prepared.respond = site.with_banner(respond)
            entry.keep_grant((self.question.dialect.name, id(rule)), prepared)
        return respond

    @override
    def _ask_to_sign_in(self, call: Call, reason: str) -> Decision:
        """Lead a navigation to our start endpoint; all else is refused as anywhere."""
        form = self.question.dialect.to_sign_in
        if not is_navigation(call.head):
            return refusals.unauthenticated(call, reason)
        headers: list[HeaderPair] = [NO_STORE, (INTERCEPTED, reason.encode("ascii"))]
        if form != "unauthorized":
            wanted = refusals.return_url(call)
            location = start_location(call.site, self.fields.host, wanted, cause="denied")
            headers.append((b"Location", location))
        if form != "redirect":
            headers.append(refusals.challenge(call.site))
        status = _FOUND if form == "redirect" else _UNAUTHORIZED
        note = Note(site=call.site.name, reason=reason)
        return Respond(Response(status=status, headers=tuple(headers)), note)

    def _yes(self) -> int:
        is_theirs = self.runtime.compat is not None and not self.question.dialect.wants_200
        return _ACCEPTED if is_theirs else _OK


def _refuse(site: Site | None, reason: str, status: int, head: RequestHead, detail: str | None) -> Respond:
    refusal = refusals.refuse(site, reason, status, head.request_id, head)
    return Respond(refusal.response, replace(refusal.note, detail=detail))


def _told(dialect: Dialect | None, respond: Respond) -> Respond:
    """Return an answer in the form that an ingress can use.

    Cookies are numbered in a yes alone. A refusal goes to the browser as it is, with its Set-Cookie; under
    any other name a script could read the session in it (S28).
    """
    response = respond.response
    status, headers = response.status, response.headers
    if status in _CLIENT_ERRORS and status != _UNAUTHORIZED:
        is_plain = status == _BAD_REQUEST and dialect is not None and not dialect.narrow_statuses
        status = _BAD_REQUEST if is_plain else _FORBIDDEN
    if dialect is not None and dialect.numbers_cookies and status in {_OK, _ACCEPTED}:
        cookies = (value for name, value in headers if name == b"Set-Cookie")
        numbered = enumerate(cookies, start=1)
        headers = (*headers, *((b"X-Doorward-Set-Cookie-%d" % index, value) for index, value in numbered))
    if status == response.status and headers is response.headers:
        return respond
    return Respond(replace(response, status=status, headers=headers), respond.note)
