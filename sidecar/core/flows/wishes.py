"""What a request to one of our endpoints asks for: its parameters, and where it wants to lead back to.

That is `rd`. Where we stand in for oauth2-proxy (`compat`), its recipes count too:

-   They write the URL into `rd` as it is, `?rd=https://app.example/x?a=1&b=2`, whose second parameter is no
    more `rd`'s by the rules. An `rd` that begins like a URL and has a question mark of its own goes on to the
    end of the query, byte for byte: whoever escapes a URL escapes that. It has to be the last parameter.
-   An ingress may tell it in `X-Auth-Request-Redirect`. It is believed from a trusted proxy only, for a page
    of somebody else's can't set a field, but a program can.

Wherever a wish comes from, `safe_return_url` has the last word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core.flows.answers import is_from_proxy
from sidecar.core.flows.parameters import parse_parameters
from sidecar.core.http import single_header

if TYPE_CHECKING:
    from sidecar.core.flows.call import Call
    from sidecar.core.flows.parameters import Parameters

__all__ = ["Wish", "is_stand_in", "read_wish"]

# An `rd` up to its first "&", when it is a URL that nobody has escaped; everything behind it is then its own.
_UNESCAPED: Final = re.compile(rb"(?P<before>(?:.*?&)??)rd=(?P<url>(?:https?://|/)[^&]*\?.*)", re.DOTALL)
_LITERAL: Final = re.compile(rb"(?:.*&)?rd=(?P<url>(?:https?://|/)[^&]*)(?:&.*)?", re.DOTALL)
_NO_URL: Final = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """`return_to` is unverified; None when nothing was said. `parameters` are the others, and `rd`."""

    return_to: str | None
    parameters: Parameters


def is_stand_in(call: Call) -> bool:
    """Tell whether we keep to oauth2-proxy's ways where they differ from ours."""
    return call.runtime.compat == "oauth2-proxy"


def read_wish(call: Call) -> Wish:
    """Read the query. Raises BadRequest for one that can't be read, or that has `rd` twice."""
    if not is_stand_in(call):
        parameters = parse_parameters(call.query)
        return Wish(return_to=parameters.single("rd") or None, parameters=parameters)
    found = _UNESCAPED.fullmatch(call.query)
    if found is not None:
        before = parse_parameters(found["before"].removesuffix(b"&"))
        # A further `rd` is part of the URL; one before it is one too many.
        if before.single("rd") is None:
            return Wish(return_to=found["url"].decode("latin-1"), parameters=before)
    parameters = parse_parameters(call.query)
    return Wish(return_to=_escaped(call, parameters) or _told_by_proxy(call), parameters=parameters)


def _escaped(call: Call, parameters: Parameters) -> str | None:
    """Return `rd`, decoded; as it is where decoding makes no URL of it, because it never was encoded."""
    value = parameters.single("rd")
    if value is not None and _NO_URL.search(value):
        literal = _LITERAL.fullmatch(call.query)
        if literal is not None:
            return literal["url"].decode("latin-1")
    return value or None


def _told_by_proxy(call: Call) -> str | None:
    told = single_header(call.head.headers, b"x-auth-request-redirect")
    if not told or not is_from_proxy(call):
        return None
    return told.decode("latin-1")
