"""What kind of request this is, from what browsers say of it: navigation, form, program, preflight, upgrade.

Fetch Metadata (`Sec-Fetch-*`) can't be written by a page's scripts, so it decides where it is there. Where it
is not (plain HTTP on another host than localhost, old browsers, programs), Accept and X-Requested-With have
to do. A mistake costs convenience, never safety: nothing passes because of what is said here.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, Final

from sidecar.core.http import header_values, single_header

if TYPE_CHECKING:
    from sidecar.core.http import RequestHead
    from sidecar.core.runtime import Site

__all__ = [
    "REFUSED_METHODS",
    "SAFE_METHODS",
    "is_form",
    "is_navigation",
    "is_prefetch",
    "is_preflight",
    "is_same_origin",
    "is_same_site",
    "is_script",
    "is_trusted_origin",
    "sends_lax_cookie",
    "wants_page",
    "websocket_key",
]

SAFE_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""RFC 9110 §9.2.1, without TRACE, which is refused."""

REFUSED_METHODS: Final = frozenset({b"CONNECT", b"TRACE", b"TRACK"})
"""CONNECT is a tunnel past every rule; TRACE would echo the fields that we add (S55)."""

# Destinations of a navigation whose answer a person sees (Fetch §3.2.7). Not `embed` and `object`: they show
# no sign-in page, and a redirect of theirs would only start a login that nobody completes.
_SEEN_DESTINATIONS: Final = frozenset({b"document", b"iframe", b"frame", b"fencedframe", b""})
_WEBSOCKET_KEY_BYTES: Final = 16
_HTML: Final = re.compile(rb"\btext/html\b|\bapplication/xhtml\+xml\b", re.IGNORECASE)


def wants_page(head: RequestHead) -> bool:
    """Tell whether a person will look at the answer, whatever the method."""
    if websocket_key(head) is not None:
        return False
    mode = single_header(head.headers, b"sec-fetch-mode")
    if mode is not None:
        destination = single_header(head.headers, b"sec-fetch-dest") or b""
        return mode == b"navigate" and destination in _SEEN_DESTINATIONS
    asked_by_script = b"xmlhttprequest" in {
        value.lower() for value in header_values(head.headers, b"x-requested-with")
    }
    return not asked_by_script and any(map(_HTML.search, header_values(head.headers, b"accept")))


def is_navigation(head: RequestHead) -> bool:
    """Tell whether the browser goes to this URL, so that a redirect to a sign-in page leads somewhere.

    A page fetched ahead of time (`Sec-Purpose: prefetch`) is none: a login that nobody asked for would be
    begun with each, and browsers that get a 401 go there in earnest when the person does.
    """
    return head.method in {b"GET", b"HEAD"} and wants_page(head) and not is_prefetch(head)


def sends_lax_cookie(own: bytes, head: RequestHead) -> bool:
    """Tell whether a browser would send the origin `own` a cookie with SameSite=Lax (RFC 6265bis §5.6.7.1).

    Programs that say nothing of where they come from do; a page of another site may only lead here.
    """
    witnesses = header_values(head.headers, b"sec-fetch-site")
    if not witnesses:
        return all(origin == own for origin in header_values(head.headers, b"origin"))
    if b"cross-site" not in witnesses:
        return True
    return is_navigation(head) and header_values(head.headers, b"sec-fetch-dest") == [b"document"]


def is_prefetch(head: RequestHead) -> bool:
    """Tell whether the browser fetches this ahead of time, in case the person goes there."""
    purposes = header_values(head.headers, b"sec-purpose") + header_values(head.headers, b"purpose")
    return any(b"prefetch" in purpose.lower() for purpose in purposes)


def is_script(head: RequestHead) -> bool:
    """Tell whether the browser says that no navigation asks for this: a fetch, an image, a WebSocket.

    Where it says nothing, nobody knows.
    """
    mode = single_header(head.headers, b"sec-fetch-mode")
    return mode is not None and mode != b"navigate"


def is_form(head: RequestHead) -> bool:
    """Tell whether a person has sent a form: a navigation with a method that carries a body."""
    return head.method not in SAFE_METHODS and wants_page(head)


def is_preflight(head: RequestHead) -> bool:
    """Tell whether this is a CORS preflight (Fetch §3.2.2): it never carries credentials."""
    return (
        head.method == b"OPTIONS"
        and single_header(head.headers, b"origin") is not None
        and single_header(head.headers, b"access-control-request-method") is not None
    )


def websocket_key(head: RequestHead) -> bytes | None:
    """Return the Sec-WebSocket-Key of a valid handshake (RFC 6455 §4.2.1), else None (S54).

    Anything less is no handshake: GET without a body, `Upgrade` with websocket, `Connection` with upgrade,
    one key of sixteen bytes, version 13.
    """
    headers = head.headers
    if head.method != b"GET" or b"websocket" not in _tokens(head, b"upgrade"):
        return None
    key = single_header(headers, b"sec-websocket-key")
    has_body = header_values(headers, b"transfer-encoding") or any(
        value != b"0" for value in header_values(headers, b"content-length")
    )
    if key is None or has_body or b"upgrade" not in _tokens(head, b"connection"):
        return None
    if single_header(headers, b"sec-websocket-version") != b"13":
        return None
    try:
        nonce = b64decode(key, validate=True)
    except Base64Error:
        return None
    return key if len(nonce) == _WEBSOCKET_KEY_BYTES else None


def _tokens(head: RequestHead, name: bytes) -> set[bytes]:
    joined = b",".join(header_values(head.headers, name))
    return {token.strip(b" \t").lower() for token in joined.split(b",")}


def is_trusted_origin(site: Site, origin: bytes) -> bool:
    """Tell whether an Origin is one that the operator trusts with this site's cookies."""
    return origin.decode("latin-1") in site.trusted_origins


def is_same_origin(site: Site, head: RequestHead) -> bool:
    """Tell whether a request that a cookie authenticates comes from the site itself or one it trusts (S39).

    A sibling subdomain and another port of localhost are "same-site" and send our cookie along, so SameSite
    is not enough. Both witnesses must agree: Sec-Fetch-Site, and Origin where there is one. Neither is there
    in requests of programs, which nobody can trick into sending a cookie. `Origin: null` is anybody's, unless
    where Sec-Fetch-Site says otherwise: a page with `Referrer-Policy: no-referrer`, as all of ours have,
    sends its own forms so (Fetch §3.2), and a page of an opaque origin is "cross-site" to every site.
    """
    origins = header_values(head.headers, b"origin")
    if origins == [b"null"] and header_values(head.headers, b"sec-fetch-site") == [b"same-origin"]:
        return True
    if origins and not all(_is_own_origin(site, head, o) or is_trusted_origin(site, o) for o in origins):
        return False
    witnesses = header_values(head.headers, b"sec-fetch-site")
    if all(value in {b"same-origin", b"none"} for value in witnesses):
        return True
    return bool(origins) and all(is_trusted_origin(site, origin) for origin in origins)


def is_same_site(site: Site, head: RequestHead) -> bool:
    """Tell whether a link was followed from a page of the same site, or typed by the person.

    A witness is needed: Sec-Fetch-Site, or in older browsers an Origin or Referer of one of the site's own
    hosts. Without any, it may come from anywhere.
    """
    witnesses = header_values(head.headers, b"sec-fetch-site")
    if witnesses:
        return all(value in {b"same-origin", b"same-site", b"none"} for value in witnesses)
    named = header_values(head.headers, b"origin") or [
        b"/".join(value.split(b"/", 3)[:3]) for value in header_values(head.headers, b"referer")
    ]
    own = {f"{site.public_url.scheme}://{host}".encode("ascii") for host in site.hosts}
    return bool(named) and own.issuperset(named)


def _is_own_origin(site: Site, head: RequestHead, origin: bytes) -> bool:
    """Tell whether an Origin is the one that the browser sees in its address bar.

    That is the Host of this very request, which the gate has found to be one of the site's: another page
    can't choose it. The scheme is `public_url`'s, so that http on the same name stays outside.
    """
    hosts = header_values(head.headers, b"host")
    scheme = site.public_url.scheme.encode("ascii")
    return origin == str(site.public_url).encode("ascii") or any(
        origin.lower() == scheme + b"://" + host.lower() for host in hosts
    )
