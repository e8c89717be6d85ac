"""The token and UserInfo endpoints (OIDC Core §3.1.3, §5.3, §12)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from sidecar.core.errors import BadRequest
from sidecar.devidp.answers import error_answer, json_answer, parse_form, single_field
from sidecar.devidp.claims import person_claims
from sidecar.devidp.memory import GRANT_SECONDS, Access, Code, Grant, Memory
from sidecar.devidp.signing import SigningKey, half_hash
from sidecar.devidp.values import OAuthError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.flows.parameters import Parameters
    from sidecar.core.http import HeaderPair, Response
    from sidecar.core.identity import Json
    from sidecar.devidp.values import Client, ProviderRequest

__all__ = ["Tokens"]

_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)  # RFC 7636 §4.1
_ID_TOKEN_SECONDS: Final = 300
_BASIC: Final[HeaderPair] = (b"WWW-Authenticate", b'Basic realm="doorward-development"')
_UNAUTHORIZED: Final = 401


class Tokens:
    """Turns codes and refresh tokens into tokens, and access tokens into claims."""

    def __init__(self, issuer: str, clients: Mapping[str, Client], memory: Memory, key: SigningKey) -> None:
        self._issuer = issuer
        self._clients = clients
        self._memory = memory
        self._key = key

    def token(self, request: ProviderRequest) -> Response:
        """Answer the token endpoint."""
        try:
            return json_answer(self._issue(request))
        except OAuthError as error:
            is_client = error.code == "invalid_client"
            return error_answer(error, _UNAUTHORIZED if is_client else 400, (_BASIC,) if is_client else ())
        except BadRequest as error:
            return error_answer(OAuthError("invalid_request", str(error)))

    def userinfo(self, request: ProviderRequest) -> Response:
        """Answer the UserInfo endpoint (OIDC Core §5.3; RFC 6750 §2.1)."""
        try:
            grant = self._bearer(request)
        except OAuthError as error:
            challenge = f'Bearer error="{error.code}", error_description="{error.detail}"'.encode()
            return error_answer(error, _UNAUTHORIZED, ((b"WWW-Authenticate", challenge),))
        return json_answer(person_claims(grant.login.person, grant.scopes))

    def _bearer(self, request: ProviderRequest) -> Grant:
        scheme, _, token = (single_field(request, b"authorization") or b"").decode("latin-1").partition(" ")
        access = self._memory.access.get(token.strip()) if scheme.lower() == "bearer" else None
        grant = None if access is None else self._memory.grants.get(access.grant_id)
        if grant is None:
            raise OAuthError("invalid_token", "the access token is unknown, has expired or was taken back")
        return grant

    def _issue(self, request: ProviderRequest) -> dict[str, Json]:
        form = parse_form(request)
        form.require_unique()
        client = self._authenticate(request, form)
        match form.single("grant_type"):
            case "authorization_code":
                return self._redeem(client, form)
            case "refresh_token":
                return self._refresh(client, form)
            case _:
                raise OAuthError("unsupported_grant_type", "authorization_code or refresh_token")

    def _authenticate(self, request: ProviderRequest, form: Parameters) -> Client:
        """Return the client that asks (RFC 6749 §2.3.1), by basic, post or, a public one, its name alone."""
        header = single_field(request, b"authorization")
        client_id, secret = form.single("client_id"), form.single("client_secret")
        if header is not None:
            if secret is not None:
                raise OAuthError("invalid_request", "the client authenticates in two ways at once")
            basic_id, secret = _basic(header)
            if client_id not in {None, basic_id}:
                raise OAuthError("invalid_request", "two different client_ids")
            client_id = basic_id
        client = self._clients.get(client_id or "")
        if client is None or not _is_secret(client, secret):
            raise OAuthError("invalid_client", "unknown client, or a secret that is not its own")
        return client

    def _redeem(self, client: Client, form: Parameters) -> dict[str, Json]:
        text = form.single("code") or ""
        code = self._memory.codes.get(text)
        if code is None or code.client_id != client.client_id:
            raise OAuthError(
                "invalid_grant", "the code is unknown, another client's, or older than 60 seconds"
            )
        if code.grant_id is not None:
            # RFC 6749 §4.1.2: somebody has it who should not; what came of it is taken back.
            self._memory.end_grant(code.grant_id)
            raise OAuthError("invalid_grant", "the code was used before; its tokens are taken back")
        # Burnt before the last checks: a wrong verifier gets no second try.
        grant_id = self._memory.token()
        self._memory.codes[text] = replace(code, grant_id=grant_id)
        if form.single("redirect_uri") != code.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not that of the authorization request")
        if not _is_verifier(form.single("code_verifier") or "", code.challenge):
            raise OAuthError("invalid_grant", "code_verifier does not fit code_challenge")
        return self._open_grant(client, code, grant_id)

    def _open_grant(self, client: Client, code: Code, grant_id: str) -> dict[str, Json]:
        grant = Grant(
            id=grant_id,
            client_id=client.client_id,
            scopes=code.scopes,
            login=code.login,
            until=self._memory.now() + GRANT_SECONDS,
            refresh_token=f"{grant_id}.{self._memory.token()}",
        )
        self._memory.grants[grant_id] = grant
        return self._answer(client, grant, {} if code.nonce is None else {"nonce": code.nonce})

    def _refresh(self, client: Client, form: Parameters) -> dict[str, Json]:
        text = form.single("refresh_token") or ""
        grant = self._memory.grants.get(text.partition(".")[0])
        if grant is None or grant.client_id != client.client_id:
            raise OAuthError("invalid_grant", "the refresh token is unknown, another client's, or taken back")
        if not hmac.compare_digest(text.encode(), grant.refresh_token.encode()):
            # RFC 9700 §4.14.2: an old one comes back, so two parties have it; neither keeps it.
            self._memory.end_grant(grant.id)
            raise OAuthError("invalid_grant", "the refresh token was used before; its family is taken back")
        scopes = form.single("scope")
        if scopes is not None and not frozenset(scopes.split()) <= grant.scopes:
            raise OAuthError("invalid_scope", "more than was granted")
        renewed = replace(grant, refresh_token=f"{grant.id}.{self._memory.token()}")
        self._memory.grants[grant.id] = renewed
        return self._answer(client, renewed, {})

    def _answer(self, client: Client, grant: Grant, more: dict[str, Json]) -> dict[str, Json]:
        access_token = self._memory.token()
        lifetime = client.access_token_seconds
        self._memory.access[access_token] = Access(grant_id=grant.id, until=self._memory.now() + lifetime)
        return {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": " ".join(sorted(grant.scopes)),
            "refresh_token": grant.refresh_token,
            "id_token": self._id_token(grant, {**more, "at_hash": half_hash(access_token)}),
        }

    def _id_token(self, grant: Grant, more: dict[str, Json]) -> str:
        now = int(self._memory.now())
        claims: dict[str, Json] = {
            **person_claims(grant.login.person, grant.scopes),
            "iss": self._issuer,
            "aud": grant.client_id,
            "iat": now,
            "exp": now + _ID_TOKEN_SECONDS,
            "auth_time": grant.login.auth_time,
            "sid": grant.login.sid,
            **more,
        }
        return self._key.sign(claims, "JWT")


def _basic(header: bytes) -> tuple[str, str]:
    """Return id and secret of an Authorization field; both are form-encoded inside (RFC 6749 §2.3.1)."""
    scheme, _, value = header.partition(b" ")
    try:
        decoded = base64.b64decode(value.strip(), validate=True).decode("ascii")
    except ValueError as error:  # binascii.Error is one, UnicodeDecodeError too
        raise OAuthError("invalid_client", "the Authorization field can't be read") from error
    client_id, colon, secret = decoded.partition(":")
    if scheme.lower() != b"basic" or not colon:
        raise OAuthError("invalid_client", "the Authorization field is not Basic")
    return unquote_plus(client_id), unquote_plus(secret)


def _is_secret(client: Client, secret: str | None) -> bool:
    if client.secret is None:
        return not secret
    return hmac.compare_digest(client.secret.reveal(), (secret or "").encode())


def _is_verifier(verifier: str, challenge: str) -> bool:
    if not _VERIFIER.fullmatch(verifier):
        return False
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, challenge.encode())
