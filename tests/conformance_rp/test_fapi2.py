"""The negatives that only the FAPI 2.0 client plans have, and their positives around them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.conformance_rp.op import Provider
from tests.conformance_rp.relyingparty import RelyingParty, against, location
from tests.core.oidcsetup import CLIENT_ID, NOW, b64, rsa_key, sign


def outcome(op: Provider, **settings: Any) -> list[Any]:
    """Return the codes with which the login was refused, none when it completed."""

    async def script(party: RelyingParty) -> None:
        respond = await party.log_in()
        is_done = location(respond) == "/app/x?y=1"
        assert is_done == await party.is_signed_in()
        assert is_done != (respond.response.page is not None)

    return against(op, script, **settings).refusals()


def claims(**changes: Any) -> Provider:
    return Provider(on_claims=lambda told: {**told, **changes})


def promising_iss(**response: Any) -> Provider:
    return Provider(
        on_metadata=lambda told: {**told, "authorization_response_iss_parameter_supported": True},
        on_response=lambda told: {**told, **response},
    )


def test_happy_path() -> None:
    """fapi2-happy-path: with iss in the authorization response."""
    op = promising_iss()
    op.on_response = lambda told: {**told, "iss": op.issuer}

    assert outcome(op) == []


def test_remove_authorization_response_iss() -> None:
    """fapi2-remove-authorization-response-iss: promised, and not there (RFC 9207)."""
    op = promising_iss()

    assert outcome(op) == ["response_iss_missing"]
    assert "/token" not in op.paths()


def test_invalid_authorization_response_iss() -> None:
    """fapi2-invalid-authorization-response-iss: another issuer's."""
    op = promising_iss(iss="https://evil.example")

    assert outcome(op) == ["response_iss_mismatch"]
    assert "/token" not in op.paths()


def test_ensure_authorization_response_with_invalid_state_fails() -> None:
    """fapi2-ensure-authorization-response-with-invalid-state-fails: nothing is redeemed."""
    op = Provider(on_response=lambda told: {**told, "state": told["state"] + "x"})

    assert outcome(op) == ["state_invalid"]
    assert "/token" not in op.paths()


def test_ensure_authorization_response_with_missing_state_fails() -> None:
    """fapi2-ensure-authorization-response-with-invalid-missing-state-fails: nothing is redeemed."""
    op = Provider(on_response=lambda told: {**told, "state": None})

    assert outcome(op) == ["state_invalid"]
    assert "/token" not in op.paths()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("iss", "https://evil.example", "iss_mismatch"),
        ("iss", None, "iss_mismatch"),
        ("aud", "somebody-else", "aud_mismatch"),
        ("aud", None, "aud_mismatch"),
        ("exp", NOW - 300, "token_expired"),
        ("exp", None, "exp_missing"),
        ("nonce", "other", "nonce_mismatch"),
        ("nonce", None, "nonce_mismatch"),
    ],
)
def test_invalid_or_missing_claims(name: str, value: Any, code: str) -> None:
    """fapi2-invalid-iss, fapi2-invalid-aud, fapi2-invalid-expired-exp, fapi2-invalid-nonce: or missing."""
    assert outcome(claims(**{name: value})) == [code]


def test_invalid_secondary_aud() -> None:
    """fapi2-invalid-secondary-aud: a stranger in the audience."""
    assert outcome(claims(aud=[CLIENT_ID, "somebody-else"], azp=CLIENT_ID)) == ["aud_untrusted"]


def test_valid_aud_as_array() -> None:
    """fapi2-valid-aud-as-array: we alone, in a list."""
    assert outcome(claims(aud=[CLIENT_ID])) == []


def test_invalid_null_alg() -> None:
    """fapi2-invalid-null-alg: alg none, with the signature left in place."""

    def null(token: str) -> str:
        _, payload, signature = token.split(".")
        return f"{b64(json.dumps({'alg': 'none', 'kid': 'k1'}).encode())}.{payload}.{signature}"

    assert outcome(Provider(on_id_token=null)) == ["alg_refused"]


def test_invalid_alternate_alg() -> None:
    """fapi2-invalid-alternate-alg: well signed, by an algorithm that is not allowed here."""
    assert outcome(Provider(alg="RS256"), algorithms=("PS256", "ES256")) == ["alg_refused"]


def test_a_signature_by_another_key_under_the_same_id() -> None:
    def other(token: str) -> str:
        payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return sign(payload, rsa_key(3))

    assert outcome(Provider(on_id_token=other)) == ["bad_signature"]


@pytest.mark.parametrize("kind", ["bearer", "BEARER", "bEaReR"])
def test_token_type_case_insensitivity(kind: str) -> None:
    """fapi2-token-type-case-insensitivity: RFC 6749 §5.1."""
    assert outcome(Provider(on_token_answer=lambda told: {**told, "token_type": kind})) == []


def test_token_endpoint_response_without_expires_in() -> None:
    """fapi2-token-endpoint-response-without-expires-in: the life time is not told."""
    assert outcome(Provider(on_token_answer=lambda told: {**told, "expires_in": None})) == []


def test_happy_path_without_a_dpop_nonce() -> None:
    """fapi2-happy-path-no-dpop-nonce: no sender-constrained tokens are asked for, so none is needed."""
    op = Provider()

    assert outcome(op) == []
    assert not [request for request in op.requests if "dpop" in request.headers]
