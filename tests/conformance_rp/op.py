"""A provider on loopback that does everything right until a test makes it do one thing wrong.

It speaks real HTTP to the real runner: discovery, keys, authorization, token, UserInfo. A test changes an
attribute or a hook; what was asked of it stands in `requests`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from tests.core.oidcsetup import CLIENT_ID, NOW, PrivateKey, jwk, rsa_key, sign
from tests.effects.surroundings import Request, reply

__all__ = ["Provider"]

type Claims = dict[str, Any]

SECRET = "p%:+/ ä"
PROFILE: Claims = {
    "name": "Alice Example",
    "preferred_username": "alice",
    "email": "alice@example.com",
    "email_verified": True,
    "groups": ["users"],
}


def unchanged(members: Claims) -> Claims:
    return members


@dataclass
class Provider:
    """The provider; `issuer` is set once it listens. Hooks get what it would say and return what it says."""

    issuer: str = ""
    now: float = NOW
    key: PrivateKey = field(default_factory=rsa_key)
    kid: str | None = "k1"
    alg: str = "RS256"
    shown_keys: list[dict[str, Any]] | None = None
    on_metadata: Callable[[Claims], Claims] = unchanged
    on_response: Callable[[Claims], Claims] = unchanged
    on_claims: Callable[[Claims], Claims] = unchanged
    on_id_token: Callable[[str], str] = lambda token: token
    on_token_answer: Callable[[Claims], Claims] = unchanged
    on_userinfo: Callable[[Claims], Claims] = unchanged
    raw: dict[str, Callable[[asyncio.StreamWriter], Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    nonce: str = ""
    challenge: str = ""
    refreshes: int = 0

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        self.requests.append(request)
        path = urlsplit(request.target).path
        if path in self.raw:
            await self.raw[path](writer)
            return
        handlers = {
            "/.well-known/openid-configuration": self._metadata,
            "/keys": self._keys,
            "/authorize": self._authorize,
            "/token": self._token,
            "/userinfo": self._userinfo,
        }
        writer.write(handlers[path](request))

    def paths(self) -> list[str]:
        """Return what was asked for, in order."""
        return [urlsplit(request.target).path for request in self.requests]

    def id_token(self, **changes: Any) -> str:
        claims = {
            "iss": self.issuer,
            "sub": "248289761001",
            "aud": CLIENT_ID,
            "iat": int(self.now),
            "exp": int(self.now) + 300,
            "nonce": self.nonce,
            **changes,
        }
        told = {name: value for name, value in self.on_claims(claims).items() if value is not None}
        return self.on_id_token(sign(told, self.key, self.alg, kid=self.kid))

    def _metadata(self, _: Request) -> bytes:
        endpoints = {
            "authorization_endpoint": "authorize",
            "token_endpoint": "token",
            "userinfo_endpoint": "userinfo",
            "jwks_uri": "keys",
            "end_session_endpoint": "logout",
        }
        members: Claims = {name: f"{self.issuer}/{path}" for name, path in endpoints.items()}
        members |= {"issuer": self.issuer, "code_challenge_methods_supported": ["S256"]}
        return _json(self.on_metadata(members))

    def _keys(self, _: Request) -> bytes:
        keys = [jwk(self.key, kid=self.kid)] if self.shown_keys is None else self.shown_keys
        return _json({"keys": keys})

    def _authorize(self, request: Request) -> bytes:
        asked = dict(parse_qsl(urlsplit(request.target).query))
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        self.nonce, self.challenge = asked["nonce"], asked["code_challenge"]
        told = self.on_response({"code": "the-code", "state": asked["state"]})
        response = {name: value for name, value in told.items() if value is not None}
        if asked.get("response_mode") == "form_post":
            inputs = "".join(
                f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
                for name, value in response.items()
            )
            form = f'<form method="post" action="{html.escape(asked["redirect_uri"])}">{inputs}</form>'
            return reply(form.encode(), kind="text/html")
        return reply(b"", 302, f"Location: {asked['redirect_uri']}?{urlencode(response)}")

    def _token(self, request: Request) -> bytes:
        form = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        if not self._is_authenticated(request, form):
            return _json({"error": "invalid_client"}, 401)
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != self.challenge:
                return _json({"error": "invalid_grant"}, 400)
        else:
            self.refreshes += 1
        answer = {
            "access_token": f"access-{self.refreshes}",
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": f"refresh-{self.refreshes}",
            "id_token": self.id_token(),
        }
        told = self.on_token_answer(answer)
        return _json({name: value for name, value in told.items() if value is not None})

    def _is_authenticated(self, request: Request, form: dict[str, str]) -> bool:
        """RFC 6749 §2.3.1: both halves of Basic are form-encoded."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme != "Basic" or "client_secret" in form:
            return False
        halves = base64.b64decode(value).decode("ascii").split(":")
        return [unquote_plus(half) for half in halves] == [CLIENT_ID, SECRET]

    def _userinfo(self, request: Request) -> bytes:
        if request.headers.get("authorization") != f"Bearer access-{self.refreshes}":
            return _json({"error": "invalid_token"}, 401)
        told = self.on_userinfo({"sub": "248289761001", **PROFILE})
        return _json({name: value for name, value in told.items() if value is not None})


def _json(members: Claims, status: int = 200) -> bytes:
    return reply(json.dumps(members).encode(), status, "Cache-Control: no-store")
