"""Doorward as the relying party under test: a browser in front, gate, flows and runner, HTTP behind."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import httpx

from sidecar.core.decision import Flow, Forward, Respond
from sidecar.core.runtime import Provider as Settings
from sidecar.core.runtime import Site
from sidecar.core.secret import Secret
from tests.conformance_rp.op import SECRET, Provider
from tests.core.gatesetup import NOW, World, head, site
from tests.core.oidcsetup import provider
from tests.effects.surroundings import Bench, Body, serving

__all__ = ["Mode", "RelyingParty", "against"]

type Mode = Literal["query", "form_post"]

HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


@dataclass
class RelyingParty:
    """One process and one person's browser."""

    op: Provider
    bench: Bench
    world: World
    cookies: dict[bytes, bytes] = field(default_factory=dict)

    async def send(
        self, method: bytes, target: str, body: bytes = b"", *pairs: tuple[bytes, bytes]
    ) -> Respond | Forward:
        """Send a request as a navigation, keep the cookies, return the decision."""
        cookie = b"; ".join(b"%b=%b" % pair for pair in self.cookies.items()) or None
        kind = ((b"Content-Type", b"application/x-www-form-urlencoded"),) if body else ()
        navigation = ((b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Dest", b"document"))
        asked = head(target.encode(), *navigation, *kind, *pairs, method=method, cookie=cookie)
        decision = self.world.decide(asked)
        result = await self.bench.runner.run(decision, Body(body)) if isinstance(decision, Flow) else decision
        self._keep_cookies(result)
        return result

    async def get(self, target: str) -> Respond:
        result = await self.send(b"GET", target)
        assert isinstance(result, Respond), result
        return result

    async def log_in(self, target: str = "/app/x?y=1") -> Respond:
        """Log in from the start, by way of the provider, to the callback's answer."""
        started = await self.get(target)
        if location(started) is None:
            return started
        return await self.come_back(await self.visit_provider(str(location(started))))

    async def visit_provider(self, url: str) -> httpx.Response:
        """Open the authorization request as a browser does: over HTTP."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(url)

    async def come_back(self, answer: httpx.Response) -> Respond:
        """Follow the provider's redirect, or send its form."""
        if answer.status_code == 302:
            parts = urlsplit(answer.headers["location"])
            result = await self.send(b"GET", f"{parts.path}?{parts.query}")
        else:
            form = {unescape(name): unescape(value) for name, value in HIDDEN.findall(answer.text)}
            pairs = ((b"Origin", self.op.issuer.encode()), (b"Sec-Fetch-Site", b"cross-site"))
            result = await self.send(b"POST", "/oauth2/callback", urlencode(form).encode(), *pairs)
        assert isinstance(result, Respond), result
        return result

    async def is_signed_in(self) -> bool:
        return isinstance(await self.send(b"GET", "/app/"), Forward)

    def refusals(self) -> list[Any]:
        """Return the codes with which logins and refreshes were refused."""
        names = {"login_refused", "refresh_refused"}
        return [fields["code"] for name, fields in self.bench.observer.events if name in names]

    def wait(self, seconds: float) -> None:
        """Let time pass, here and at the provider."""
        self.world.now += seconds
        self.bench.now = self.op.now = self.world.now

    def _keep_cookies(self, result: Respond | Forward) -> None:
        if isinstance(result, Respond):
            values = [value for name, value in result.response.headers if name == b"Set-Cookie"]
        else:
            values = list(result.finish.set_cookies)
        for value in values:
            name, _, content = value.partition(b";")[0].partition(b"=")
            if b"Max-Age=0" in value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = content


def location(respond: Respond) -> str | None:
    values = [value.decode("ascii") for name, value in respond.response.headers if name == b"Location"]
    return values[0] if values else None


@contextlib.asynccontextmanager
async def relying_party(op: Provider, mode: Mode, settings: dict[str, Any]) -> AsyncIterator[RelyingParty]:
    async with serving(op) as origin, Bench() as bench:
        op.issuer = op.issuer or origin
        made: Settings = provider(
            issuer=origin,
            response_mode=mode,
            auth_method="client_secret_basic",
            client_secret=Secret(SECRET.encode()),
            **settings,
        )
        at: Site = site(providers={"main": made})
        yield RelyingParty(op, bench, World((at,), now=NOW))


def against(
    op: Provider,
    script: Callable[[RelyingParty], Awaitable[None]],
    mode: Mode = "query",
    **settings: Any,
) -> RelyingParty:
    """Run a script of browser and provider; return the relying party for what is left to look at."""

    async def main() -> RelyingParty:
        async with relying_party(op, mode, settings) as party:
            await asyncio.wait_for(script(party), 30)
            return party

    return asyncio.run(main())
