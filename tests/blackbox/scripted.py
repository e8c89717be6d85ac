"""A provider whose every answer a test can script, for what certified providers don't do.

Left alone it is a good one: whoever comes to /authorize is logged in at once with `claims`. A test replaces
one endpoint by assigning a function of `Received` to `script[path]`; `None` in its place answers as usual.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.blackbox.httpserver import Answer, HttpServer, Received

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "ScriptedProvider", "json_answer", "redirect"]

CLIENT_ID: Final = "the-client"
CLIENT_SECRET: Final = "the-clients-own-secret-of-tests"
_JSON = ("Content-Type", "application/json")


def json_answer(value: object, status: int = 200) -> Answer:
    headers = (_JSON, ("Cache-Control", "no-store"))
    return Answer(status=status, headers=headers, body=json.dumps(value).encode())


def redirect(url: str, parameters: dict[str, str]) -> Answer:
    joint = "&" if "?" in url else "?"
    return Answer(status=302, headers=(("Location", f"{url}{joint}{urlencode(parameters)}"),))


class ScriptedProvider(HttpServer):
    """A small OpenID provider on loopback. Settings are attributes; tests change them while it runs."""

    def __init__(self, port: int = 0) -> None:
        self.claims: dict[str, Any] = {
            "sub": "ann",
            "name": "Ann Example",
            "preferred_username": "ann",
            "email": "ann@example.com",
            "email_verified": True,
            "groups": ["staff"],
        }
        self.access_token_seconds: float = 3600
        self.clock_offset = 0.0
        self.script: dict[str, Callable[[Received], Answer]] = {}
        self.secrets: set[str] = {CLIENT_SECRET}
        self._codes: dict[str, dict[str, str]] = {}
        self._refresh_tokens: set[str] = set()
        self._lock = threading.Lock()
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.rotate_key("key-1")
        super().__init__(self._serve, port)

    @property
    def issuer(self) -> str:
        return self.url

    def settings(self, **more: object) -> dict[str, object]:
        """Return the `provider` of a configuration that logs in here."""
        return {
            "type": "oidc",
            "issuer": self.issuer,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "scopes": ["openid", "profile", "email", "groups", "offline_access"],
            **more,
        }

    def rotate_key(self, key_id: str) -> None:
        """Sign with a new key from now on, and publish that key alone."""
        self.keys = {key_id: ec.generate_private_key(ec.SECP256R1())}

    def calls(self, path: str) -> list[Received]:
        """Return the requests that came to an endpoint."""
        return [received for received in self.received if received.path == path]

    def sign(self, claims: dict[str, Any]) -> str:
        ((key_id, key),) = self.keys.items()
        return jwt.encode(claims, key, algorithm="ES256", headers={"kid": key_id})

    def id_token(self, nonce: str | None = None, **changed: object) -> str:
        """Return an ID token with the claims as they are, and what is changed in it."""
        now = int(time.time() + self.clock_offset)
        standard = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        if nonce is not None:
            standard["nonce"] = nonce
        return self.sign({**standard, **self.claims, **changed})

    def tokens(self, nonce: str | None = None, **changed: object) -> dict[str, Any]:
        """Return a token response, each token new; all are remembered as secrets."""
        answer = {
            "access_token": secrets.token_urlsafe(24),
            "refresh_token": secrets.token_urlsafe(24),
            "id_token": self.id_token(nonce, **changed),
        }
        with self._lock:
            self.secrets.update(answer.values())
            self._refresh_tokens.add(answer["refresh_token"])
        return {**answer, "token_type": "Bearer", "expires_in": self.access_token_seconds}

    def redeem(self, received: Received, **changed: object) -> Answer:
        """Answer a token request as usual, with changed claims in the ID token."""
        form = {name: values[0] for name, values in received.form.items()}
        if form.get("grant_type") == "refresh_token":
            with self._lock:
                # Rotation: a refresh token is of one use, so that a second refresh with it shows.
                if form["refresh_token"] not in self._refresh_tokens:
                    return json_answer({"error": "invalid_grant"}, 400)
                self._refresh_tokens.discard(form["refresh_token"])
            return json_answer(self.tokens(None, **changed))
        with self._lock:
            asked = self._codes.pop(form.get("code", ""), None)
        if asked is None or asked["redirect_uri"] != form.get("redirect_uri"):
            return json_answer({"error": "invalid_grant"}, 400)
        return json_answer(self.tokens(asked.get("nonce"), **changed))

    def authorize(self, received: Received) -> Answer:
        """Answer an authorization request as usual: logged in at once."""
        asked = {name: values[0] for name, values in received.query.items()}
        code = secrets.token_urlsafe(24)
        with self._lock:
            self.secrets.add(code)
            self._codes[code] = asked
        return redirect(asked["redirect_uri"], {"code": code, "state": asked["state"], "iss": self.issuer})

    def keep_secrets(self, values: Iterable[str]) -> None:
        with self._lock:
            self.secrets.update(values)

    def _serve(self, received: Received) -> Answer:
        usual = {
            "/.well-known/openid-configuration": self._metadata,
            "/jwks": self._jwks,
            "/authorize": self.authorize,
            "/token": self.redeem,
            "/userinfo": lambda _: json_answer(self.claims),
            "/end_session": self._end_session,
        }
        answer = self.script.get(received.path) or usual.get(received.path)
        return answer(received) if answer else Answer(status=404)

    def _metadata(self, received: Received) -> Answer:
        del received
        return json_answer(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/jwks",
                "end_session_endpoint": f"{self.issuer}/end_session",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    def _jwks(self, received: Received) -> Answer:
        del received
        keys = []
        for key_id, key in self.keys.items():
            jwk = json.loads(ECAlgorithm.to_jwk(key.public_key()))
            keys.append(jwk | {"kid": key_id, "use": "sig", "alg": "ES256"})
        return json_answer({"keys": keys})

    def _end_session(self, received: Received) -> Answer:
        asked = {name: values[0] for name, values in received.query.items()}
        back = asked.get("post_logout_redirect_uri")
        if back is None:
            return Answer(body=b"signed out at the provider\n")
        return redirect(back, {"state": asked["state"]} if "state" in asked else {})
