"""The only place where "may this request pass?" is answered.

Theory of operation. `decide` looks at the head alone, does no input or output, and ends every ladder in a
refusal. In this order:

0.  A question about the request of somebody else is `core.forwardauth`'s; it comes back to 2-6 with that
    request.
1.  The host names a site of ours, exactly once, and agrees with an absolute-form target (S49, S55).
2.  The method is one that a gateway may pass on; the target has readings (`core.paths`).
3.  The fields are cleaned (`core.hygiene`): one way through, whatever follows (S43).
4.  A path that is ours in every reading goes to the endpoint; in some readings only: refused (S60).
5.  The rules of all readings; the session of the cookies; does the request come from here (S39)?
6.  The rules' verdict for this identity; they must agree (S57).

A session that comes back under a rule and from an address that it had before finds steps 5 and 6 prepared as
a `Grant` in its cache entry. That is the hot path, in this module: it allocates the list of kept fields and
the Forward, and where the engine hands over a memo for fields that came before (`core.fields`), the Forward
alone. Whatever is out of the ordinary (an upgrade, several readings, something due, nobody signed in)
is `core.visit`'s, which makes the grants too.

`decide` raises nothing for what a peer sends. A defect of ours does raise: the application's edge answers it
with 500 and logs it, so that nothing is swallowed here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.core import refusals
from sidecar.core.decision import Forward, Note, Respond
from sidecar.core.errors import BadRequest
from sidecar.core.fields import Fields, find_site, read_fields, single_host
from sidecar.core.forwardauth import asking
from sidecar.core.hosts import is_loopback_name, parse_authority
from sidecar.core.http import NO_STORE, Response
from sidecar.core.navigation import REFUSED_METHODS, is_navigation, is_same_origin
from sidecar.core.plan import Grant
from sidecar.core.visit import Visit

if TYPE_CHECKING:
    from sidecar.core.decision import Decision
    from sidecar.core.http import RequestHead
    from sidecar.core.plan import Plan, SitePlan
    from sidecar.core.runtime import Runtime
    from sidecar.core.state import State

__all__ = ["decide"]

_FIELDS: Final = "fields"  # in a head's memo


def decide(runtime: Runtime, state: State, head: RequestHead) -> Decision:
    """Decide what happens with the request of `head`. Raises nothing for what a peer sends."""
    if runtime.forward_auth is not None and (asked := asking.decide(runtime, state, head)) is not None:
        return asked
    memo = head.memo
    fields = memo.get(_FIELDS) if memo else None
    site: SitePlan | None = None
    decision: Decision
    try:
        if not isinstance(fields, Fields) or fields.site.runtime is not runtime:
            plan = state.plans.of(runtime)
            site = find_site(plan, head)
            if site is None:
                return _unknown_host(plan, head)
            fields = read_fields(site, head)
            if memo is not None:
                memo[_FIELDS] = fields
        site = fields.site
        head.client_ip = fields.forwarded.client_ip
        decision = _decide(fields, runtime, state, head)
    except BadRequest as error:
        refusal = refusals.refuse(None if site is None else site.site, error.code, 400, head.request_id, head)
        decision = Respond(refusal.response, replace(refusal.note, detail=error.detail))
    return decision if site is None else site.marked(decision)


def _decide(fields: Fields, runtime: Runtime, state: State, head: RequestHead) -> Decision:
    site, method = fields.site, head.method
    if fields.method != method:
        if method in REFUSED_METHODS:
            return refusals.refuse(site.site, "method_refused", 405, head.request_id, head)
        fields.choose(method)
    way = fields.ways[head.target]
    parsed = way.parsed
    if parsed.authority is not None:
        _check_authority(parsed.authority, fields.host)
    now = state.surroundings.clock()
    endpoint, rule = way.endpoint, way.rule
    if endpoint is not None:
        return Visit(fields, runtime, state, head, parsed, now).serve(endpoint)
    if (
        rule is not None
        and not fields.has_upgrade
        and (way.is_safe or is_same_origin(site.site, head))
        and (entry := fields.session_entry(state, now)) is not None
    ):
        grant = entry.grants.get(way.key)
        route = way.route
        if (
            isinstance(grant, Grant)
            and grant.rule is rule
            and grant.forwarded is fields.forwarded
            and now < grant.until
            and route is not None
        ):
            kept = fields.outgoing
            if kept is None or fields.route is not route:
                kept = fields.leave_by(route, fields.others)
            return Forward(
                route.upstream, method, parsed.target, kept, grant.edits, site.finish, grant.lease, grant.note
            )
    return Visit(fields, runtime, state, head, parsed, now).admit(way.rules)


def _check_authority(authority: bytes, host: str) -> None:
    """Hold an absolute-form target against Host: two names for one request are one too many (S49, S55).

    RFC 9112 §3.2.2 has a gateway replace Host by the target's; ours is only ever sent what agrees.
    """
    if parse_authority(authority) != parse_authority(host.encode("ascii")):
        raise BadRequest("invalid_request", "the target's authority is not Host's")


def _unknown_host(plan: Plan, head: RequestHead) -> Respond:
    """Refuse a host that is none of ours (RFC 9110 §15.5.20), but help a person on the site's own machine.

    Somebody who typed 127.0.0.1 for localhost is led to the configured URL, which no part of the request can
    change: a cookie set for one name is not sent to the other, so that signing in would never end.
    """
    host, _ = parse_authority(single_host(head))
    if plan.loopback is not None and is_loopback_name(host) and is_navigation(head):
        site = plan.loopback.site
        location = f"{site.public_url}/".encode("ascii")
        note = Note(site=site.name, reason="unknown_host", detail="sent to public_url")
        return Respond(Response(status=302, headers=((b"Location", location), NO_STORE)), note)
    refusal = refusals.refuse(None, "unknown_host", 421, head.request_id, head)
    return Respond(refusal.response, replace(refusal.note, detail=host))
