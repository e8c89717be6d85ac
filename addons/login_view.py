r"""A login, step by step, in mitmweb or mitmproxy: each of its requests is marked and explained.

    mitmweb -s addons/login_view.py -s addons/authenticate.py --set doorward_config=doorward.yaml \
        --mode reverse:http://localhost:3000

Explains, in a flow's comment, which step of a login it is (1 sent to sign in, 2 at the provider, 3 back with
a code, 4 code for tokens), with its parameters (secrets masked), and whether `state`, `nonce` and the PKCE
verifier are those of the request that began the login. Changes nothing of any flow's. What passes the proxy
is seen and nothing else: a provider that the browser reaches without it shows only as the redirects to it and
from it. Option: `login_view_mark`, the marker. Command: `doorward.login` says the explanations of flows.
"""

from __future__ import annotations

import hashlib
import json
import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from mitmproxy import command, ctx, http
from mitmproxy import flow as mitmflow

if TYPE_CHECKING:
    from mitmproxy.addonmanager import Loader

__all__ = ["LoginView", "addons", "is_open", "masked"]

_logger: Final = logging.getLogger(__name__)
_MAX_LOGINS: Final = 200
_MAX_BODY_BYTES: Final = 65_536
_SHOWN: Final = 4
_OPEN_PARAMETERS: Final = frozenset(
    {
        "client_id",
        "code_challenge_method",
        "display",
        "error",
        "error_description",
        "expires_in",
        "grant_type",
        "iss",
        "max_age",
        "post_logout_redirect_uri",
        "prompt",
        "redirect_uri",
        "response_mode",
        "response_type",
        "scope",
        "token_type",
        "ui_locales",
    }
)


@dataclass(frozen=True, slots=True)
class _Login:
    """What an authorization request said."""

    nonce: str
    challenge: str


def is_open(name: str) -> bool:
    """Tell whether a parameter of OpenID Connect is no secret."""
    return name in _OPEN_PARAMETERS


def masked(name: str, value: str) -> str:
    """Return a parameter's value as it may be shown: enough to recognise a secret, too little to use it."""
    if is_open(name):
        return value
    return f"{value[:_SHOWN]}… ({len(value)} characters)" if len(value) > 2 * _SHOWN else "…"


class LoginView:
    """The addon."""

    name = "doorward-login-view"

    def __init__(self) -> None:
        self._logins: OrderedDict[str, _Login] = OrderedDict()
        self._challenges: OrderedDict[str, str] = OrderedDict()

    def load(self, loader: Loader) -> None:
        """Declare the option."""
        loader.add_option("login_view_mark", str, ":key:", "The marker of a login's requests.")

    @command.command("doorward.login")  # type: ignore[untyped-decorator]  # mitmproxy's
    def login(self, flows: Sequence[mitmflow.Flow]) -> Sequence[str]:
        """Say what each flow is in its login."""
        return [flow.comment or "no part of a login" for flow in flows]

    def request(self, flow: http.HTTPFlow) -> None:
        """Explain a request."""
        self._guarded(flow, self._explain_request)

    def response(self, flow: http.HTTPFlow) -> None:
        """Explain an answer; also that to a request that no hook has shown whole."""
        self._guarded(flow, self._explain_response)

    def _guarded(self, flow: http.HTTPFlow, explain: Callable[[http.HTTPFlow], list[str]]) -> None:
        """Explain; a view that fails must not disturb what it looks at."""
        try:
            lines = explain(flow)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            _logger.info("doorward: can't explain %s: %s", flow.request.pretty_host, error)
            return
        if lines:
            flow.marked = ctx.options.login_view_mark
            flow.comment = "\n".join([*(flow.comment.splitlines() if flow.comment else ()), *lines])

    def _explain_request(self, flow: http.HTTPFlow) -> list[str]:
        query = _pairs(urlsplit(flow.request.path).query)
        form = _form(flow.request)
        if _is_authorization(query):
            return ["2 at the provider", "authorization request", *_listed(query), *self._remember(query)]
        if form.get("grant_type") == "authorization_code":
            return ["4 code for tokens", "token request", *_listed(form), *self._check_verifier(form)]
        if form.get("grant_type") == "refresh_token":
            return ["tokens refreshed", *_listed(form)]
        answer = query if "state" in query else form
        if "state" in answer and ("code" in answer or "error" in answer):
            known = (
                "matches a request that was seen" if answer["state"] in self._logins else "is UNKNOWN here"
            )
            title = "3 back with a code" if "code" in answer else "3 back with an error"
            return [title, "callback", *_listed(answer), f"state {known}"]
        return []

    def _explain_response(self, flow: http.HTTPFlow) -> list[str]:
        if flow.response is None:
            return []
        # A request that was answered at its head had no `request` hook of its own.
        lines = [] if flow.comment else self._explain_request(flow)
        location = flow.response.headers.get("location", "")
        query = _pairs(urlsplit(location).query)
        if _is_authorization(query):
            lines += ["1 sent to sign in", f"at {urlsplit(location).netloc}", *_listed(query)]
            lines += self._remember(query)
        elif "post_logout_redirect_uri" in query:
            lines += ["sent to sign out", f"at {urlsplit(location).netloc}", *_listed(query)]
        elif "state" in query and ("code" in query or "error" in query):
            lines.append("sent back with " + ("a code" if "code" in query else f"the error {query['error']}"))
        return [*lines, *self._explain_tokens(flow.response)]

    def _remember(self, query: Mapping[str, str]) -> list[str]:
        state = query.get("state", "")
        login = _Login(query.get("nonce", ""), query.get("code_challenge", ""))
        if state:
            self._logins[state] = login
        if login.challenge:
            self._challenges[login.challenge] = state
        for memory in (self._logins, self._challenges):
            if len(memory) > _MAX_LOGINS:
                memory.popitem(last=False)
        missing = [name for name in ("state", "nonce", "code_challenge") if not query.get(name)]
        if missing:
            return [f"{name} is MISSING" for name in missing]
        if query.get("code_challenge_method") != "S256":
            return ["the PKCE challenge is not S256"]
        return ["state, nonce and PKCE challenge are there"]

    def _check_verifier(self, form: Mapping[str, str]) -> list[str]:
        verifier = form.get("code_verifier", "")
        if not verifier:
            return ["code_verifier is MISSING"]
        digest = hashlib.sha256(verifier.encode("ascii", "replace")).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
        if challenge in self._challenges:
            return ["PKCE verifier matches the challenge"]
        return ["PKCE verifier matches NO challenge that was seen"]

    def _explain_tokens(self, response: http.Response) -> list[str]:
        if "json" not in response.headers.get("content-type", "") or not response.raw_content:
            return []
        if len(response.raw_content) > _MAX_BODY_BYTES:
            return []
        document = json.loads(response.get_text(strict=False) or "null")
        if not isinstance(document, dict) or "id_token" not in document:
            return []
        shown = {name: str(value) for name, value in document.items()}
        claims = _unverified_claims(shown["id_token"])
        nonce = str(claims.get("nonce", ""))
        known = any(login.nonce and login.nonce == nonce for login in self._logins.values())
        verdict = "matches a request that was seen" if known else "matches NO request that was seen"
        names = f"claims of the ID token: {', '.join(sorted(claims))}"
        return ["tokens", *_listed(shown), names, f"nonce of the ID token {verdict}"]


def _is_authorization(query: Mapping[str, str]) -> bool:
    return "response_type" in query and "client_id" in query


def _pairs(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True))


def _form(request: http.Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "")
    content = request.raw_content
    if not kind.startswith("application/x-www-form-urlencoded") or not content:
        return {}
    return _pairs(content[:_MAX_BODY_BYTES].decode("utf-8", "replace"))


def _listed(parameters: Mapping[str, str]) -> list[str]:
    return [f"  {name}: {masked(name, value)}" for name, value in parameters.items()]


def _unverified_claims(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    claims = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims if isinstance(claims, dict) else {}


addons: list[object] = [LoginView()]
