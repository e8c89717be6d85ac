"""Our endpoints under a site's prefix: which there are, and what each answers.

start            begins a login; `rd` is where it leads back to, `provider` by whom
callback         takes the provider's answer, at each provider's own path
sign_in          the ways to sign in
sign_out         asks, then signs out; sign_out/return is where the provider sends the browser back to
auth             what an ingress asks (`core.forwardauth`); refused here, where nobody may
handoff          gives a session to another host of the site; handoff/return is where that takes it
userinfo         who is signed in: JSON, or a page to a person
jwks             the public keys of the signed assertion
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.core import assertion, refusals
from sidecar.core.decision import Respond
from sidecar.core.errors import BadRequest
from sidecar.core.flows.answers import SAFE_PAIR, method_refused, note, own_page, set_cookie_pairs
from sidecar.core.flows.callback import finish_login
from sidecar.core.flows.handoff import give, take
from sidecar.core.flows.login import begin, begin_chosen, sign_in_page
from sidecar.core.flows.refresh import is_due, refresh_then
from sidecar.core.flows.signout import confirm_or_sign_out, return_from_provider
from sidecar.core.flows.wishes import is_stand_in, read_wish
from sidecar.core.http import Page, Response
from sidecar.core.lifetime import absolute_end
from sidecar.core.navigation import is_script, wants_page
from sidecar.core.returnurl import safe_return_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.decision import Decision
    from sidecar.core.flows.call import Call
    from sidecar.core.http import HeaderPair
    from sidecar.core.session import Session

__all__ = ["serve"]

_READS: Final = frozenset({b"GET", b"HEAD"})


def serve(call: Call, name: str) -> Decision:
    """Answer the endpoint `name`: what the path says after the prefix and its slash. Unknown: 404."""
    if any(provider.redirect_path == call.path for provider in call.site.providers.values()):
        return finish_login(call)
    endpoint = _ENDPOINTS.get(name)
    if endpoint is None:
        return refusals.refuse(call.site, "unknown_endpoint", 404, call.head.request_id, call.head)
    try:
        return endpoint(call)
    except BadRequest:
        return refusals.refuse(call.site, "invalid_request", 400, call.head.request_id, call.head)


def _start(call: Call) -> Decision:
    if call.head.method != b"GET":
        return method_refused(call, b"GET")
    if is_script(call.head):
        return _no_script(call)
    wish = read_wish(call)
    return begin_chosen(call, wish.return_to or "/", wish.parameters)


def _sign_in(call: Call) -> Decision:
    if call.head.method not in _READS:
        return method_refused(call, b"GET, HEAD")
    if is_script(call.head):
        return _no_script(call)
    return_to = safe_return_url(call.site, read_wish(call).return_to or "/")
    # oauth2-proxy's recipes send everybody here who was refused; who is signed in has come for the choice.
    is_sent = is_stand_in(call) and call.session is None
    if is_sent and call.site.sign_in == "redirect" and len(call.site.providers) == 1:
        return begin(call, return_to)
    return sign_in_page(call, return_to)


def _no_script(call: Call) -> Decision:
    """Tell a script that it is not signed in (S38).

    It was redirected here, by an ingress that makes a redirect of every 401. The provider's redirect would be
    a CORS error to it, and a page of ours a success.
    """
    return refusals.unauthenticated(call, "login_required")


def _nobody_asks(call: Call) -> Decision:
    """Refuse the auth endpoint where no ingress may ask (S75); `core.forwardauth` answers those that may."""
    refusal = refusals.refuse(call.site, "caller_refused", 403, call.head.request_id, call.head)
    detail = "forward_auth.callers does not say that anybody may ask"
    return Respond(refusal.response, replace(refusal.note, detail=detail))


def _userinfo(call: Call) -> Decision:
    if call.head.method not in _READS:
        return method_refused(call, b"GET, HEAD")
    if call.session is None:
        return refusals.unauthenticated(call, "login_required")
    return _fresh(call, call.session, _who_am_i if wants_page(call.head) else _userinfo_json)


def _who_am_i(call: Call, session: Session) -> Respond:
    identity, site = session.identity, call.site
    provider = site.providers.get(session.provider)
    values = {
        "user": identity.user,
        "name": identity.name,
        "email": identity.email,
        "preferred_username": identity.preferred_username,
        "groups": identity.groups,
        "roles": identity.roles,
        "subject": identity.subject,
        "issuer": identity.issuer,
        "provider": None if provider is None else provider.display_name,
        "expires": absolute_end(session, site.session),
        "sign_out_url": f"{site.prefix}/sign_out",
        "site_name": site.name,
    }
    return own_page(call, Page(name="who_am_i", values=values), "own_page")


def _userinfo_json(call: Call, session: Session) -> Respond:
    identity = session.identity
    members = {
        "user": identity.user,
        "email": identity.email,
        "groups": list(identity.groups),
        "preferredUsername": identity.preferred_username,
    }
    text = json.dumps({name: value for name, value in members.items() if value is not None}).encode("ascii")
    headers = (
        (b"Content-Type", b"application/json"),
        *SAFE_PAIR,
        *refusals.cors_headers(call.site, call.head),
    )
    return Respond(Response(status=200, headers=headers, body=text), note(call, "own_page"))


def _fresh(call: Call, session: Session, answer: Callable[[Call, Session], Respond]) -> Decision:
    """Answer for the session, refreshed first where that is due; the new cookie goes with the answer."""
    if not is_due(call, session):
        return answer(call, session)

    def then(renewed: Session, cookies: tuple[bytes, ...]) -> Respond:
        return _with_headers(answer(call, renewed), set_cookie_pairs(cookies))

    return refresh_then(call, then)


def _with_headers(respond: Respond, added: tuple[HeaderPair, ...]) -> Respond:
    response = respond.response
    return Respond(replace(response, headers=(*response.headers, *added)), respond.note)


def _jwks(call: Call) -> Decision:
    if call.head.method not in _READS:
        return method_refused(call, b"GET, HEAD")
    policy = call.site.headers.assertion
    text = b'{"keys":[]}' if policy is None else assertion.jwks(policy)
    headers = (
        (b"Content-Type", b"application/jwk-set+json"),
        # Short enough that a new key, which is published before it signs, is seen in time.
        (b"Cache-Control", b"public, max-age=300"),
        (b"X-Content-Type-Options", b"nosniff"),
    )
    return Respond(Response(status=200, headers=headers, body=text), note(call, "own_page"))


_ENDPOINTS: Final[dict[str, Callable[[Call], Decision]]] = {
    "start": _start,
    "sign_in": _sign_in,
    "sign_out": confirm_or_sign_out,
    "sign_out/return": return_from_provider,
    "auth": _nobody_asks,
    "handoff": give,
    "handoff/return": take,
    "userinfo": _userinfo,
    "jwks": _jwks,
}
