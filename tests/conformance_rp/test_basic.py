"""Basic RP and Form Post Basic RP: the modules of the code flow, each with both response modes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sidecar.core.decision import Forward
from tests.conformance_rp.op import Provider
from tests.conformance_rp.relyingparty import Mode, RelyingParty, against, location
from tests.core.gatesetup import values
from tests.core.oidcsetup import NOW, b64, ec_key, jwk, rsa_key

pytestmark = pytest.mark.parametrize("mode", ["query", "form_post"])


def accepted(op: Provider, mode: Mode, **settings: Any) -> RelyingParty:
    """The login completes: the browser returns to where it wanted to go, and is let through."""

    async def script(party: RelyingParty) -> None:
        respond = await party.log_in()
        assert location(respond) == "/app/x?y=1", party.refusals()
        assert respond.response.status == (302 if mode == "query" else 303)
        assert await party.is_signed_in()

    party = against(op, script, mode, **settings)
    assert party.refusals() == []
    return party


def rejected(op: Provider, mode: Mode, code: str, **settings: Any) -> RelyingParty:
    """The login is refused with a page: no session, no redirect, and nothing else is done with the tokens."""

    async def script(party: RelyingParty) -> None:
        respond = await party.log_in()
        assert location(respond) is None
        assert respond.response.status == 403
        assert respond.response.page is not None
        assert respond.response.page.name == "error"
        assert not await party.is_signed_in()

    party = against(op, script, mode, **settings)
    assert party.refusals() == [code]
    return party


def test_response_type_code(mode: Mode) -> None:
    """oidcc-client-test: the login completes; no token ever stands in a URL."""
    op = Provider()

    accepted(op, mode)

    assert op.paths() == ["/.well-known/openid-configuration", "/authorize", "/token", "/keys", "/userinfo"]
    assert not [request.target for request in op.requests if "access-" in request.target]


def test_invalid_iss(mode: Mode) -> None:
    """oidcc-client-test-invalid-iss: the ID token's issuer is another."""
    party = rejected(
        Provider(on_claims=lambda told: {**told, "iss": "https://evil.example"}), mode, "iss_mismatch"
    )

    assert "/userinfo" not in party.op.paths()


def test_missing_sub(mode: Mode) -> None:
    """oidcc-client-test-missing-sub: the ID token has no subject."""
    rejected(Provider(on_claims=lambda told: {**told, "sub": None}), mode, "sub_invalid")


def test_invalid_aud(mode: Mode) -> None:
    """oidcc-client-test-invalid-aud: the ID token is for somebody else."""
    rejected(Provider(on_claims=lambda told: {**told, "aud": "somebody-else"}), mode, "aud_mismatch")


def test_missing_aud(mode: Mode) -> None:
    """oidcc-client-test-missing-aud: the ID token is for nobody."""
    rejected(Provider(on_claims=lambda told: {**told, "aud": None}), mode, "aud_mismatch")


def test_missing_iat(mode: Mode) -> None:
    """oidcc-client-test-missing-iat: the ID token does not say when it was issued."""
    rejected(Provider(on_claims=lambda told: {**told, "iat": None}), mode, "iat_missing")


def test_kid_absent_single_jwks(mode: Mode) -> None:
    """oidcc-client-test-kid-absent-single-jwks: there is one key, and no kid anywhere."""
    accepted(Provider(kid=None), mode)


def test_kid_absent_multiple_jwks(mode: Mode) -> None:
    """oidcc-client-test-kid-absent-multiple-jwks: the right key is found among several."""
    keys = [jwk(rsa_key(2)), jwk(ec_key()), jwk(rsa_key()), jwk(rsa_key(3), use="enc")]

    accepted(Provider(kid=None, shown_keys=keys), mode)


def test_kid_absent_multiple_jwks_of_others(mode: Mode) -> None:
    """oidcc-client-test-kid-absent-multiple-jwks: the right key is not among them."""
    keys = [jwk(rsa_key(2)), jwk(rsa_key(3))]

    rejected(Provider(kid=None, shown_keys=keys), mode, "bad_signature")


def test_idtoken_sig_rs256(mode: Mode) -> None:
    """oidcc-client-test-idtoken-sig-rs256: an RS256 signature is accepted."""
    accepted(Provider(alg="RS256"), mode)


def test_idtoken_sig_es256(mode: Mode) -> None:
    accepted(Provider(key=ec_key(), alg="ES256"), mode)


def test_idtoken_sig_none(mode: Mode) -> None:
    """oidcc-client-test-idtoken-sig-none: an unsigned ID token is refused, which the suite allows."""

    def unsigned(token: str) -> str:
        return f"{b64(json.dumps({'alg': 'none'}).encode())}.{token.split('.')[1]}."

    rejected(Provider(on_id_token=unsigned), mode, "alg_refused")


def test_invalid_sig_rs256(mode: Mode) -> None:
    """oidcc-client-test-invalid-sig-rs256: the signature has a changed bit."""

    def spoiled(token: str) -> str:
        signed, _, signature = token.rpartition(".")
        data = bytearray(base64.urlsafe_b64decode(signature + "=="))
        data[7] ^= 1
        return f"{signed}.{b64(bytes(data))}"

    rejected(Provider(on_id_token=spoiled), mode, "bad_signature")


def test_invalid_sig_es256(mode: Mode) -> None:
    op = Provider(key=ec_key(2), alg="ES256", shown_keys=[jwk(ec_key(), kid="k1")])

    rejected(op, mode, "bad_signature")


def test_userinfo_invalid_sub(mode: Mode) -> None:
    """oidcc-client-test-userinfo-invalid-sub: UserInfo speaks of somebody else."""
    rejected(Provider(on_userinfo=lambda told: {**told, "sub": "other"}), mode, "userinfo_sub_mismatch")


def test_nonce_invalid(mode: Mode) -> None:
    """oidcc-client-test-nonce-invalid: the ID token's nonce is another."""
    rejected(Provider(on_claims=lambda told: {**told, "nonce": "other"}), mode, "nonce_mismatch")


def test_scope_userinfo_claims(mode: Mode) -> None:
    """oidcc-client-test-scope-userinfo-claims: claims that scopes ask for come from UserInfo."""
    op = Provider()

    async def script(party: RelyingParty) -> None:
        await party.log_in()
        forward = await party.send(b"GET", "/app/")
        assert isinstance(forward, Forward)
        assert values(forward, b"X-Forwarded-Email") == [b"alice@example.com"]
        assert values(forward, b"X-Forwarded-Groups") == [b"users"]
        assert values(forward, b"X-Forwarded-Preferred-Username") == [b"alice"]

    against(op, script, mode, scopes=("openid", "profile", "email", "phone", "address"))

    (asked,) = [request.target for request in op.requests if request.target.startswith("/authorize")]
    assert "scope=openid+profile+email+phone+address" in asked


def test_client_secret_basic(mode: Mode) -> None:
    """oidcc-client-test-client-secret-basic: with an id and a secret that only form-encoding brings over."""
    op = Provider()

    accepted(op, mode)

    (request,) = [request for request in op.requests if request.target == "/token"]
    assert request.headers["authorization"].startswith("Basic ")
    assert b"secret" not in request.body


def test_form_post_error(mode: Mode) -> None:
    """oidcc-client-test-form-post-error: the provider says no."""

    async def script(party: RelyingParty) -> None:
        respond = await party.log_in()
        assert respond.response.status == 403
        assert not await party.is_signed_in()

    party = against(
        Provider(on_response=lambda told: {**told, "code": None, "error": "access_denied"}), script, mode
    )

    assert party.refusals() == ["access_denied"]
    assert "/token" not in party.op.paths()


def test_clock_skew(mode: Mode) -> None:
    """D3: a provider whose clock is a minute off is fine, one that is further off is not."""
    accepted(Provider(now=NOW + 59), mode)
    accepted(Provider(now=NOW - 359), mode)
    rejected(Provider(now=NOW + 61), mode, "token_from_future")
    rejected(Provider(now=NOW - 361), mode, "token_expired")
