"""Sign-out: here first and everywhere here at once, then at the provider (OIDC RP-Initiated Logout 1.0).

    GET  sign_out          asks, in a page with a form: a link must not sign anybody out. Where we stand in
                           for oauth2-proxy, a link of the site's own does
    POST sign_out          revokes the session on every worker, clears its cookies, sends the browser on to
                           the provider's end_session_endpoint; without one, shows that it is done
    GET  sign_out/return   where the provider sends the browser back to; `state` must be this browser's

What the provider does or fails to do changes nothing about the session here being over. It knows one address
to send a browser back to, at public_url; from another host of the site `state` says which, sealed, and the
browser goes on from there to where it signed out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from sidecar.core import refusals, sessioncookie, transaction
from sidecar.core.cookies import build_clearing_cookie, build_set_cookie
from sidecar.core.decision import Flow
from sidecar.core.effects import Emit, LoadMetadata, ReadBody, Revoke
from sidecar.core.entrance import entrance, is_host, origin_at
from sidecar.core.errors import BadRequest, InvalidCookie, ProviderUnavailable
from sidecar.core.flows.answers import host_of, method_refused, own_page, redirect
from sidecar.core.flows.parameters import parse_parameters
from sidecar.core.flows.wishes import is_stand_in, read_wish
from sidecar.core.http import Page
from sidecar.core.navigation import is_prefetch, is_same_origin, is_same_site
from sidecar.core.returnurl import safe_return_url
from sidecar.core.seal import encode_base64url

if TYPE_CHECKING:
    from sidecar.core.decision import Forward, Respond, Steps
    from sidecar.core.flows.call import Call
    from sidecar.core.session import Session
    from sidecar.core.tokens import ProviderMetadata

__all__ = ["confirm_or_sign_out", "return_from_provider", "signed_out_uri"]

_MAX_FORM_BYTES: Final = 16 * 1024
_FORM_SECONDS: Final = 3600
_RETURN_SECONDS: Final = 600
_STATE_BYTES: Final = 16
_CSRF_PURPOSE: Final = "sign-out-form"
_RETURN_PURPOSE: Final = "sign-out-return"
_STATE_PURPOSE: Final = "sign-out-state"
# Common servers take 8 KB of request line; an ID token with many groups alone can be longer.
_MAX_URL_CHARACTERS: Final = 7000


def signed_out_uri(call: Call) -> str:
    """Return the `post_logout_redirect_uri` that the operator registers at the provider."""
    return f"{call.site.public_url}{call.site.prefix}/sign_out/return"


def confirm_or_sign_out(call: Call) -> Flow:
    """Answer the sign_out endpoint."""
    return Flow("sign_out", _steps(call), head=call.head, site=call.site)


def return_from_provider(call: Call) -> Respond:
    """Answer the provider's return: to where the person wanted to go if `state` is this browser's.

    Another state, or none, is no error to a person who has signed out; it only leads nowhere else.
    """
    if call.head.method != b"GET":
        return method_refused(call, b"GET")
    elsewhere = _return_elsewhere(call)
    if elsewhere is not None:
        # The session was ended there, and the cookie of it that this host has is of no use either.
        ended = sessioncookie.clear_session(call.site, call.cookies) if call.session is None else ()
        return redirect(call, elsewhere, "signed_out", ended)
    name = _cookie_name(call)
    cookies = (build_clearing_cookie(call.site.cookie, name, same_site="Lax"),)
    return_to = _wanted_return(call, name)
    if return_to is not None:
        return redirect(call, return_to, "signed_out", cookies)
    return _signed_out(call, cookies)


def _steps(call: Call) -> Steps[Respond | Forward]:
    if call.head.method == b"GET":
        if is_stand_in(call) and is_same_site(call.site, call.head) and not is_prefetch(call.head):
            return (yield from _sign_out_at_once(call))
        return (yield from _confirm(call, 200))
    if call.head.method != b"POST":
        return method_refused(call, b"GET, POST")
    # The form's token would do; a request that says it comes from elsewhere is not even read (S39).
    if not is_same_origin(call.site, call.head):
        return refusals.refuse(call.site, "cross_origin", 403, call.head.request_id, call.head)
    body: bytes = yield ReadBody(max_bytes=_MAX_FORM_BYTES)
    session = call.session
    if session is None:
        return _signed_out(call, sessioncookie.clear_session(call.site, call.cookies))
    if not _is_genuine(call, session, parse_parameters(body).single("csrf_token") or ""):
        return (yield from _confirm(call, 403))
    return (yield from _sign_out(call, session))


def _confirm(call: Call, status: int) -> Steps[Respond | Forward]:
    session = call.session
    if session is None:
        return _signed_out(call, sessioncookie.clear_session(call.site, call.cookies))
    return_to = _return_to(call)
    suffix = "" if return_to is None else "?" + urlencode({"rd": return_to})
    identity = session.identity
    values = {
        "action": f"{call.site.prefix}/sign_out{suffix}",
        "csrf_token": _csrf_token(call, session),
        "user": identity.email or identity.preferred_username or identity.name or identity.user,
        "site_name": call.site.name,
    }
    endpoint = yield from _end_session_endpoint(call, session)
    # CSP's form-action holds for redirects too. This form's answer leads to the provider, which may go on by
    # hosts that nobody told us of (its own sign-out page, the provider behind it): any of its scheme.
    targets = () if endpoint is None else (f"{urlsplit(endpoint).scheme}:",)
    page = Page(name="sign_out_confirm", values=values, form_targets=targets)
    return own_page(call, page, "signed_out", status=status)


def _sign_out_at_once(call: Call) -> Steps[Respond | Forward]:
    if call.session is not None:
        return (yield from _sign_out(call, call.session))
    cleared = sessioncookie.clear_session(call.site, call.cookies)
    return_to = _return_to(call)
    return redirect(call, return_to, "signed_out", cleared) if return_to else _signed_out(call, cleared)


def _sign_out(call: Call, session: Session) -> Steps[Respond | Forward]:
    yield Revoke(session_id=session.id, until=session.absolute_end)
    fields = (
        ("site", session.site),
        ("provider", session.provider),
        ("user", session.identity.user),
        ("session_id", session.id),
        ("request_id", call.head.request_id),
    )
    yield Emit(event="session_signed_out", fields=fields)
    cleared = (
        *sessioncookie.clear_session(call.site, call.cookies),
        *transaction.unmark(call.site, call.cookies),
    )
    endpoint = yield from _end_session_endpoint(call, session)
    if endpoint is None:
        return_to = _return_to(call)
        return redirect(call, return_to, "signed_out", cleared) if return_to else _signed_out(call, cleared)
    state = _new_state(call)
    url = _logout_url(call, session, endpoint, state)
    return redirect(call, url, "signed_out", (*cleared, _return_cookie(call, state)))


def _end_session_endpoint(call: Call, session: Session) -> Steps[str | None]:
    provider = call.site.providers.get(session.provider)
    if provider is None or provider.issuer != session.identity.issuer:
        return None
    try:
        metadata: ProviderMetadata = yield LoadMetadata(provider=provider)
    except ProviderUnavailable:
        return None
    return metadata.end_session_endpoint


def _logout_url(call: Call, session: Session, endpoint: str, state: str) -> str:
    """Return the logout request (RP-Initiated Logout §2), with the ID token as a hint while it fits."""
    client_id = call.site.providers[session.provider].client_id
    parameters = {"client_id": client_id, "post_logout_redirect_uri": signed_out_uri(call), "state": state}
    if session.id_token is not None:
        hinted = {"id_token_hint": session.id_token.reveal().decode("ascii"), **parameters}
        url = _with_query(endpoint, hinted)
        if len(url) <= _MAX_URL_CHARACTERS:
            return url
    return _with_query(endpoint, parameters)


def _with_query(endpoint: str, parameters: dict[str, str]) -> str:
    parts = urlsplit(endpoint)
    own = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in parameters]
    return parts._replace(query=urlencode([*own, *parameters.items()])).geturl()


def _return_to(call: Call) -> str | None:
    """Return where the person wants to be after signing out, if that was asked for and is ours.

    A wish that can't be read is none: it must not keep anybody half signed in.
    """
    try:
        raw = read_wish(call).return_to
    except BadRequest:
        return None
    return None if not raw else safe_return_url(call.site, raw)


def _signed_out(call: Call, cookies: tuple[bytes, ...]) -> Respond:
    values = {"sign_in_url": f"{call.site.prefix}/start", "site_name": call.site.name}
    return own_page(call, Page(name="signed_out", values=values), "signed_out", cookies=cookies)


def _csrf_token(call: Call, session: Session) -> str:
    """Return what the form carries: sealed, of this session only, for an hour (S39)."""
    text = f"{int(call.now) + _FORM_SECONDS} {session.id}".encode()
    token = call.site.session.keys.seal(
        text,
        purpose=_CSRF_PURPOSE,
        name=b"csrf_token",
        site=call.site.name,
        entropy=call.state.surroundings.entropy,
    )
    return token.decode("ascii")


def _is_genuine(call: Call, session: Session, token: str) -> bool:
    try:
        text = call.site.session.keys.open(
            token.encode(), purpose=_CSRF_PURPOSE, name=b"csrf_token", site=call.site.name
        )
    except InvalidCookie:
        return False
    until, _, session_id = text.decode().partition(" ")
    return session_id == session.id and call.now < int(until)


def _new_state(call: Call) -> str:
    """Return what comes back from the provider: random, or sealed with the host that is not public_url's."""
    entropy = call.state.surroundings.entropy
    state = encode_base64url(entropy(_STATE_BYTES))
    host = host_of(call)
    if entrance(call.site, host) != "here":
        text = json.dumps([state.decode("ascii"), origin_at(call.site, host)]).encode("ascii")
        state = call.site.session.keys.seal(
            text, purpose=_STATE_PURPOSE, name=b"state", site=call.site.name, entropy=entropy
        )
    return state.decode("ascii")


def _return_elsewhere(call: Call) -> str | None:
    """Return where the browser signed out, when that was another host of the site than public_url's."""
    site = call.site
    if entrance(site, host_of(call)) != "here":
        return None
    try:
        state = parse_parameters(call.query).single("state") or ""
        text = site.session.keys.open(state.encode(), purpose=_STATE_PURPOSE, name=b"state", site=site.name)
    except (BadRequest, InvalidCookie):
        return None
    origin: str = json.loads(text)[1]
    # Hosts may have changed since; one that is public_url's now would be sent here again.
    host = origin.partition("://")[2]
    if not is_host(site, host) or origin_at(site, host) != origin or entrance(site, host) == "here":
        return None
    return f"{origin}{site.prefix}/sign_out/return?{urlencode({'state': state})}"


def _cookie_name(call: Call) -> bytes:
    return call.site.cookie.transaction_name + b".out"


def _return_cookie(call: Call, state: str) -> bytes:
    """Return the cookie that knows this browser again when it comes back from the provider."""
    name = _cookie_name(call)
    text = json.dumps([state, int(call.now) + _RETURN_SECONDS, _return_to(call)]).encode()
    sealed = call.site.session.keys.seal(
        text,
        purpose=_RETURN_PURPOSE,
        name=name,
        site=call.site.name,
        entropy=call.state.surroundings.entropy,
    )
    return build_set_cookie(call.site.cookie, name, sealed, max_age_seconds=_RETURN_SECONDS, same_site="Lax")


def _wanted_return(call: Call, name: bytes) -> str | None:
    try:
        came_back = parse_parameters(call.query).single("state")
    except BadRequest:
        return None
    for key, value in call.cookies:
        if key != name:
            continue
        try:
            text = call.site.session.keys.open(value, purpose=_RETURN_PURPOSE, name=name, site=call.site.name)
        except InvalidCookie:
            continue
        state, until, return_to = json.loads(text)
        if state == came_back and call.now < until and return_to is not None:
            return safe_return_url(call.site, return_to)
    return None
