"""The provider without I/O: a request in, a reply out, clock and randomness given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sidecar.core.development import BANNER, ISSUER_PATH, MARKER
from sidecar.core.errors import BadRequest, ConfigurationError
from sidecar.core.hosts import is_loopback_name
from sidecar.core.http import HeaderPair, Response
from sidecar.devidp import views
from sidecar.devidp.answers import json_answer
from sidecar.devidp.authorize import Authorize
from sidecar.devidp.browser import BrowserCookies
from sidecar.devidp.logout import Logout
from sidecar.devidp.memory import Memory
from sidecar.devidp.people import PEOPLE
from sidecar.devidp.signing import ALGORITHM, SigningKey
from sidecar.devidp.tokens import Tokens
from sidecar.devidp.values import OAuthError, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.core.identity import Json
    from sidecar.core.state import Surroundings
    from sidecar.devidp.values import Client, Person, ProviderRequest

__all__ = ["DevProvider", "with_banner"]

_BANNER: Final[HeaderPair] = (BANNER, b"embedded provider")
# Documents that a script of a single-page application reads: they are public.
_PUBLIC: Final[tuple[HeaderPair, ...]] = (
    (b"Cache-Control", b"no-cache"),
    (b"Access-Control-Allow-Origin", b"*"),
)
_GET: Final = frozenset({"GET", "HEAD"})
_POST: Final = frozenset({"POST"})
_METHODS: Final = {
    "/.well-known/openid-configuration": _GET,
    "/jwks": _GET,
    "/authorize": _GET | _POST,
    "/choose": _POST,
    "/token": _POST,
    "/userinfo": _GET | _POST,
    "/end_session": _GET | _POST,
    "/end_session/confirm": _POST,
}


class DevProvider:
    """An OpenID provider at which everybody may be anybody.

    `issuer` is `http://<loopback host>:<port>/doorward-development`. Raises ConfigurationError when it is
    anything else, or when `development` is not said (S72).
    """

    def __init__(
        self,
        issuer: str,
        clients: Sequence[Client],
        surroundings: Surroundings,
        *,
        people: Sequence[Person] = PEOPLE,
        development: bool = False,
    ) -> None:
        self.issuer = issuer
        self.authority, port, path = _checked_issuer(issuer, development=development)
        by_id = {client.client_id: client for client in clients}
        memory = Memory(surroundings)
        key = SigningKey(surroundings.entropy)
        self._key = key
        self._cookies = BrowserCookies(port, path, memory)
        self._authorize = Authorize(issuer, by_id, people, memory, key)
        self._tokens = Tokens(issuer, by_id, memory, key)
        self._logout = Logout(issuer, by_id, memory, key)

    def handle(self, request: ProviderRequest) -> Reply:
        """Answer a request. Never raises but for a defect."""
        try:
            reply = self._route(request)
        except (OAuthError, BadRequest) as error:
            reply = Reply(response=views.error_page(error.code, error.detail))
        return replace(reply, response=with_banner(reply.response))

    def metadata(self) -> dict[str, Json]:
        """Return the discovery document (OIDC Discovery §3, RFC 9207 §3, both logouts)."""
        return {
            MARKER: True,
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/end_session",
            "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "form_post"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "prompt_values_supported": ["none", "login", "consent", "select_account"],
            "claims_supported": [
                "sub",
                "name",
                "preferred_username",
                "email",
                "email_verified",
                "groups",
                "sid",
            ],
            "authorization_response_iss_parameter_supported": True,
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "claims_parameter_supported": False,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
        }

    def _route(self, request: ProviderRequest) -> Reply:  # one arm for each of a closed set
        allowed = _METHODS.get(request.path)
        if allowed is None:
            return Reply(response=views.error_page("not_found", "There is nothing at this address.", 404))
        if request.method not in allowed:
            refused = views.error_page("method_not_allowed", "This endpoint knows other methods.", 405)
            allow: HeaderPair = (b"Allow", ", ".join(sorted(allowed)).encode())
            return Reply(response=replace(refused, headers=(*refused.headers, allow)))
        match request.path:
            case "/.well-known/openid-configuration":
                return Reply(response=json_answer(self.metadata(), headers=_PUBLIC))
            case "/jwks":
                return Reply(response=json_answer(self._key.key_set(), headers=_PUBLIC))
            case "/authorize":
                return Reply(response=self._authorize.authorize(request, self._cookies.read(request)))
            case "/choose":
                return Reply(response=self._authorize.choose(request, self._cookies.read(request)))
            case "/token":
                return Reply(response=self._tokens.token(request))
            case "/userinfo":
                return Reply(response=self._tokens.userinfo(request))
            case "/end_session":
                return self._logout.end_session(request, self._cookies.read(request))
            case _:
                return self._logout.confirm(request, self._cookies.read(request))


def _checked_issuer(issuer: str, *, development: bool) -> tuple[str, int, str]:
    """Return authority, port and path of the issuer. Raises ConfigurationError."""
    if not development:
        raise ConfigurationError(
            "The embedded provider lets everybody be anybody: it starts in development mode only"
            " (development=True; `doorward demo`)."
        )
    parts = urlsplit(issuer)
    host = parts.hostname or ""
    if parts.scheme != "http" or not is_loopback_name(host) or not parts.port or parts.path != ISSUER_PATH:
        raise ConfigurationError(
            f"The embedded provider's issuer is {issuer}: it must be http://localhost:PORT{ISSUER_PATH},"
            " or another loopback host's."
        )
    return parts.netloc.lower(), parts.port, parts.path


def with_banner(response: Response) -> Response:
    """Return `response` with the field that marks it as development's, once."""
    if _BANNER in response.headers:
        return response
    return replace(response, headers=(*response.headers, _BANNER))
