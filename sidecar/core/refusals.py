"""What we say when a request does not pass: a page to a person, JSON to a program, a login to a browser.

What may be said aloud is `core.sentences`' table; a request id finds the rest in the log. Which form an
answer takes is `core.navigation`'s finding.

A refusal is told to programs in a form that browsers' own dialogs ignore, and that a script can tell from
the application's answers: the field `Doorward-Intercepted` names us as its author, with the reason (S37).
Programs and preflights are never redirected: the target would be another origin's, which fetch, manifests and
service workers can't follow and report as a network error (S38).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sidecar.core.answer import INTERCEPTED
from sidecar.core.decision import Note, Respond
from sidecar.core.entrance import absolute, entrance, origin_at
from sidecar.core.http import NO_STORE, Page, Response, single_header
from sidecar.core.navigation import is_form, is_navigation, is_trusted_origin, wants_page
from sidecar.core.returnurl import safe_return_url
from sidecar.core.sentences import sentence_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.decision import Decision
    from sidecar.core.flows.call import Call
    from sidecar.core.http import HeaderPair, RequestHead
    from sidecar.core.runtime import Site
    from sidecar.core.session import Session

__all__ = ["challenge", "cors_headers", "denied", "login_url", "refuse", "return_url", "unauthenticated"]


# The surroundings or a limit of time: the same request may succeed later, so the page offers to try it again.
_TRANSIENT: Final = frozenset(
    {
        "timeout",
        "provider_unavailable",
        "store_unavailable",
        "upstream_unavailable",
        "upstream_broken",
        "upstream_timeout",
        "internal_error",
    }
)
_SIGN_IN: Final = "Sign in to go on."
_METHODS: Final[HeaderPair] = (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
_JSON: Final[HeaderPair] = (b"Content-Type", b"application/json")
_UNAUTHORIZED: Final = 401
_METHOD_NOT_ALLOWED: Final = 405
_VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7F))) - {"\\"}


def _mark(reason: str) -> HeaderPair:
    return INTERCEPTED, reason.encode("ascii")


def cors_headers(site: Site | None, head: RequestHead | None) -> tuple[HeaderPair, ...]:
    """Return what lets a trusted origin's script read our answer (Fetch §3.3): the exact origin, never "*".

    Anybody else's gets nothing, and the answer is no less refused.
    """
    if site is None or head is None or not site.trusted_origins:
        return ()
    vary: HeaderPair = (b"Vary", b"Origin")
    origin = single_header(head.headers, b"origin")
    if origin is None or not is_trusted_origin(site, origin):
        return (vary,)
    return (
        vary,
        (b"Access-Control-Allow-Origin", origin),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"Access-Control-Expose-Headers", INTERCEPTED),
    )


def refuse(site: Site | None, reason: str, status: int, request_id: str, head: RequestHead | None) -> Respond:
    """Build our answer to a request that does not pass.

    `site` is None when it is not known or does not matter, `head` when none could be read.
    """
    sentence = sentence_for(reason, status)
    extra = (_METHODS,) if status == _METHOD_NOT_ALLOWED else ()
    note = Note(site="" if site is None else site.name, reason=reason)
    if head is not None and wants_page(head):
        page = Page(
            name="error",
            values={
                "status": status,
                "title": sentence.title,
                "message": sentence.message,
                "request_id": request_id,
                "retry_url": _retry_url(head) if reason in _TRANSIENT else None,
            },
        )
        return Respond(Response(status=status, headers=(NO_STORE, _mark(reason), *extra), page=page), note)
    body = {"error": reason, "message": sentence.message, "request_id": request_id}
    return Respond(_json(status, reason, body, (*extra, *cors_headers(site, head))), note)


def denied(site: Site, session: Session, note: Note, head: RequestHead) -> Respond:
    """Build the 403 to somebody who is signed in and not admitted; `note` says by which rule."""
    if not wants_page(head):
        body = {
            "error": note.reason,
            "message": sentence_for(note.reason, 403).message,
            "request_id": head.request_id,
        }
        return Respond(_json(403, note.reason, body, cors_headers(site, head)), note)
    identity = session.identity
    values = {
        "user": identity.email or identity.preferred_username or identity.name or identity.user,
        "sign_out_url": f"{site.prefix}/sign_out",
        "request_id": head.request_id,
    }
    page = Page(name="denied", values=values)
    return Respond(Response(status=403, headers=(NO_STORE, _mark(note.reason)), page=page), note)


def unauthenticated(call: Call, reason: str) -> Decision:
    """Ask for a login: a navigation starts one, a form gets a page that says so, all else a 401.

    `reason`: "login_required", "session_expired" or "session_revoked". No form of answer but the first sets
    a cookie, so that a page which polls after its session has ended piles up no logins (S37).
    """
    if is_navigation(call.head):
        from sidecar.core.flows import login  # flows refuse by this module too

        return login.begin(call, return_url(call))
    if is_form(call.head):
        return _session_ended(call)
    told = "login_required_api" if reason == "login_required" else reason
    body = {
        "error": "login_required",
        "message": _SIGN_IN,
        "login_url": login_url(call),
        "request_id": call.head.request_id,
    }
    headers = (challenge(call.site), *cors_headers(call.site, call.head))
    note = Note(site=call.site.name, reason=told)
    return Respond(_json(_UNAUTHORIZED, told, body, headers), note)


def login_url(call: Call) -> str:
    """Return the URL at which a script may send its browser to sign in, coming back to where it is now.

    That is the page which made the request, when the browser names it (Referer) and it is one of ours. A host
    that gets its sessions handed over begins with asking for one (`core.entrance`).
    """
    from sidecar.core.flows.answers import host_of  # flows refuse by this module too

    site = call.site
    path = "sign_in" if site.sign_in == "page" or len(site.providers) > 1 else "start"
    host = host_of(call)
    where = entrance(site, host)
    origin = origin_at(site, host) if where == "handoff" else str(site.public_url)
    url = f"{origin}{site.prefix}/{path}"
    referer = single_header(call.head.headers, b"referer")
    page = "/" if referer is None else safe_return_url(site, referer.decode("latin-1"))
    if where == "auth_host":
        page = absolute(site, host, page)
    return url if page == "/" else f"{url}?rd={quote(page, safe='')}"


def _session_ended(call: Call) -> Respond:
    """Say that a form was not sent on: its content is lost to us, but not silently.

    The body was not read. Browsers keep a form, so going back and sending it again after signing in works.
    """
    values = {"sign_in_url": f"{call.site.prefix}/start", "was_form": True}
    headers = (NO_STORE, _mark("session_ended_form"), challenge(call.site))
    response = Response(status=_UNAUTHORIZED, headers=headers, page=Page(name="session_ended", values=values))
    return Respond(response, Note(site=call.site.name, reason="session_ended_form"))


def challenge(site: Site) -> HeaderPair:
    """Return the field that RFC 9110 §15.5.2 demands with a 401.

    `Cookie` is no registered scheme; browsers ignore those they don't know, where `Basic` would open their
    dialog. Its parameters tell a program where to sign in.
    """
    action = f"{site.public_url}{site.prefix}/start"
    return b"WWW-Authenticate", f'Cookie realm="{site.public_url}", form-action="{action}"'.encode("ascii")


def _json(
    status: int, reason: str, body: Mapping[str, object], headers: tuple[HeaderPair, ...] = ()
) -> Response:
    text = json.dumps(body, separators=(",", ":")).encode("ascii")
    return Response(status=status, headers=(_JSON, NO_STORE, _mark(reason), *headers), body=text)


def _target(head: RequestHead) -> str | None:
    """Return the origin-form target when it is plainly a path of this origin, else None (S62, S63)."""
    target = head.target.decode("latin-1")
    is_path = target.startswith("/") and not target.startswith("//")
    return target if is_path and _VISIBLE.issuperset(target) else None


def return_url(call: Call) -> str:
    """Return where a login leads back to: the URL asked for. The flow checks it once more."""
    return _target(call.head) or f"{call.site.public_url}{quote(call.path)}"


def _retry_url(head: RequestHead) -> str | None:
    return _target(head) if head.method == b"GET" else None
