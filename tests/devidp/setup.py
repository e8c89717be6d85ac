"""A provider with a clock that stands, and a browser and two clients that drive it by hand."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html import unescape
from itertools import count
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from sidecar.core.http import HeaderPair, Response, header_values
from sidecar.core.secret import Secret
from sidecar.core.state import Surroundings
from sidecar.devidp import Client, DevProvider, ProviderRequest, Reply

ISSUER = "http://localhost:9000/doorward-development"
CALLBACK = "http://localhost:8080/oauth2/callback"
AFTER = "http://localhost:8080/oauth2/sign_out/return"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
FORM: HeaderPair = (b"Content-Type", b"application/x-www-form-urlencoded")

PUBLIC = Client(
    client_id="spa",
    redirect_uris=(CALLBACK, "http://localhost:8080/cb?x=1"),
    post_logout_redirect_uris=(AFTER,),
)
SECRET = Client(
    client_id="web",
    name="the web application",
    redirect_uris=("http://localhost:8081/cb",),
    secret=Secret(b"s3cret:+ %"),
    backchannel_logout_uri="http://localhost:8081/logout",
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def entropy_source() -> Iterator[bytes]:
    for number in count():
        yield hashlib.sha256(b"%d" % number).digest()


class World:
    """A provider, its clock, and one browser."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        blocks = entropy_source()
        surroundings = Surroundings(
            clock=self.clock,
            entropy=lambda size: b"".join(next(blocks) for _ in range(1 + size // 32))[:size],
        )
        self.provider = DevProvider(ISSUER, (PUBLIC, SECRET), surroundings, development=True, **options)
        self.jar: dict[bytes, bytes] = {}

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | str = "",
        form: Mapping[str, str] | str | None = None,
        headers: tuple[HeaderPair, ...] = (),
    ) -> Reply:
        """Send one request with the browser's cookies and take what it sets."""
        cookies = b"; ".join(b"%b=%b" % pair for pair in self.jar.items())
        sent = (
            *headers,
            *(((b"Cookie", cookies),) if cookies else ()),
            *((FORM,) if form is not None else ()),
        )
        reply = self.provider.handle(
            ProviderRequest(
                method=method, path=path, query=encoded(query), headers=tuple(sent), body=encoded(form or "")
            )
        )
        for value in header_values(reply.response.headers, b"set-cookie"):
            name, _, rest = value.partition(b"=")
            content = rest.partition(b";")[0]
            if content:
                self.jar[name] = content
            else:
                self.jar.pop(name, None)
        return reply

    def authorize(self, **more: str | None) -> Response:
        return self.request("GET", "/authorize", authorization(**more)).response

    def choose(self, page: Response, **choice: str) -> Response:
        """Send the page's form with a choice."""
        return self.request("POST", "/choose", form={**hidden(page), **choice}).response

    def log_in(self, person: str = "ada", **more: str | None) -> str:
        """Log somebody in and return the code."""
        page = self.authorize(**more)
        answer = page if page.status == 303 else self.choose(page, person=person)
        return answer_of(answer)["code"]

    def token(self, form: Mapping[str, str | None], headers: tuple[HeaderPair, ...] = ()) -> Response:
        given = {name: value for name, value in form.items() if value is not None}
        return self.request("POST", "/token", form=given, headers=headers).response

    def redeem(self, redeemed: str, headers: tuple[HeaderPair, ...] = (), **more: str | None) -> Response:
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": redeemed,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            "client_id": "spa",
        }
        return self.token(form | more, headers)

    def tokens(self, person: str = "ada", **more: str | None) -> dict[str, Any]:
        return document(self.redeem(self.log_in(person, **more)))

    def userinfo(self, access_token: str) -> Response:
        bearer = (b"Authorization", b"Bearer " + access_token.encode())
        return self.request("GET", "/userinfo", headers=(bearer,)).response


def authorization(**more: str | None) -> dict[str, str]:
    """Return the parameters of a good request, some replaced or (None) left out."""
    parameters: dict[str, str | None] = {
        "client_id": "spa",
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": "openid profile email",
        "state": "st&te",
        "nonce": "n-1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return {name: value for name, value in (parameters | more).items() if value is not None}


def encoded(fields: Mapping[str, str] | str) -> bytes:
    return (fields if isinstance(fields, str) else urlencode(fields)).encode()


def header(response: Response, name: bytes) -> str:
    [value] = header_values(response.headers, name)
    return value.decode()


def answer_of(response: Response) -> dict[str, str]:
    """Return the parameters of an authorization response by redirect."""
    assert response.status == 303
    query = parse_qs(urlsplit(header(response, b"location")).query, strict_parsing=True)
    return {name: value for name, [value] in query.items()}


def hidden(page: Response) -> dict[str, str]:
    """Return the hidden fields of a page's first form."""
    form = page.body.decode().partition("</form>")[0]
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
    return {unescape(name): unescape(value) for name, value in fields}


def document(response: Response) -> dict[str, Any]:
    value = json.loads(response.body)
    assert isinstance(value, dict)
    return value


def query_of(response: Response) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(header(response, b"location")).query)
