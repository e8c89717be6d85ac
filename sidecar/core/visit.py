"""A request that is out of the ordinary: everything between the gate's hot path and a decision.

An unsafe request from another origin never acts with a session (S39). Under a rule that admits anyone it
passes without identity, as from somebody who is not signed in: a public form or a webhook has to work, and
the user's rights must not be used by whoever wrote the other page. Under any other rule it is refused. A
WebSocket handshake counts as unsafe: browsers let any page open one, with our cookie.

A refresh that is due comes before the verdict, because it may change what the user may do. The cookie's
renewal (its `seen_at` has grown old) goes with the answer of whatever comes next, a refusal included.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from sidecar.core import lifetime, refusals
from sidecar.core.cookies import parse_cookies
from sidecar.core.decision import Edits, Finish, Forward, Lease, Note, Respond
from sidecar.core.flows.call import Call
from sidecar.core.headers import identity_edits
from sidecar.core.http import single_header
from sidecar.core.navigation import SAFE_METHODS, is_preflight, is_same_origin, websocket_key
from sidecar.core.plan import Grant
from sidecar.core.policy import is_public
from sidecar.core.rules import judge
from sidecar.core.sessioncookie import SessionRead, read_session, renewed, set_session

if TYPE_CHECKING:
    from sidecar.core.cookies import CookiePair
    from sidecar.core.decision import Decision
    from sidecar.core.fields import Fields
    from sidecar.core.http import RequestHead
    from sidecar.core.paths import ParsedTarget
    from sidecar.core.plan import SitePlan
    from sidecar.core.rules import Rule
    from sidecar.core.runtime import Runtime
    from sidecar.core.session import Session
    from sidecar.core.sessioncache import CachedSession
    from sidecar.core.state import State

__all__ = ["SetCookies", "Visit", "with_cookies"]

_ABSENT: Final = SessionRead(reason="absent")
_ENDED: Final = {"expired": "session_expired", "revoked": "session_revoked"}
_IDENTITY: Final = "identity"

type Rules = tuple[Rule | None, ...]
type SetCookies = tuple[bytes, ...]


class Visit:
    """One request at one site, its fields cleaned and its target read.

    A plain slots class because one is made for each request that leaves the hot path.
    """

    __slots__ = ("fields", "head", "now", "parsed", "runtime", "site", "state")

    def __init__(  # noqa: PLR0917  made in one place only
        self,
        fields: Fields,
        runtime: Runtime,
        state: State,
        head: RequestHead,
        parsed: ParsedTarget,
        now: float,
    ) -> None:
        """Keep the parts."""
        self.fields = fields
        self.site = fields.site
        self.runtime = runtime
        self.state = state
        self.head = head
        self.parsed = parsed
        self.now = now

    def serve(self, endpoint: str) -> Decision:
        """Let an endpoint of ours answer."""
        from sidecar.core.flows import endpoints  # flows go on with this module's answers

        cookies = self._cookies()
        read = self._read(cookies)
        decision = endpoints.serve(self._call(cookies, read.session), endpoint)
        # It only shows a session; the others begin or end one, and know themselves which cookies to set.
        if endpoint != "userinfo" or read.session is None or not isinstance(decision, Respond):
            return decision
        if read.due == "renewal":
            return with_cookies(decision, self._renewed(read.session, cookies)[1])
        return decision

    def admit(self, rules: Rules) -> Decision:
        """Decide by the rules of all readings. Raises BadRequest("ambiguous_path") when they disagree."""
        if (passed := self._preflight()) is not None:
            return passed
        key = self._handshake_key()
        cookies = self._cookies()
        read = self._read(cookies)
        if read.session is None:
            return self._as_nobody(rules, cookies, read, key)
        if self._is_forged(key):
            return self._as_stranger(rules, key)
        return self._as_user(rules, cookies, read, read.session, key)

    def _handshake_key(self) -> bytes | None:
        """Return the key of a WebSocket handshake, None when the request is none."""
        return websocket_key(self.head) if self.fields.has_upgrade else None

    # --- who is it ---

    def _cookies(self) -> tuple[CookiePair, ...]:
        return () if self.fields.cookie is None else tuple(parse_cookies(self.fields.cookie))

    def _read(self, cookies: tuple[CookiePair, ...]) -> SessionRead:
        if not cookies:
            return _ABSENT
        return read_session(self.site.site, self.state, cookies, self.now, self.fields.cookie)

    def _call(self, cookies: tuple[CookiePair, ...], session: Session | None) -> Call:
        return Call(
            runtime=self.runtime,
            site=self.site.site,
            state=self.state,
            head=self.head,
            now=self.now,
            path=self.parsed.canonical,
            query=self.parsed.query,
            cookies=cookies,
            client_ip=self.fields.forwarded.client_ip,
            session=session,
        )

    def _is_forged(self, key: bytes | None) -> bool:
        """Tell whether another origin may have made the browser send this with its user's cookie (S39)."""
        is_unsafe = key is not None or self.head.method not in SAFE_METHODS
        return is_unsafe and self.site.site.csrf_check and not is_same_origin(self.site.site, self.head)

    # --- what follows ---

    def _preflight(self) -> Forward | Respond | None:
        """Pass a CORS preflight without identity where the rules of the method that it asks for let it."""
        if not is_preflight(self.head):
            return None
        wanted = single_header(self.head.headers, b"access-control-request-method") or b""
        rules = self.site.site.rules.rules_for(self.fields.host, self.parsed.readings, wanted)
        if not all(rule is not None and rule.preflight for rule in rules):
            return None
        note = Note(site=self.site.site.name, reason="allowed_preflight", rule=_name(rules[0]))
        return self._pass_anyone(note, None)

    def _as_nobody(
        self, rules: Rules, cookies: tuple[CookiePair, ...], read: SessionRead, key: bytes | None
    ) -> Decision:
        rule, verdict = judge(rules, None, self.fields.forwarded.client_ip)
        if rule is not None and verdict.allowed:
            return self._pass_anyone(self.site.public_note(rule), key)
        if verdict.needs_login:
            call = self._call(cookies, None)
            return self._ask_to_sign_in(call, _ENDED.get(read.reason, "login_required"))
        return self._refuse(rule, verdict.why)

    def _as_stranger(self, rules: Rules, key: bytes | None) -> Decision:
        """Judge a request of another origin as if nobody was signed in, but never begin a login for it."""
        rule, verdict = judge(rules, None, self.fields.forwarded.client_ip)
        if rule is not None and verdict.allowed:
            return self._pass_anyone(self.site.public_note(rule), key)
        refusal = refusals.refuse(self.site.site, "cross_origin", 403, self.head.request_id, self.head)
        return Respond(refusal.response, replace(refusal.note, rule=_name(rule)))

    def _as_user(
        self,
        rules: Rules,
        cookies: tuple[CookiePair, ...],
        read: SessionRead,
        session: Session,
        key: bytes | None,
    ) -> Decision:
        from sidecar.core.flows import refresh  # flows go on with this module's answers

        if read.due == "refresh":
            go_on = partial(self._go_on, rules, key)
            return refresh.refresh_then(self._call(cookies, session), go_on, self._ask_to_sign_in)
        if read.due == "renewal":
            return self._go_on(rules, key, *self._renewed(session, cookies))
        return self._judge(rules, key, session, (), read.entry)

    def _renewed(self, session: Session, cookies: tuple[CookiePair, ...]) -> tuple[Session, SetCookies]:
        """Return the session as seen now, and the Set-Cookie values that tell the browser."""
        seen = renewed(session, self.now)
        return seen, set_session(self.site.site, seen, cookies, self.state.surroundings.entropy)

    def _go_on(
        self, rules: Rules, key: bytes | None, session: Session, set_cookies: SetCookies
    ) -> Respond | Forward:
        return self._judge(rules, key, session, set_cookies, None)

    def _judge(
        self,
        rules: Rules,
        key: bytes | None,
        session: Session,
        set_cookies: SetCookies,
        entry: CachedSession | None,
    ) -> Respond | Forward:
        """Decide for somebody who is signed in; `entry` keeps what is prepared when nothing else is due."""
        site = self.site.site
        rule, verdict = judge(rules, session.identity, self.fields.forwarded.client_ip)
        if rule is not None and verdict.allowed:
            return self._pass_user(rule, session, set_cookies, key, entry)
        reason = "no_rule" if rule is None else "denied"
        note = _note(self.site, reason, rule, session, detail=verdict.why)
        refusal = refusals.denied(site, session, note, self.head)
        return with_cookies(refusal, set_cookies)

    def _refuse(self, rule: Rule | None, why: str) -> Respond:
        """Refuse somebody whom signing in would not help: no rule matches, or it asks for an address."""
        reason = "no_rule" if rule is None else "denied"
        refusal = refusals.refuse(self.site.site, reason, 403, self.head.request_id, self.head)
        return Respond(refusal.response, replace(refusal.note, rule=_name(rule), detail=why))

    # --- passing it on ---

    def _pass_anyone(self, note: Note, key: bytes | None) -> Forward | Respond:
        """Let the request pass without an identity."""
        finish = _finish(self.site.finish, (), key)
        return self._forward((self.fields.forwarded.edits,), finish, None, note)

    def _pass_user(
        self,
        rule: Rule,
        session: Session,
        set_cookies: SetCookies,
        key: bytes | None,
        entry: CachedSession | None,
    ) -> Forward | Respond:
        """Let the request pass with the session's identity; `entry` keeps what is prepared for others."""
        grant = self._grant(rule, session, entry)
        return self._forward(
            grant.edits, _finish(self.site.finish, set_cookies, key), grant.lease, grant.note
        )

    def _ask_to_sign_in(self, call: Call, reason: str) -> Decision:
        """Answer somebody who has no session and needs one."""
        return refusals.unauthenticated(call, reason)

    def _forward(
        self, edits: tuple[Edits, ...], finish: Finish, lease: Lease | None, note: Note
    ) -> Forward | Respond:
        route = self.site.route(self.parsed.canonical)
        if route is None:
            refusal = refusals.refuse(self.site.site, "no_route", 404, self.head.request_id, self.head)
            return Respond(refusal.response, replace(refusal.note, rule=note.rule))
        kept = self.fields.outgoing
        if kept is None or self.fields.route is not route:
            cookie = self.fields.cookie
            kept = self.fields.leave_by(route, None if cookie is None else self.site.cookie_upstream(cookie))
        return Forward(route.upstream, self.head.method, self.parsed.target, kept, edits, finish, lease, note)

    def _allowed_note(self, rule: Rule, session: Session) -> Note:
        return _note(self.site, "allowed_anyone" if is_public(rule.allow) else "allowed", rule, session)

    def _grant(self, rule: Rule, session: Session, entry: CachedSession | None) -> Grant:
        """Prepare what this admission means for every request like this one; the cache entry keeps it."""
        site = self.site
        known = None if entry is None else entry.grants.get(_IDENTITY)
        identity = known if isinstance(known, Edits) else identity_edits(site.site.headers, session)
        edits: tuple[Edits, ...] = (self.fields.forwarded.edits, identity)
        until = math.inf
        if site.signer is not None:
            assertion, until = site.signer.edits(session, self.now)
            edits = (*edits, assertion)
        policy = site.site.session
        lease = Lease(
            session_id=session.id,
            user=session.identity.user,
            not_after=lifetime.absolute_end(session, policy),
            idle_seconds=policy.idle_seconds,
        )
        grant = Grant(
            rule,
            self.fields.forwarded,
            edits,
            self._allowed_note(rule, session),
            lease,
            until,
        )
        if entry is not None:
            entry.keep_grant(id(rule), grant)
            entry.keep_grant(_IDENTITY, identity)
        return grant


def with_cookies(respond: Respond, set_cookies: SetCookies) -> Respond:
    """Return the answer with further Set-Cookie values."""
    added = tuple((b"Set-Cookie", value) for value in set_cookies)
    return Respond(replace(respond.response, headers=(*respond.response.headers, *added)), respond.note)


def _name(rule: Rule | None) -> str | None:
    return None if rule is None else rule.name


def _note(
    site: SitePlan, reason: str, rule: Rule | None, session: Session, *, detail: str | None = None
) -> Note:
    return Note(
        site=site.site.name,
        reason=reason,
        rule=_name(rule),
        user=session.identity.user,
        session_id=session.id,
        detail=detail,
    )


def _finish(finish: Finish, set_cookies: SetCookies, key: bytes | None) -> Finish:
    """Return the site's word on answers with what this one adds to it."""
    if not set_cookies and key is None:
        return finish
    return replace(finish, set_cookies=set_cookies, is_websocket=key is not None, websocket_key=key or b"")
