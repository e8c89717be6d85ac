"""OpenID Connect Core §5.3; S22 of the security checklist."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.core.errors import DoorwardError, InvalidToken, ProviderUnavailable
from sidecar.core.identity import VerifiedClaims
from sidecar.core.tokens import KeySet, verify_userinfo
from tests.core.oidcsetup import CLIENT_ID, ISSUER, NOW, answer, key_set, provider, rsa_key, sign


def verify(body: Any, keys: KeySet | None = None, **parts: Any) -> VerifiedClaims:
    return verify_userinfo(answer(body, **parts), provider(), keys, subject="248289", now=NOW)


def signed(keys: KeySet | None = None, key: Any = None, **claims: Any) -> VerifiedClaims:
    token = sign({"sub": "248289", **claims}, key)
    return verify(token.encode(), keys or key_set(), kind="application/jwt; charset=utf-8")


def test_an_object_about_the_same_subject_is_accepted() -> None:
    assert verify({"sub": "248289", "email": "a@example.com"})["email"] == "a@example.com"


@pytest.mark.parametrize("subject", ["other", "", None, 248289, ["248289"], "248289 "])
def test_somebody_else_is_refused(subject: Any) -> None:
    """S22: the subject must be the ID token's exactly."""
    with pytest.raises(InvalidToken, match="userinfo_sub_mismatch"):
        verify({"sub": subject, "email": "a@example.com"})


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'[{"sub":"248289"}]', b'"248289"', b'{"sub":"x","sub":"248289"}']
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """S22: an array or another non-object."""
    with pytest.raises(InvalidToken, match="userinfo_unreadable"):
        verify(body)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, InvalidToken), (403, InvalidToken), (404, InvalidToken), (429, ProviderUnavailable)],
)
def test_a_refusal_is_told(status: int, error: type[DoorwardError]) -> None:
    with pytest.raises(error):
        verify({"sub": "248289"}, status=status)


class TestSigned:
    """S22: §5.3.2, application/jwt."""

    def test_a_signed_answer_is_verified(self) -> None:
        assert signed(email="a@example.com")["email"] == "a@example.com"
        assert signed(iss=ISSUER, aud=[CLIENT_ID, "other"], exp=NOW)["sub"] == "248289"

    @pytest.mark.parametrize(
        ("claims", "code"),
        [
            ({"sub": "other"}, "userinfo_sub_mismatch"),
            ({"iss": "https://evil.example"}, "iss_mismatch"),
            ({"aud": "other"}, "aud_mismatch"),
            ({"exp": NOW - 61}, "token_expired"),
            ({"exp": "soon"}, "date_invalid"),
        ],
    )
    def test_its_claims_are_checked(self, claims: dict[str, Any], code: str) -> None:
        with pytest.raises(InvalidToken, match=code):
            signed(**claims)

    def test_another_key_is_refused(self) -> None:
        with pytest.raises(InvalidToken, match="bad_signature"):
            signed(key=rsa_key(2))

    def test_without_keys_it_is_refused(self) -> None:
        with pytest.raises(InvalidToken, match="unknown_key"):
            verify(sign({"sub": "248289"}).encode(), None, kind="application/jwt")

    def test_plain_json_called_a_jwt_is_refused(self) -> None:
        with pytest.raises(InvalidToken, match="token_malformed"):
            verify({"sub": "248289"}, key_set(), kind="application/jwt")
