"""A browser, a provider on paper, and one process between them, all without a loop, a network or a clock.

`Browser.get` and `Browser.post` send a request head through the gate and carry a flow's effects out by hand,
with `PaperProvider` as the provider. What a test wants otherwise it changes there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from sidecar.core.decision import Decision, Flow, Forward, Respond
from sidecar.core.effects import (
    CallProvider,
    ClaimOnce,
    Effect,
    Emit,
    LoadKeys,
    LoadMetadata,
    Once,
    ProviderAnswer,
    ReadBody,
    Revoke,
)
from sidecar.core.errors import BadRequest, DoorwardError
from sidecar.core.flows.failures import answer_failure
from sidecar.core.http import RequestHead
from sidecar.core.runtime import Provider, Site
from sidecar.core.secret import Secret
from sidecar.core.tokens import parse_jwks, parse_metadata
from tests.core.gatesetup import NOW, World, head
from tests.core.gatesetup import provider as made_provider
from tests.core.gatesetup import site as made_site
from tests.core.oidcsetup import answer, claims, jwk, jwks, metadata_document, rsa_key, sign

__all__ = ["Browser", "PaperProvider", "location", "page_of", "setup", "site_with"]

NAVIGATION = (
    (b"Sec-Fetch-Mode", b"navigate"),
    (b"Sec-Fetch-Dest", b"document"),
    (b"Sec-Fetch-Site", b"same-origin"),
)


@dataclass
class PaperProvider:
    """What the provider says and does. Change an attribute to make it do something else.

    `on_token` and `on_userinfo` may return an answer or raise; None answers well.
    """

    document: bytes = field(default_factory=metadata_document)
    keys: bytes = field(default_factory=lambda: jwks(jwk(rsa_key(), kid="k1")))
    fresh_keys: bytes | None = None
    unavailable: DoorwardError | None = None
    id_claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=lambda: {"sub": "248289"})
    token_members: dict[str, Any] = field(default_factory=dict)
    on_token: Callable[[dict[str, str]], ProviderAnswer] | None = None
    on_userinfo: Callable[[], ProviderAnswer] | None = None
    signer: Callable[[dict[str, Any]], str] = sign
    nonce: str = ""
    challenge: str = ""
    calls: list[CallProvider] = field(default_factory=list)
    token_forms: list[dict[str, str]] = field(default_factory=list)
    key_fetches: int = 0

    def authorize(self, url: str, **parameters: str | None) -> str:
        """Take an authorization request, as a person would who agrees; return the callback's query."""
        asked = dict(parse_qsl(urlsplit(url).query))
        self.nonce, self.challenge = asked["nonce"], asked["code_challenge"]
        response = {"code": "the-code", "state": asked["state"], **parameters}
        return urlencode({name: value for name, value in response.items() if value is not None})

    def call(self, request: CallProvider) -> ProviderAnswer:
        self.calls.append(request)
        if request.operation == "userinfo":
            return self.on_userinfo() if self.on_userinfo else answer(self.userinfo)
        form = dict(request.form or ())
        self.token_forms.append(form)
        if self.on_token is not None:
            return self.on_token(form)
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.challenge
        return self.tokens()

    def tokens(self, **members: Any) -> ProviderAnswer:
        """Return a token answer, with an ID token of `id_claims`; None leaves a member out."""
        body = {
            "access_token": "access-1",
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": "refresh-1",
            "id_token": self.signer(claims(**{"nonce": self.nonce, **self.id_claims})),
            **self.token_members,
            **members,
        }
        return answer({name: value for name, value in body.items() if value is not None})


@dataclass
class Browser:
    """One person's browser: it keeps cookies by name, as it is told."""

    world: World
    op: PaperProvider
    cookies: dict[bytes, bytes] = field(default_factory=dict)
    events: list[Emit] = field(default_factory=list)
    claimed: set[bytes] = field(default_factory=set)
    kept: dict[bytes, bytes] = field(default_factory=dict)
    once_runs: int = 0
    kept_for: list[float] = field(default_factory=list)
    set_cookies: list[bytes] = field(default_factory=list)
    host: bytes = b"app.example.com"

    def at(self, host: bytes) -> Browser:
        """Return the same browser at a host that shares none of its cookies with this one."""
        return replace(self, host=host, cookies={}, set_cookies=[])

    def get(self, target: str, *pairs: tuple[bytes, bytes]) -> Respond:
        decision = self.send(b"GET", target, NAVIGATION + pairs)
        assert isinstance(decision, Respond), decision
        return decision

    def post(self, target: str, form: dict[str, str] | str, *pairs: tuple[bytes, bytes]) -> Respond:
        body = form if isinstance(form, str) else urlencode(form)
        kind = (b"Content-Type", b"application/x-www-form-urlencoded")
        given = {name.lower() for name, _ in pairs}
        fixed = tuple(pair for pair in (*NAVIGATION, kind) if pair[0].lower() not in given)
        decision = self.send(b"POST", target, fixed + pairs, body.encode())
        assert isinstance(decision, Respond), decision
        return decision

    def send(
        self, method: bytes, target: str, pairs: tuple[tuple[bytes, bytes], ...] = (), body: bytes = b""
    ) -> Respond | Forward:
        decision = self.world.decide(self._head(method, target, pairs))
        result = self.carry_out(decision, body)
        self.keep_cookies(result)
        return result

    def _head(self, method: bytes, target: str, pairs: tuple[tuple[bytes, bytes], ...]) -> RequestHead:
        return head(target.encode(), *pairs, method=method, host=self.host, cookie=self.cookie_field())

    def cookie_field(self) -> bytes | None:
        return b"; ".join(b"%b=%b" % pair for pair in self.cookies.items()) or None

    def carry_out(self, decision: Decision, body: bytes = b"") -> Respond | Forward:
        if not isinstance(decision, Flow):
            return decision
        try:
            result: Respond | Forward = self.drive(decision.steps, body)
        except DoorwardError as error:
            return answer_failure(decision, error)
        return result

    def drive(self, steps: Any, body: bytes = b"") -> Any:
        result: object = None
        error: DoorwardError | None = None
        while True:
            try:
                effect = steps.send(result) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value
            result, error = None, None
            try:
                result = self.effect(effect, body)
            except DoorwardError as caught:
                error = caught

    def effect(self, effect: Effect, body: bytes) -> object:
        op = self.op
        match effect:
            case Emit():
                self.events.append(effect)
                return None
            case ReadBody():
                if len(body) > effect.max_bytes:
                    raise BadRequest("too_large")
                return body
            case ClaimOnce():
                is_first = effect.key not in self.claimed
                self.claimed.add(effect.key)
                return is_first
            case Revoke():
                self.world.state.revocations.add(effect.session_id, effect.until)
                return None
            case Once():
                if effect.key not in self.kept:
                    self.once_runs += 1
                    self.kept[effect.key] = self.drive(effect.steps())
                    self.kept_for.append(effect.keep_seconds)
                return self.kept[effect.key]
            case LoadMetadata() | LoadKeys() | CallProvider() if op.unavailable is not None:
                raise op.unavailable
            case LoadMetadata():
                return parse_metadata(op.document, effect.provider)
            case LoadKeys():
                if effect.unknown_kid is not None:
                    op.key_fetches += 1
                    op.keys = op.fresh_keys or op.keys
                return parse_jwks(op.keys)
            case CallProvider():
                return op.call(effect)
        raise AssertionError(effect)

    def keep_cookies(self, result: Respond | Forward) -> None:
        if isinstance(result, Respond):
            self.set_cookies = [v for name, v in result.response.headers if name == b"Set-Cookie"]
        else:
            self.set_cookies = list(result.finish.set_cookies)
        for value in self.set_cookies:
            name, _, content = value.partition(b";")[0].partition(b"=")
            if b"Max-Age=0" in value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = content

    def begin(self, target: str = "/app/x?y=1") -> str:
        """Open a page that needs a login; return the URL of the provider."""
        return location(self.get(target))

    def log_in(self, target: str = "/app/x?y=1") -> Respond:
        """Log in from the start to the callback's answer."""
        return self.come_back(self.op.authorize(self.begin(target)))

    def come_back(self, query: str, path: str = "/oauth2/callback") -> Respond:
        """Follow the provider's redirect to the callback."""
        return self.get(f"{path}?{query}", (b"Sec-Fetch-Site", b"cross-site"))

    def event_codes(self, name: str) -> list[object]:
        return [dict(event.fields).get("code") for event in self.events if event.event == name]

    @property
    def has_session(self) -> bool:
        return any(name.startswith(b"__Host-doorward") for name in self.cookies)


def site_with(*providers: Provider, **changes: Any) -> Site:
    """Return a site with these providers, one with a secret and Basic by default."""
    made = providers or (
        made_provider(auth_method="client_secret_basic", client_secret=Secret(b"client-secret")),
    )
    return made_site(providers={each.key: each for each in made}, **changes)


def setup(*providers: Provider, **changes: Any) -> Browser:
    """Return a browser in front of one process that serves one site."""
    return Browser(World((site_with(*providers, **changes),), now=NOW), PaperProvider())


def location(respond: Respond) -> str:
    values = [value for name, value in respond.response.headers if name == b"Location"]
    assert len(values) == 1, respond
    return values[0].decode("ascii")


def page_of(respond: Respond) -> tuple[str, dict[str, Any]]:
    page = respond.response.page
    assert page is not None, respond
    return page.name, dict(page.values)
