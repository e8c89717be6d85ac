from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.claims import build_identity, merge_userinfo, needs_userinfo
from sidecar.core.errors import InvalidToken
from sidecar.core.identity import Identity
from sidecar.core.policy import lookup_claim
from sidecar.core.runtime import ClaimNames
from tests.core.oidcsetup import ISSUER, provider

BASE: dict[str, Any] = {"iss": ISSUER, "sub": "248289"}


def identity(told: dict[str, Any], kept: tuple[str, ...] = (), **settings: Any) -> Identity:
    return build_identity({**BASE, **told}, provider(**settings), kept)


def email(**claims: Any) -> str | None:
    return identity(claims).email


class TestEmail:
    """S24: an address counts for policy only when the provider has verified it."""

    @pytest.mark.parametrize("verified", [True, "true"])
    def test_a_verified_address_is_taken(self, verified: Any) -> None:
        assert email(email="Alice@Example.COM", email_verified=verified) == "alice@example.com"

    @pytest.mark.parametrize("verified", [False, "false"])
    def test_an_address_that_is_not_verified_refuses_the_login(self, verified: Any) -> None:
        """A9: email_verified=false."""
        with pytest.raises(InvalidToken, match="email_not_verified"):
            email(email="alice@example.com", email_verified=verified)

    @pytest.mark.parametrize("verified", [None, 1, 0, "yes", "TRUE", [True], {}])
    def test_without_a_clear_word_there_is_no_address(self, verified: Any) -> None:
        assert email(email="alice@example.com", email_verified=verified) is None

    def test_a_login_without_an_address_is_not_refused_for_it(self) -> None:
        assert email(email_verified=False) is None
        assert email(email="", email_verified=False) is None

    @pytest.mark.parametrize("claims", [{}, {"email_verified": False}, {"email_verified": True}])
    def test_the_operator_can_do_without_the_check(self, claims: dict[str, Any]) -> None:
        made = identity({"email": "a@example.com", **claims}, require_verified_email=False)

        assert made.email == "a@example.com"

    @pytest.mark.parametrize(
        "address",
        [
            "a@b@example.com",
            "example.com",
            "@example.com",
            "a@",
            "a b@example.com",
            "a@exampl\u212a.com",
            "a@ex\u0430mple..com",
            7,
            ["a@example.com"],
        ],
    )
    def test_what_is_no_plain_address_is_none(self, address: Any) -> None:
        """S24: exactly one @; no look-alikes."""
        assert email(email=address, email_verified=True) is None


class TestUser:
    def test_the_subject_names_the_user(self) -> None:
        assert identity({}).user == "248289"

    def test_the_first_claim_that_is_there_wins(self) -> None:
        names = ClaimNames(user=("upn", "preferred_username", "sub"))

        assert identity({"preferred_username": "al"}, claims=names).user == "al"
        assert identity({"upn": "", "preferred_username": ["al"]}, claims=names).user == "248289"

    def test_a_number_is_a_name(self) -> None:
        assert identity({"id": 4711}, claims=ClaimNames(user=("id",))).user == "4711"

    @pytest.mark.parametrize("claims", [{}, {"id": None}, {"id": True}, {"id": ""}, {"id": ["a"]}])
    def test_without_any_the_login_is_refused(self, claims: dict[str, Any]) -> None:
        with pytest.raises(InvalidToken, match="user_missing: none of id"):
            identity(claims, claims=ClaimNames(user=("id",)))

    def test_an_address_names_the_user_only_in_its_checked_form(self) -> None:
        """S24: what is not fit for policy is not the user's name either."""
        names = ClaimNames(user=("email",))

        assert (
            identity({"email": "A@Example.com", "email_verified": True}, claims=names).user == "a@example.com"
        )
        with pytest.raises(InvalidToken, match="user_missing"):
            identity({"email": "a@example.com"}, claims=names)


class TestMemberships:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (["b", "a", "b"], ("b", "a")),
            ("admins", ("admins",)),
            (["a", 7, None, "", ["b"], {}], ("a",)),
            ([], ()),
            ({}, ()),
            (7, ()),
            (None, ()),
        ],
    )
    def test_groups_are_texts_in_the_providers_order(self, value: Any, expected: tuple[str, ...]) -> None:
        assert identity({"groups": value}).groups == expected

    def test_one_text_is_one_group(self) -> None:
        """S47: a group called "a,admin" or "a admin" is not two."""
        assert identity({"groups": "a,admin b"}).groups == ("a,admin b",)

    def test_a_dotted_path_leads_to_them(self) -> None:
        names = ClaimNames(groups="https://example.com/groups", roles="realm_access.roles")
        made = identity({"https://example.com/groups": ["a"], "realm_access": {"roles": ["b"]}}, claims=names)

        assert (made.groups, made.roles) == (("a",), ("b",))

    def test_ten_thousand_groups_are_refused_clearly(self) -> None:
        """S25: bounded, with a code that says what is wrong."""
        with pytest.raises(InvalidToken, match="too_many_groups: 10000"):
            identity({"groups": [f"g{number}" for number in range(10_000)]})


class TestKeptClaims:
    def test_only_those_asked_for_are_kept(self) -> None:
        made = identity({"hd": "example.com", "x": {"y": [1]}, "secret": "s"}, kept=("hd", "x.y", "none"))

        assert dict(made.claims) == {"hd": "example.com", "x.y": [1]}

    def test_a_kept_claim_is_found_again_by_its_path(self) -> None:
        made = identity({"x": {"y": [1]}}, kept=("x.y",))

        assert lookup_claim(made.claims, "x.y") == [1]


class TestNeedsUserinfo:
    FULL = {**BASE, "email": "a@example.com", "preferred_username": "a", "groups": ["g"]}  # noqa: RUF012

    def test_auto_asks_when_something_needed_is_missing(self) -> None:
        assert not needs_userinfo(self.FULL, provider(), ())
        for name in ("email", "preferred_username", "groups"):
            assert needs_userinfo({**self.FULL, name: None}, provider(), ())
        assert needs_userinfo(self.FULL, provider(), ("hd",))
        assert needs_userinfo(self.FULL, provider(claims=ClaimNames(user=("upn",))), ())

    def test_always_and_never_are_what_they_say(self) -> None:
        assert needs_userinfo(self.FULL, provider(userinfo="always"), ())
        assert not needs_userinfo(BASE, provider(userinfo="never"), ("hd",))


class TestMerge:
    def test_the_id_token_counts_where_both_speak(self) -> None:
        merged = merge_userinfo({**BASE, "name": "A"}, {"sub": "x", "name": "B", "hd": "c"}, ClaimNames())

        assert dict(merged) == {**BASE, "name": "A", "hd": "c"}

    def test_one_sources_verification_never_covers_the_others_address(self) -> None:
        """S24: a verified second address must not vouch for the first."""
        userinfo: dict[str, Any] = {"email": "mine@example.com", "email_verified": True}

        merged = merge_userinfo({**BASE, "email": "victim@example.com"}, userinfo, ClaimNames())

        assert dict(merged) == {**BASE, "email": "victim@example.com"}

    def test_userinfo_may_verify_the_same_address(self) -> None:
        userinfo: dict[str, Any] = {"email": "a@example.com", "email_verified": True}

        merged = merge_userinfo({**BASE, "email": "a@example.com"}, userinfo, ClaimNames())

        assert merged["email_verified"] is True

    def test_nested_names_are_kept_apart_too(self) -> None:
        names = ClaimNames(email="mail", email_verified="mail_info.verified")
        userinfo: dict[str, Any] = {"mail": "mine@example.com", "mail_info": {"verified": True}}

        assert "mail_info" not in merge_userinfo({**BASE, "mail": "victim@example.com"}, userinfo, names)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "email", "email_verified", "groups", "roles", "name", "preferred_username"]),
        json_values,
    )
)
def test_whatever_the_claims_hold_it_is_an_identity_or_a_refusal(claims: dict[str, Any]) -> None:
    try:
        made = build_identity(claims, provider(), ("name",))
    except InvalidToken:
        return
    assert made.subject == claims["sub"]
    assert made.email is None or claims["email_verified"] in (True, "true")
