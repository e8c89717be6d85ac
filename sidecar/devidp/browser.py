"""One browser at the provider: its cookie, and forms that prove to be its own."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from sidecar.core.cookies import parse_cookies
from sidecar.core.http import HeaderPair, header_values

if TYPE_CHECKING:
    from sidecar.devidp.memory import Memory
    from sidecar.devidp.values import ProviderRequest

__all__ = ["Browser", "BrowserCookies"]

_VALUE: Final = re.compile(rb"[A-Za-z0-9_-]{32}")


class BrowserCookies:
    """The provider's cookie: a random name for the browser, worth nothing anywhere else (S72).

    All ports of a host share cookies, so the name holds the port; the path is the issuer's.
    """

    def __init__(self, port: int, path: str, memory: Memory) -> None:
        self.name = b"doorward-development-provider-%d" % port
        self.path = path.encode("ascii") or b"/"
        self.secret = memory.surroundings.entropy(32)
        self._memory = memory

    def read(self, request: ProviderRequest) -> Browser:
        """Return the browser that sent `request`, a new one when it has no cookie of ours."""
        for field in header_values(request.headers, b"cookie"):
            for name, value in parse_cookies(field):
                if name == self.name and _VALUE.fullmatch(value):
                    return Browser(self, value.decode("ascii"))
        return Browser(self, self._memory.token())


class Browser:
    """A browser by its cookie."""

    def __init__(self, cookies: BrowserCookies, cookie: str) -> None:
        self._cookies = cookies
        self.cookie = cookie

    def csrf_token(self, about: str) -> str:
        """Return what a form about `about` carries, so that no other site can send it."""
        text = f"{self.cookie}\n{about}".encode()
        return hmac.new(self._cookies.secret, text, hashlib.sha256).hexdigest()

    def is_own_form(self, csrf_token: str, about: str) -> bool:
        """Tell whether a form came from a page that this browser was given."""
        return hmac.compare_digest(csrf_token.encode(), self.csrf_token(about).encode())

    def set_cookie(self, cookie: str) -> tuple[HeaderPair, ...]:
        """Return the field that names the browser `cookie`, "" to forget it."""
        age = b"" if cookie else b"; Max-Age=0"
        value = b"%b=%b; Path=%b; HttpOnly; SameSite=Lax%b" % (
            self._cookies.name,
            cookie.encode("ascii"),
            self._cookies.path,
            age,
        )
        return ((b"Set-Cookie", value),)
