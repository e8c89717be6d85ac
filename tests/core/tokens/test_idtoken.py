"""OpenID Connect Core §3.1.3.7, §12.2; S19 and S22 of the security checklist."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import InvalidToken
from sidecar.core.identity import Identity, VerifiedClaims
from sidecar.core.session import Session
from sidecar.core.tokens import verify_id_token, verify_refreshed_id_token
from tests.core.oidcsetup import (
    CLIENT_ID,
    ISSUER,
    NONCE,
    NOW,
    b64,
    claims,
    ed_key,
    jwk,
    key_set,
    metadata,
    provider,
    sign,
)


def verify(token: str, **changes: Any) -> VerifiedClaims:
    settings = provider(leeway_seconds=60.0)
    parts: dict[str, Any] = {"nonce": NONCE, "now": NOW, **changes}
    return verify_id_token(token, settings, metadata(), key_set(), **parts)


def refusal(changed: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(InvalidToken) as caught:
        verify(sign(claims(**changed)), **changes)
    return caught.value.code


def test_a_good_token_is_accepted() -> None:
    assert verify(sign(claims())) == claims()


def test_verified_claims_cannot_be_changed() -> None:
    verified = verify(sign(claims()))

    with pytest.raises(TypeError):
        verified["sub"] = "other"  # type: ignore[index]


class TestParties:
    """Rules 2 to 5."""

    @pytest.mark.parametrize("issuer", [None, "", f"{ISSUER}/", "https://evil.example", [ISSUER], 7])
    def test_another_issuer_is_refused(self, issuer: Any) -> None:
        assert refusal({"iss": issuer}) == "iss_mismatch"

    @pytest.mark.parametrize(
        "audience", [None, "", "other", [], ["other"], f"{CLIENT_ID} ", 7, {}, [[CLIENT_ID]]]
    )
    def test_another_audience_is_refused(self, audience: Any) -> None:
        assert refusal({"aud": audience}) == "aud_mismatch"

    @pytest.mark.parametrize("audience", [CLIENT_ID, [CLIENT_ID], [CLIENT_ID, CLIENT_ID]])
    def test_our_audience_may_be_text_or_a_list(self, audience: Any) -> None:
        assert verify(sign(claims(aud=audience)))["aud"] == audience

    @pytest.mark.parametrize("audience", [[CLIENT_ID, "other"], ["other", CLIENT_ID], [CLIENT_ID, None]])
    def test_a_stranger_in_the_audience_is_refused(self, audience: Any) -> None:
        """S19: also when azp is ours."""
        assert refusal({"aud": audience}) == "aud_untrusted"
        assert refusal({"aud": audience, "azp": CLIENT_ID}) == "aud_untrusted"

    def test_azp_must_be_us(self) -> None:
        """S19: azp, with one audience too."""
        assert verify(sign(claims(azp=CLIENT_ID)))["azp"] == CLIENT_ID
        assert refusal({"azp": "other"}) == "azp_mismatch"
        assert refusal({"azp": [CLIENT_ID]}) == "azp_mismatch"


class TestDates:
    """S19: rules 9 and 10; NumericDate of RFC 7519 §2."""

    @pytest.mark.parametrize("name", ["exp", "iat"])
    def test_exp_and_iat_are_required(self, name: str) -> None:
        assert refusal({name: None}) == f"{name}_missing"

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"exp": NOW - 60}, "token_expired"),
            ({"exp": 0}, "token_expired"),
            ({"iat": NOW + 61}, "token_from_future"),
            ({"nbf": NOW + 61}, "token_not_yet_valid"),
        ],
    )
    def test_beyond_the_leeway_is_refused(self, changed: dict[str, Any], code: str) -> None:
        assert refusal(changed) == code

    @pytest.mark.parametrize(
        "changed",
        [{"exp": NOW - 59.5}, {"iat": NOW + 60}, {"nbf": NOW + 60}, {"exp": int(NOW) + 0.25}, {"iat": 0}],
    )
    def test_within_the_leeway_is_accepted(self, changed: dict[str, Any]) -> None:
        """D3: clocks may differ by a minute."""
        assert verify(sign(claims(**changed)))["sub"] == "248289"

    @pytest.mark.parametrize("value", [2**31, 2**31 + 1, 2**32, 4_102_444_800, 253_402_300_799])
    def test_an_end_beyond_2038_is_fine(self, value: int) -> None:
        assert verify(sign(claims(exp=value)))["exp"] == value

    @pytest.mark.parametrize(
        "value",
        ["1700000300", True, False, [1], {}, -1, -0.5, 253_402_300_800, int(NOW) * 1000, 10**400, 1e300],
    )
    @pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
    def test_what_is_no_date_is_refused(self, name: str, value: Any) -> None:
        """S19: text, truth, negative and huge numbers; milliseconds, which would never expire."""
        assert refusal({name: value}) == "date_invalid"

    def test_an_infinite_date_is_refused(self) -> None:
        payload = f'{{"iss":"{ISSUER}","aud":"{CLIENT_ID}","sub":"a","iat":1,"exp":1e999}}'.encode()

        with pytest.raises(InvalidToken, match="date_invalid"):
            verify(sign(payload))

    @given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
    def test_any_number_is_judged(self, value: float) -> None:
        try:
            verify(sign(claims(exp=value)))
        except InvalidToken as error:
            assert error.code in {"date_invalid", "token_expired", "claims_unreadable"}  # noqa: PT017
        else:
            assert value > NOW - 60


class TestSubject:
    @pytest.mark.parametrize("subject", [None, "", 7, ["a"], "a" * 256, "a\nb", "a\x00", "\x7f"])
    def test_a_subject_is_required(self, subject: Any) -> None:
        """S19: text of 1 to 255 characters."""
        assert refusal({"sub": subject}) == "sub_invalid"

    @pytest.mark.parametrize("subject", ["a", "a" * 255, "auth0|1", "a b", "Ünïcode"])
    def test_any_printable_text_is_one(self, subject: str) -> None:
        assert verify(sign(claims(sub=subject)))["sub"] == subject


class TestNonce:
    @pytest.mark.parametrize("nonce", [None, "", "other", NONCE + " ", NONCE.upper(), [NONCE], 7])
    def test_another_nonce_is_refused(self, nonce: Any) -> None:
        """S04: the nonce is checked before a token is used or stored."""
        assert refusal({"nonce": nonce}) == "nonce_mismatch"


class TestAccessTokenHash:
    """§3.1.3.8."""

    @staticmethod
    def half_hash(text: str, name: str = "sha256") -> str:
        digest = hashlib.new(name, text.encode()).digest()
        return b64(digest[: len(digest) // 2])

    def test_the_hash_of_the_access_token_is_accepted(self) -> None:
        token = sign(claims(at_hash=self.half_hash("token")))

        assert verify(token, access_token="token")["sub"] == "248289"

    def test_an_algorithm_hashes_with_its_own_function(self) -> None:
        token = sign(claims(at_hash=self.half_hash("token", "sha384")), alg="RS384")

        assert verify(token, access_token="token")["sub"] == "248289"

    def test_eddsa_hashes_with_sha512(self) -> None:
        token = sign(claims(at_hash=self.half_hash("token", "sha512")), ed_key(), "EdDSA")
        keys = key_set(jwk(ed_key(), kid="k1"))

        verified = verify_id_token(
            token, provider(), metadata(), keys, nonce=NONCE, now=NOW, access_token="token"
        )

        assert verified["sub"] == "248289"

    @pytest.mark.parametrize("value", ["", "AAAA", 7, None])
    def test_another_hash_is_refused(self, value: Any) -> None:
        changed = {"at_hash": value if value is not None else self.half_hash("other")}

        assert refusal(changed, access_token="token") == "at_hash_mismatch"

    def test_a_missing_hash_is_accepted_in_the_code_flow(self) -> None:
        assert verify(sign(claims()), access_token="token")["sub"] == "248289"


class TestAuthTime:
    """Rule 13."""

    def test_without_max_age_it_is_not_asked_for(self) -> None:
        assert verify(sign(claims(auth_time=1)))["auth_time"] == 1

    def test_a_login_that_is_recent_enough_is_accepted(self) -> None:
        assert verify(sign(claims(auth_time=NOW - 350)), max_age=300)["sub"] == "248289"

    def test_a_login_that_is_too_old_is_refused(self) -> None:
        assert refusal({"auth_time": NOW - 361}, max_age=300) == "auth_too_old"

    def test_a_missing_time_is_refused(self) -> None:
        assert refusal({}, max_age=300) == "auth_time_missing"


SESSION = Session(
    id="s",
    site="main",
    provider="main",
    identity=Identity(issuer=ISSUER, subject="248289", user="248289", claims={}),
    created_at=NOW,
    seen_at=NOW,
    absolute_end=NOW + 1,
    nonce=NONCE,
    auth_time=NOW - 10,
)


class TestRefreshed:
    """S22: §12.2."""

    @staticmethod
    def verify(session: Session = SESSION, **changed: Any) -> VerifiedClaims:
        token = sign(claims(**changed))
        return verify_refreshed_id_token(token, provider(), metadata(), key_set(), session=session, now=NOW)

    def refusal(self, **changed: Any) -> str:
        with pytest.raises(InvalidToken) as caught:
            self.verify(**changed)
        return caught.value.code

    def test_the_same_issuer_and_subject_are_accepted(self) -> None:
        assert self.verify(nonce=None)["sub"] == "248289"
        assert self.verify(auth_time=NOW - 10)["sub"] == "248289"

    def test_another_subject_is_refused(self) -> None:
        assert self.refusal(sub="other") == "sub_changed"

    def test_another_issuer_is_refused(self) -> None:
        assert self.refusal(iss="https://evil.example") == "iss_mismatch"

    def test_a_session_of_another_issuer_is_refused(self) -> None:
        moved = replace(SESSION, identity=replace(SESSION.identity, issuer="https://old.example"))

        with pytest.raises(InvalidToken, match="iss_mismatch"):
            self.verify(moved)

    def test_another_nonce_is_refused(self) -> None:
        assert self.refusal(nonce="other") == "nonce_mismatch"

    def test_another_time_of_authentication_is_refused(self) -> None:
        assert self.refusal(auth_time=NOW) == "auth_time_changed"

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"exp": NOW - 100}, "token_expired"),
            ({"aud": "other"}, "aud_mismatch"),
            ({"iat": None}, "iat_missing"),
            ({"at_hash": "AAAA"}, None),
        ],
    )
    def test_it_is_checked_like_the_first(self, changed: dict[str, Any], code: str | None) -> None:
        if code is None:
            assert self.verify(**changed)["sub"] == "248289"
        else:
            assert self.refusal(**changed) == code
