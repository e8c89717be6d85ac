"""Sign-out by a relying party (OIDC RP-Initiated Logout), telling the others (OIDC Back-Channel Logout)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from sidecar.core.flows.parameters import parse_parameters
from sidecar.core.http import NO_STORE, HeaderPair, Response
from sidecar.devidp import views
from sidecar.devidp.answers import parse_form
from sidecar.devidp.values import LogoutNotice, OAuthError, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.flows.parameters import Parameters
    from sidecar.devidp.browser import Browser
    from sidecar.devidp.memory import Login, Memory
    from sidecar.devidp.signing import SigningKey
    from sidecar.devidp.values import Client, ProviderRequest

__all__ = ["Logout"]

_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_NOTICE_SECONDS: Final = 120
_FIELDS: Final = ("client_id", "post_logout_redirect_uri", "state")


class Logout:
    """Ends logins."""

    def __init__(self, issuer: str, clients: Mapping[str, Client], memory: Memory, key: SigningKey) -> None:
        self._issuer = issuer
        self._clients = clients
        self._memory = memory
        self._key = key

    def end_session(self, request: ProviderRequest, browser: Browser) -> Reply:
        """Answer the endpoint, by GET or POST. Raises OAuthError, which a page tells.

        Without a hint that names who is signed in, the person is asked first: any site can send a browser
        here (§2 and §6 of the specification).
        """
        parameters = parse_form(request) if request.method == "POST" else parse_parameters(request.query)
        parameters.require_unique()
        target = self._target(parameters)
        login = self._memory.logins.get(browser.cookie)
        if login is None or self._hinted_sub(parameters) == login.person.sub:
            return self._end(browser, target)
        fields = {name: value for name in _FIELDS if (value := parameters.single(name))}
        token = browser.csrf_token(urlencode(fields))
        action = f"{self._issuer}/end_session/confirm"
        user = login.person.name or login.person.sub
        page = views.sign_out_page(action, token, fields, user, browser.set_cookie(browser.cookie))
        return Reply(response=page)

    def confirm(self, request: ProviderRequest, browser: Browser) -> Reply:
        """Sign out somebody who was asked."""
        form = parse_form(request)
        form.require_unique()
        fields = {name: value for name in _FIELDS if (value := form.single(name))}
        if not browser.is_own_form(form.single("csrf_token") or "", urlencode(fields)):
            raise OAuthError(
                "invalid_request", "This form is not from this browser, or from before a restart."
            )
        return self._end(browser, self._target(form))

    def _hinted_sub(self, parameters: Parameters) -> object:
        hint = parameters.single("id_token_hint")
        return None if not hint else self._key.verify_hint(hint, self._issuer)["sub"]

    def _target(self, parameters: Parameters) -> str | None:
        """Return where to go afterwards: to the letter one of the URIs that the client registered."""
        uri = parameters.single("post_logout_redirect_uri")
        if not uri:
            return None
        client = self._client(parameters)
        if client is None or uri not in client.post_logout_redirect_uris:
            raise OAuthError("invalid_request", "post_logout_redirect_uri is not registered, to the letter.")
        state = parameters.single("state")
        return uri if not state else uri + ("&" if "?" in uri else "?") + urlencode({"state": state})

    def _client(self, parameters: Parameters) -> Client | None:
        named, hint = parameters.single("client_id"), parameters.single("id_token_hint")
        hinted = str(self._key.verify_hint(hint, self._issuer)["aud"]) if hint else None
        if named and hinted and named != hinted:
            raise OAuthError("invalid_request", "client_id is not that of the id_token_hint")
        return self._clients.get(named or hinted or "")

    def _end(self, browser: Browser, target: str | None) -> Reply:
        login = self._memory.end_login(browser.cookie)
        notices = () if login is None else tuple(self._notices(login))
        forget = browser.set_cookie("")
        if target is None:
            return Reply(response=views.signed_out_page(forget), notices=notices)
        headers: tuple[HeaderPair, ...] = ((b"Location", target.encode("ascii")), NO_STORE, *forget)
        return Reply(response=Response(status=303, headers=headers), notices=notices)

    def _notices(self, login: Login) -> list[LogoutNotice]:
        """Return a logout token for each client of the login that wants one (Back-Channel Logout §2.4)."""
        clients = [self._clients[name] for name in sorted(login.client_ids)]
        return [
            LogoutNotice(
                client_id=client.client_id,
                url=client.backchannel_logout_uri,
                logout_token=self._logout_token(client, login),
            )
            for client in clients
            if client.backchannel_logout_uri is not None
        ]

    def _logout_token(self, client: Client, login: Login) -> str:
        now = int(self._memory.now())
        return self._key.sign(
            {
                "iss": self._issuer,
                "aud": client.client_id,
                "sub": login.person.sub,
                "sid": login.sid,
                "iat": now,
                "exp": now + _NOTICE_SECONDS,
                "jti": self._memory.token(),
                "events": {_EVENT: {}},
            },
            "logout+jwt",
        )
