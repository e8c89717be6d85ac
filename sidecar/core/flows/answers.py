"""The answers that flows share: a redirect, a page, a refused login."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from sidecar.core.answer import INTERCEPTED
from sidecar.core.decision import Note, Respond
from sidecar.core.entrance import is_host
from sidecar.core.http import NO_STORE, Page, Response, single_header
from sidecar.core.navigation import wants_page
from sidecar.core.sentences import sentence_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.core.flows.call import Call
    from sidecar.core.http import HeaderPair

__all__ = [
    "SAFE_PAIR",
    "host_of",
    "is_from_proxy",
    "login_error",
    "method_refused",
    "note",
    "own_page",
    "redirect",
    "set_cookie_pairs",
]

_REFERRER: Final[HeaderPair] = (b"Referrer-Policy", b"no-referrer")
SAFE_PAIR: Final[tuple[HeaderPair, ...]] = (NO_STORE, _REFERRER)
"""On each answer around a login: nothing keeps it, and no URL of ours travels on in a Referer (S11)."""


def host_of(call: Call) -> str:
    """Return the host that the browser speaks to, one of the site's, as it would stand in a Host field.

    That is Host, which the gate has found to be the site's, or what a trusted proxy that has rewritten it
    says was there.
    """
    told = single_header(call.head.headers, b"x-forwarded-host")
    if told is not None and is_from_proxy(call):
        host = told.decode("latin-1")
        if is_host(call.site, host):
            return host
    return (single_header(call.head.headers, b"host") or b"").decode("latin-1")


def is_from_proxy(call: Call) -> bool:
    """Tell whether a trusted proxy has sent the request, so that fields of its own making may be believed."""
    plan = call.state.plans.of(call.runtime).plan_of(call.site)
    return plan.forwarded.find(call.head.peer, call.head.headers).is_trusted


def note(call: Call, reason: str, detail: str | None = None) -> Note:
    """Return the note of one of our own answers."""
    session = call.session
    return Note(
        site=call.site.name,
        reason=reason,
        user=None if session is None else session.identity.user,
        session_id=None if session is None else session.id,
        detail=detail,
    )


def set_cookie_pairs(cookies: Iterable[bytes]) -> tuple[HeaderPair, ...]:
    """Return a Set-Cookie field for each value."""
    return tuple((b"Set-Cookie", value) for value in cookies)


def redirect(call: Call, url: str, reason: str, cookies: Iterable[bytes] = ()) -> Respond:
    """Send the browser to `url`, which is ours or checked, in ASCII.

    303 after a request with a body, so that no form is ever sent on to another place (S12, RFC 9110 §15.4.4).
    """
    status = 302 if call.head.method in {b"GET", b"HEAD"} else 303
    headers = ((b"Location", url.encode("ascii")), *SAFE_PAIR, *set_cookie_pairs(cookies))
    return Respond(Response(status=status, headers=headers), note(call, reason))


def own_page(
    call: Call,
    page: Page,
    reason: str,
    *,
    status: int = 200,
    cookies: Iterable[bytes] = (),
    detail: str | None = None,
) -> Respond:
    """Answer with a page; its renderer adds the headers that every page has."""
    return Respond(
        Response(status=status, headers=set_cookie_pairs(cookies), page=page), note(call, reason, detail)
    )


def login_error(
    call: Call,
    sentence: str,
    status: int,
    *,
    detail: str,
    retry_url: str | None = None,
    cookies: Iterable[bytes] = (),
    reason: str = "login_failed",
) -> Respond:
    """Say that a login did not come about, in a sentence of `core.sentences`; `detail` is for the log.

    A page to a person. Programs do not log in by themselves, but some try: JSON to them.
    """
    said = sentence_for(sentence, status)
    mark: HeaderPair = (INTERCEPTED, reason.encode("ascii"))
    values: Mapping[str, object] = {
        "status": status,
        "title": said.title,
        "message": said.message,
        "request_id": call.head.request_id,
        "retry_url": retry_url,
    }
    headers: tuple[HeaderPair, ...] = (mark, *set_cookie_pairs(cookies))
    if wants_page(call.head):
        response = Response(status=status, headers=headers, page=Page(name="error", values=values))
    else:
        body = {"error": reason, "message": said.message, "request_id": call.head.request_id}
        kind: HeaderPair = (b"Content-Type", b"application/json")
        text = json.dumps(body, separators=(",", ":")).encode("ascii")
        response = Response(status=status, headers=(kind, *SAFE_PAIR, *headers), body=text)
    return Respond(response, note(call, reason, detail))


def method_refused(call: Call, allowed: bytes) -> Respond:
    """Say that an endpoint does not know the method (RFC 9110 §15.5.6)."""
    headers: tuple[HeaderPair, ...] = ((b"Allow", allowed), (INTERCEPTED, b"method_refused"), *SAFE_PAIR)
    return Respond(Response(status=405, headers=headers), note(call, "method_refused"))
