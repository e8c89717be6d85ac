"""An HTTP user agent for black-box tests that behaves as browsers do where it matters to Doorward.

It keeps cookies as RFC 6265bis has it (`Secure`, `__Host-`, SameSite, Max-Age; ports share them), sends
`Sec-Fetch-*`, follows redirects and submits forms. What browsers would refuse silently it refuses loudly.
"""

from __future__ import annotations

import copy
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urldefrag, urlencode, urljoin, urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Agent", "Cookie", "Form", "Page", "is_ours", "on_loopback"]

_MAX_HOPS = 20
_SECONDS = 30.0
_SEE_OTHER = frozenset({301, 302, 303})
_REDIRECTS = _SEE_OTHER | {307, 308}
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookie:
    """A cookie as a browser keeps it."""

    host: str
    name: str
    value: str
    attributes: Mapping[str, str]

    @property
    def same_site(self) -> str:
        return self.attributes.get("samesite", "Lax").lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form of a page: where it goes, and its fields with their values."""

    action: str
    method: str
    fields: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where a navigation or a call ended. `hops` are the redirects on the way: URL, status, Location."""

    url: str
    status: int
    headers: httpx.Headers
    content: bytes
    hops: tuple[tuple[str, int, str], ...] = ()

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        import json

        return json.loads(self.content)

    @property
    def forms(self) -> list[Form]:
        parser = _Forms(self.url)
        parser.feed(self.text)
        return parser.forms

    @property
    def location(self) -> str:
        """Return where a redirect that was not followed leads."""
        return urljoin(self.url, self.headers["location"])


class _Forms(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        if tag == "form":
            action = urljoin(self._base, facts.get("action") or self._base)
            self.forms.append(Form(action=action, method=facts.get("method", "get").upper(), fields={}))
        elif tag == "input" and "name" in facts and self.forms:
            self.forms[-1].fields[facts["name"]] = facts.get("value", "")


@dataclass(slots=True)
class Agent:
    """One person's browser. `note_secret` is told each cookie value and code that it sees."""

    verify: ssl.SSLContext | bool = True
    note_secret: Callable[[str], object] = lambda _: None
    takes_cookies: bool = True
    jar: dict[tuple[str, str], Cookie] = field(default_factory=dict)
    longest_cookie_header: int = 0

    def clone(self) -> Agent:
        """Return another browser with a copy of all cookies, such as a thief's."""
        twin = copy.copy(self)
        twin.jar = dict(self.jar)
        return twin

    def cookie_header(self, url: str) -> str:
        """Return the Cookie field that goes with a same-origin request, for clients of another kind."""
        return self._cookie_header("GET", url, None, is_navigation=True)

    def cookies(self, host: str = "localhost") -> list[Cookie]:
        return [cookie for cookie in self.jar.values() if cookie.host == host]

    def open(self, url: str, *, follow: bool = True, site: str | None = None, **headers: str) -> Page:
        """Go to a URL, from the address bar or by a link on a page of the origin `site`."""
        return self._navigate("GET", url, None, site, headers, follow=follow)

    def submit(
        self, page: Page, fields: Mapping[str, str] | None = None, *, index: int = 0, follow: bool = True
    ) -> Page:
        """Send a form of the page, with these fields filled in."""
        form = page.forms[index]
        data = {**form.fields, **(fields or {})}
        if form.method == "GET":
            url = form.action.partition("?")[0] + "?" + urlencode(data)
            return self._navigate("GET", url, None, _origin(page.url), {}, follow=follow)
        return self._navigate("POST", form.action, data, _origin(page.url), {}, follow=follow)

    def login(self, url: str, name: str) -> Page:
        """Go to a protected URL and sign in at the interop provider's form; return where that ends."""
        page = self.open(url)
        assert page.forms, f"no sign-in form at {page.url}: {page.status} {page.text[:500]}"
        return self.submit(page, {"login": name})

    def fetch(
        self,
        url: str,
        method: str = "GET",
        *,
        content: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        site: str | None = None,
    ) -> Page:
        """Make a request as a page's script does; redirects are not followed."""
        origin = site or _origin(url)
        sent = {
            "Accept": "*/*",
            "Sec-Fetch-Mode": "cors",
            "Sec-Fetch-Dest": "empty",
            "Sec-Fetch-Site": _relation(origin, [url]),
            **({"Origin": origin} if method not in {"GET", "HEAD"} or site else {}),
            **(headers or {}),
        }
        return self._send(method, url, sent, content, initiator=origin, is_navigation=False)

    def _navigate(
        self,
        method: str,
        url: str,
        data: Mapping[str, str] | None,
        initiator: str | None,
        headers: Mapping[str, str],
        *,
        follow: bool,
    ) -> Page:
        hops: list[tuple[str, int, str]] = []
        chain: list[str] = []
        fragment = ""
        while len(hops) <= _MAX_HOPS:
            url, own = urldefrag(url)
            fragment = own or fragment
            chain.append(url)
            sent = {
                "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "document",
                "Sec-Fetch-Site": "none" if initiator is None else _relation(initiator, chain),
                "Sec-Fetch-User": "?1",
                "Upgrade-Insecure-Requests": "1",
                **headers,
            }
            content = None
            if method == "POST":
                content = urlencode(data or {}).encode()
                sent |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": initiator or "null"}
            page = self._send(method, url, sent, content, initiator=initiator, is_navigation=True)
            if page.status not in _REDIRECTS or not follow:
                shown = f"{page.url}#{fragment}" if fragment else page.url
                return replace(page, url=shown, hops=tuple(hops))
            hops.append((url, page.status, page.location))
            url = page.location
            if page.status in _SEE_OTHER:
                method = "GET"
        raise AssertionError("redirects without end:\n" + "\n".join(map(str, hops)))

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | Iterator[bytes] | None,
        *,
        initiator: str | None,
        is_navigation: bool,
    ) -> Page:
        self._note_codes(url)
        cookie = self._cookie_header(method, url, initiator, is_navigation=is_navigation)
        self.longest_cookie_header = max(self.longest_cookie_header, len(cookie))
        sent = {
            "Host": urlsplit(url).netloc,
            "User-Agent": "agent of the tests",
            **headers,
            **({"Cookie": cookie} if cookie else {}),
        }
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), _SECONDS)
        # A transport alone: httpx.Client would keep cookies and follow redirects in its own way.
        # Reading the authorities of this machine takes longer than the request, so only https does it.
        verify = self.verify if url.startswith("https:") else False
        with httpx.HTTPTransport(verify=verify, trust_env=False) as transport:
            # The certificate's name is the URL's, whatever address stands for it.
            extensions = {"timeout": timeout, "sni_hostname": urlsplit(url).hostname or ""}
            request = httpx.Request(
                method, on_loopback(url), headers=sent, content=content, extensions=extensions
            )
            response = transport.handle_request(request)
            response.request = request
            body = response.read()
            response.close()
        for value in response.headers.get_list("set-cookie"):
            self._take(url, value)
        return Page(url=url, status=response.status_code, headers=response.headers, content=body)

    def _note_codes(self, url: str) -> None:
        for name, value in parse_qsl(urlsplit(url).query):
            if name in {"code", "id_token_hint"}:
                self.note_secret(value)

    def _cookie_header(self, method: str, url: str, initiator: str | None, *, is_navigation: bool) -> str:
        parts = urlsplit(url)
        is_cross = initiator is not None and _site(initiator) != _site(url)
        sent = []
        for cookie in self.cookies(parts.hostname or ""):
            if "secure" in cookie.attributes and parts.scheme != "https":
                continue
            # RFC 6265bis §5.8.3: across sites Lax goes with top-level navigations of safe methods only.
            is_lax = cookie.same_site == "lax" and is_navigation and method in {"GET", "HEAD"}
            if is_cross and cookie.same_site != "none" and not is_lax:
                continue
            sent.append(f"{cookie.name}={cookie.value}")
        return "; ".join(sent)

    def _take(self, url: str, line: str) -> None:
        first, *rest = line.split(";")
        name, _, value = first.strip().partition("=")
        attributes = {
            key.strip().lower(): content.strip() for key, _, content in (part.partition("=") for part in rest)
        }
        parts = urlsplit(url)
        host = parts.hostname or ""
        if "secure" in attributes and parts.scheme != "https":
            raise AssertionError(f"a browser refuses a Secure cookie over http: {name}")
        if name.startswith("__Host-"):
            assert "secure" in attributes, name
            assert attributes.get("path") == "/", name
            assert "domain" not in attributes, name
        if attributes.get("samesite", "").lower() == "none":
            assert "secure" in attributes, name
        assert len(line) <= 4096, f"a browser may refuse {name}: {len(line)} bytes"
        if not self.takes_cookies:
            return
        if attributes.get("max-age") == "0":
            self.jar.pop((host, name), None)
            return
        if is_ours(host):
            self.note_secret(value)
        self.jar[host, name] = Cookie(host=host, name=name, value=value, attributes=attributes)


def is_ours(host: str) -> bool:
    """Tell whether a host is a name that Doorward has in tests; providers are at 127.0.0.1."""
    return host == "localhost" or host.endswith(".localhost")


def on_loopback(url: str) -> str:
    """Return the URL with the address that RFC 6761 gives to names under localhost; not all resolvers do."""
    parts = urlsplit(url)
    if not (parts.hostname or "").endswith(".localhost"):
        return url
    return url.replace(parts.netloc, f"127.0.0.1:{parts.port or _DEFAULT_PORTS[parts.scheme]}", 1)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _site(url: str) -> tuple[str, str]:
    """Return scheme and host: tests use no names of which several make one site."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or ""


def _relation(initiator: str, chain: list[str]) -> str:
    """Return the value of Sec-Fetch-Site for a request and its redirects (Fetch Metadata §2.3)."""
    if any(_site(initiator) != _site(url) for url in chain):
        return "cross-site"
    return "same-origin" if all(_origin(url) == initiator for url in chain) else "same-site"
