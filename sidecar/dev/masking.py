"""What may be shown of a request to whoever looks over a developer's shoulder: everything but secrets.

A secret is recognised by where it stands (cookies, credentials, the parameters of a login), by its field's or
parameter's name, and by its looks (a JWT). Enough of it stays to tell one from another, too little to use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

from addons.login_view import is_open, masked
from sidecar.dev.recording import without_path_sessions

if TYPE_CHECKING:
    from sidecar.core.http import HeaderPair

__all__ = ["masked_fields", "masked_url"]

_SECRET_NAMES: Final = re.compile(
    r"(?i)token|secret|passw|passphrase|credential|assertion|signature|session|cookie|csrf|xsrf|auth"
    r"|api[-_]?key|access[-_]?key|(?:^|[-_])(?:key|jwt|sid|sig|otp|pin|ticket|saml\w*)(?:$|[-_])"
)
# Parameters of OpenID Connect that are secret without sounding so, or prove something.
_LOGIN_NAMES: Final = frozenset({"code", "state", "nonce", "code_challenge", "code_verifier"})
_JWT: Final = re.compile(r"eyJ[\w-]{4,}\.[\w-]+\.[\w-]*")
_CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization"})
_URLS: Final = frozenset({"location", "content-location", "referer", "refresh", "link"})


def masked_url(url: str) -> str:
    """Return a URL, or a target, whose secret parameters are masked."""
    url, mark, fragment = url.partition("#")
    path, question, query = url.partition("?")
    path = without_path_sessions(path.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    parts = "&".join(_masked_parameter(part) for part in query.split("&"))
    return _masked_tokens(path) + question + parts + mark + ("…" if fragment else "")


def masked_fields(fields: Iterable[HeaderPair]) -> list[HeaderPair]:
    """Return header fields whose secrets are masked."""
    return [(name, _masked_field(name, value)) for name, value in fields]


def _masked_field(name: bytes, value: bytes) -> bytes:
    text, lower = value.decode("utf-8", "surrogateescape"), name.decode("latin-1").lower()
    return _masking(lower)(text).encode("utf-8", "surrogateescape")


def _masking(lower: str) -> Callable[[str], str]:
    if lower == "cookie":
        return lambda text: "; ".join(map(_masked_pair, text.split("; ")))
    if lower == "set-cookie":
        return _masked_set_cookie
    if lower in _CREDENTIALS:
        return _masked_credentials
    if lower in _URLS:
        return masked_url
    # RFC 6455's key is a number that nobody keeps; it reads like a secret's name.
    if _SECRET_NAMES.search(lower) and not lower.startswith("sec-websocket-"):
        return lambda text: masked(lower, text)
    return _masked_tokens


def _masked_pair(pair: str) -> str:
    name, equals, value = pair.partition("=")
    # A cookie without a name is all value.
    return f"{name}={masked('', value) if value else ''}" if equals else masked("", pair)


def _masked_set_cookie(text: str) -> str:
    pair, semicolon, attributes = text.partition(";")
    return _masked_pair(pair) + semicolon + attributes


def _masked_credentials(text: str) -> str:
    scheme, space, rest = text.partition(" ")
    return f"{scheme} {masked('', rest)}" if space else masked("", text)


def _masked_parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    if not equals:
        return _masked_tokens(part)
    known = unquote(name)
    if not is_open(known) and (known in _LOGIN_NAMES or _SECRET_NAMES.search(known)):
        # Without the length, which would make the URL no URL.
        return f"{name}={masked(known, value).partition(' ')[0]}"
    if _holds_secrets(unquote(value)):
        return f"{name}={masked_url(unquote(value)).replace('&', '%26').replace('#', '%23')}"
    return f"{name}={_masked_tokens(value)}"


def _holds_secrets(value: str) -> bool:
    """Tell whether a parameter's value is itself a URL with something to hide, as a return URL may be."""
    _, question, query = value.partition("?")
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)] if question else []
    return any(name in _LOGIN_NAMES or _SECRET_NAMES.search(name) for name in names)


def _masked_tokens(text: str) -> str:
    return _JWT.sub(lambda found: masked("", found[0]), text)
