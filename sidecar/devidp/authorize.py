"""The authorization endpoint and the page at which one chooses who to be (OIDC Core §3.1.2)."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from sidecar.core.errors import BadRequest
from sidecar.core.flows.parameters import Parameters, parse_parameters
from sidecar.core.http import NO_STORE, HeaderPair, Response
from sidecar.devidp import views
from sidecar.devidp.answers import parse_form
from sidecar.devidp.browser import Browser
from sidecar.devidp.memory import CODE_SECONDS, LOGIN_SECONDS, Code, Login, Memory
from sidecar.devidp.people import typed_person
from sidecar.devidp.requests import AuthorizationRequest, Return, find_return, origin_of, parse_authorization
from sidecar.devidp.values import OAuthError, Person

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.devidp.signing import SigningKey
    from sidecar.devidp.values import Client, ProviderRequest

__all__ = ["Authorize"]

_MAX_REQUEST: Final = 16384
_TYPED: Final = ("user", "name", "email", "groups", "claims", "unverified")


class Authorize:
    """Answers authorization requests, by what is remembered of the browser or by asking."""

    def __init__(
        self,
        issuer: str,
        clients: Mapping[str, Client],
        people: Sequence[Person],
        memory: Memory,
        key: SigningKey,
    ) -> None:
        self._issuer = issuer
        self._clients = clients
        self._people = tuple(people)
        self._memory = memory
        self._key = key

    def authorize(self, request: ProviderRequest, browser: Browser) -> Response:
        """Answer the endpoint, by GET or POST (OIDC Core §3.1.2.1)."""
        parameters = parse_form(request) if request.method == "POST" else parse_parameters(request.query)
        return self._answer(parameters, browser, None)

    def choose(self, request: ProviderRequest, browser: Browser) -> Response:
        """Answer the choice of a person; the authorization request comes along and is checked again."""
        form = parse_form(request)
        wanted = form.single("request") or ""
        if len(wanted) > _MAX_REQUEST or not browser.is_own_form(form.single("csrf_token") or "", wanted):
            raise OAuthError(
                "invalid_request", "This form is not from this browser, or from before a restart."
            )
        return self._answer(parse_parameters(wanted.encode()), browser, form)

    def _answer(self, parameters: Parameters, browser: Browser, choice: Parameters | None) -> Response:
        back = find_return(parameters, self._clients)
        try:
            parameters.require_unique()
            wanted = parse_authorization(parameters, back)
            if choice is not None:
                return self._chosen(wanted, parameters, browser, choice)
            login = self._remembered(wanted, browser)
        except OAuthError as error:
            return self._send(back, {"error": error.code, "error_description": error.detail})
        except BadRequest as error:
            return self._send(back, {"error": "invalid_request", "error_description": str(error)})
        if login is None:
            return self._ask(wanted, parameters, browser)
        return self._grant(wanted, login, browser.cookie, ())

    def _remembered(self, wanted: AuthorizationRequest, browser: Browser) -> Login | None:
        """Return the login that will do for this request, None when somebody must be asked.

        Raises OAuthError("login_required") where asking is forbidden (prompt=none).
        """
        login = self._memory.logins.get(browser.cookie)
        if login is not None and not self._will_do(wanted, login):
            login = None
        if login is None and "none" in wanted.prompts:
            raise OAuthError("login_required", "nobody is signed in here who would do")
        return login

    def _will_do(self, wanted: AuthorizationRequest, login: Login) -> bool:
        if wanted.prompts & {"login", "select_account"}:
            return False
        if wanted.max_age is not None and self._memory.now() - login.auth_time > wanted.max_age:
            return False
        if wanted.id_token_hint is None:
            return True
        # OIDC Core §3.1.2.1: the person of the hint, or a question.
        return bool(self._key.verify_hint(wanted.id_token_hint, self._issuer)["sub"] == login.person.sub)

    def _ask(
        self,
        wanted: AuthorizationRequest,
        parameters: Parameters,
        browser: Browser,
        problem: str = "",
        typed: dict[str, str] | None = None,
    ) -> Response:
        text = urlencode(parameters.pairs)
        values = {
            "action": f"{self._issuer}/choose",
            "request": text,
            "csrf_token": browser.csrf_token(text),
            "hint": wanted.login_hint,
            "problem": problem,
            "typed": dict.fromkeys(_TYPED, "") | (typed or {}),
        }
        return views.choose_page(
            wanted.back.client,
            (*self._people, *self._memory.recent),
            values,
            form_targets=(origin_of(wanted.back.redirect_uri),),
            headers=browser.set_cookie(browser.cookie),
            status=400 if problem else 200,
        )

    def _chosen(
        self, wanted: AuthorizationRequest, parameters: Parameters, browser: Browser, choice: Parameters
    ) -> Response:
        if choice.single("cancel") is not None:
            raise OAuthError("access_denied", "the person went back")
        try:
            person = self._find_person(choice)
        except OAuthError as error:
            typed = {name: choice.single(name) or "" for name in _TYPED}
            return self._ask(wanted, parameters, browser, error.detail, typed)
        self._memory.end_login(browser.cookie)
        now = self._memory.now()
        login = Login(sid=self._memory.token(), person=person, auth_time=int(now), until=now + LOGIN_SECONDS)
        # A new name for the browser at each login: one that was planted before is worth nothing after.
        cookie = self._memory.token()
        return self._grant(wanted, login, cookie, browser.set_cookie(cookie))

    def _find_person(self, choice: Parameters) -> Person:
        sub = choice.single("person")
        if sub:
            for person in (*self._people, *self._memory.recent):
                if hmac.compare_digest(person.sub.encode(), sub.encode()):
                    return person
            raise OAuthError("invalid_request", "There is nobody of that name here.")
        person = typed_person(choice)
        self._memory.remember(person)
        return person

    def _grant(
        self, wanted: AuthorizationRequest, login: Login, cookie: str, headers: tuple[HeaderPair, ...]
    ) -> Response:
        joined = self._memory.join(cookie, login, wanted.back.client.client_id)
        text = self._memory.token()
        self._memory.codes[text] = Code(
            client_id=wanted.back.client.client_id,
            redirect_uri=wanted.back.redirect_uri,
            challenge=wanted.challenge,
            scopes=wanted.scopes,
            nonce=wanted.nonce,
            login=joined,
            until=self._memory.now() + CODE_SECONDS,
        )
        return self._send(wanted.back, {"code": text}, headers)

    def _send(
        self, back: Return, answer: Mapping[str, str], headers: tuple[HeaderPair, ...] = ()
    ) -> Response:
        """Send an answer, or an error, back to the client, with `state` and our issuer (RFC 9207 §2)."""
        parameters = {**answer, "iss": self._issuer}
        if back.state is not None:
            parameters["state"] = back.state
        if back.mode == "form_post":
            page = views.form_post_page(back.redirect_uri, parameters, origin_of(back.redirect_uri))
            return Response(status=200, headers=(*page.headers, *headers), body=page.body)
        location = back.url(parameters).encode("ascii")
        own: tuple[HeaderPair, ...] = (
            (b"Location", location),
            NO_STORE,
            (b"Referrer-Policy", b"no-referrer"),
        )
        return Response(status=303, headers=(*own, *headers))
