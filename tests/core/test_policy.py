"""What conditions say together, and what their negation must not say."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.core.errors import ConfigurationError
from sidecar.core.identity import Identity
from sidecar.core.policy import (
    All,
    AnyOf,
    Anyone,
    Authenticated,
    ClaimEquals,
    Condition,
    EmailDomains,
    Emails,
    Groups,
    Networks,
    Not,
    Roles,
    Users,
    claims_used,
    evaluate,
    is_public,
)

INSIDE = "10.1.2.3"
OUTSIDE = "192.0.2.1"
ADA = Identity(
    issuer="https://id.example.com",
    subject="1",
    user="ada",
    email="ada@example.com",
    groups=("admins", "staff"),
    claims={"level": 3},
)
NAMELESS = Identity(issuer="https://id.example.com", subject="2", user="bob", claims={})
ADMINS, OTHERS = Groups(("admins",)), Groups(("others",))
OFFICE = Networks.of(["10.0.0.0/8"])

leaves = st.sampled_from(
    [
        Anyone(),
        Authenticated(),
        Users(("ada",)),
        Emails(("ada@example.com",)),
        EmailDomains(("example.org",)),
        ADMINS,
        OTHERS,
        Roles(("editor",)),
        ClaimEquals("level", (3,)),
        OFFICE,
    ]
)


def negate(condition: Condition) -> Condition:
    return condition if isinstance(condition, Authenticated) else Not(condition)


conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: All(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        inner.map(negate),
    ),
    max_leaves=8,
)


def outcome(condition: Condition, identity: Identity | None, client_ip: str = OUTSIDE) -> str:
    verdict = evaluate(condition, identity, client_ip)
    return "allowed" if verdict.allowed else "login" if verdict.needs_login else "denied"


class TestLeaves:
    def test_anyone_is_anyone(self) -> None:
        assert [outcome(Anyone(), who) for who in (None, ADA)] == ["allowed", "allowed"]

    def test_authenticated_asks_for_a_sign_in(self) -> None:
        assert [outcome(Authenticated(), who) for who in (None, ADA)] == ["login", "allowed"]

    def test_why_is_readable(self) -> None:
        assert evaluate(OTHERS, ADA, OUTSIDE).why == "none of the groups others"
        assert evaluate(ADMINS, ADA, OUTSIDE).why == "one of the groups admins"


class TestAll:
    @pytest.mark.parametrize(
        ("parts", "who", "address", "expected"),
        [
            ((Authenticated(), ADMINS), ADA, OUTSIDE, "allowed"),
            ((ADMINS, OTHERS), ADA, OUTSIDE, "denied"),
            ((ADMINS, OFFICE), None, INSIDE, "login"),
            # A sign-in would not bring anybody into the network, so nobody is sent to sign in.
            ((ADMINS, OFFICE), None, OUTSIDE, "denied"),
            ((OFFICE, ADMINS), ADA, "unix", "denied"),
            # Unknown in two ways: a sign-in may still make it surely false, and its negation true.
            ((OFFICE, ADMINS), None, "unix", "login"),
            ((ADMINS, Anyone()), NAMELESS, OUTSIDE, "denied"),
        ],
    )
    def test_each_must_admit(
        self, parts: tuple[Condition, ...], who: Identity | None, address: str, expected: str
    ) -> None:
        assert outcome(All(parts), who, address) == expected

    def test_why_names_what_refuses_or_all_that_admit(self) -> None:
        both = All((ADMINS, OFFICE))

        assert evaluate(both, ADA, INSIDE).why == (
            "one of the groups admins and from one of the networks 10.0.0.0/8"
        )
        assert evaluate(both, ADA, OUTSIDE).why == "from none of the networks 10.0.0.0/8"

    def test_an_empty_list_is_refused(self) -> None:
        """S61: logic would call it true."""
        with pytest.raises(ConfigurationError, match="all: the list is empty"):
            All(())


class TestAnyOf:
    @pytest.mark.parametrize(
        ("parts", "who", "address", "expected"),
        [
            ((OTHERS, ADMINS), ADA, OUTSIDE, "allowed"),
            ((ADMINS, OFFICE), None, INSIDE, "allowed"),
            ((ADMINS, OFFICE), None, OUTSIDE, "login"),
            ((OTHERS, OFFICE), ADA, OUTSIDE, "denied"),
            ((OFFICE,), None, OUTSIDE, "denied"),
        ],
    )
    def test_one_must_admit(
        self, parts: tuple[Condition, ...], who: Identity | None, address: str, expected: str
    ) -> None:
        assert outcome(AnyOf(parts), who, address) == expected

    def test_why_names_what_admits_or_all_that_refuse(self) -> None:
        either = AnyOf((OTHERS, OFFICE))

        assert evaluate(either, ADA, INSIDE).why == "from one of the networks 10.0.0.0/8"
        assert evaluate(either, ADA, OUTSIDE).why == (
            "none of the groups others; from none of the networks 10.0.0.0/8"
        )

    def test_an_empty_list_is_refused(self) -> None:
        """S61: an empty allow list."""
        with pytest.raises(ConfigurationError, match="any: the list is empty"):
            AnyOf(())


class TestNot:
    def test_it_refuses_whom_the_condition_admits_and_admits_others(self) -> None:
        assert outcome(Not(ADMINS), ADA) == "denied"
        assert outcome(Not(OTHERS), ADA) == "allowed"
        assert evaluate(Not(OTHERS), ADA, OUTSIDE).why == "not (none of the groups others)"

    @pytest.mark.parametrize(
        "condition",
        [
            ADMINS,
            Users(("bob",)),
            All((ADMINS, OFFICE)),
            AnyOf((ADMINS, OTHERS)),
            Not(ADMINS),
            ClaimEquals("level", (9,)),
        ],
    )
    def test_it_lets_in_no_stranger(self, condition: Condition) -> None:
        """S61: who is not signed in is not surely outside a group."""
        assert outcome(Not(condition), None) == "login"

    @pytest.mark.parametrize(
        "condition",
        [ADMINS, Roles(("x",)), Emails(("a@b.c",)), EmailDomains(("b.c",)), ClaimEquals("level", (9,))],
    )
    def test_it_lets_in_nobody_of_whom_too_little_is_known(self, condition: Condition) -> None:
        """S61: a missing claim is no proof of anything."""
        assert outcome(Not(condition), NAMELESS) == "denied"
        assert outcome(Not(Not(condition)), NAMELESS) == "denied"
        assert outcome(Not(AnyOf((condition, OFFICE))), NAMELESS) == "denied"

    def test_what_no_identity_would_change_is_decided_at_once(self) -> None:
        assert outcome(Not(OFFICE), None) == "allowed"
        assert outcome(Not(OFFICE), None, INSIDE) == "denied"
        assert outcome(Not(OFFICE), None, "unix") == "denied"
        assert outcome(Not(AnyOf((OFFICE, ADMINS))), None, INSIDE) == "denied"
        assert outcome(Not(Anyone()), None) == "denied"
        assert outcome(Not(Anyone()), ADA) == "denied"
        assert evaluate(Not(Anyone()), ADA, OUTSIDE).why == "nobody may"

    def test_what_could_never_admit_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="to close a path write `nobody`"):
            Not(Authenticated())


class TestLaws:
    @given(conditions, st.sampled_from([None, ADA, NAMELESS]), st.sampled_from([INSIDE, OUTSIDE, "unix"]))
    def test_a_condition_and_its_negation_never_both_admit(
        self, condition: Condition, who: Identity | None, address: str
    ) -> None:
        if not isinstance(condition, Authenticated):
            assert not (
                evaluate(condition, who, address).allowed and evaluate(Not(condition), who, address).allowed
            )

    @given(conditions, st.sampled_from([None, ADA, NAMELESS]), st.sampled_from([INSIDE, OUTSIDE, "unix"]))
    def test_a_verdict_is_one_of_three(
        self, condition: Condition, who: Identity | None, address: str
    ) -> None:
        verdict = evaluate(condition, who, address)

        assert not (verdict.allowed and verdict.needs_login)
        assert verdict.is_known or not verdict.allowed
        assert who is None or not verdict.needs_login
        assert 0 < len(verdict.why) <= 400

    @given(conditions, st.sampled_from([INSIDE, OUTSIDE, "unix"]))
    @settings(max_examples=300)
    @example(Not(Not(All((Users(("ada",)), OFFICE)))), "unix")
    @example(Not(All((Users(("ada",)), OFFICE))), "unix")
    def test_where_no_sign_in_is_asked_for_none_would_help(self, condition: Condition, address: str) -> None:
        """Nobody is refused whom a sign-in would admit."""
        if outcome(condition, None, address) == "denied":
            assert not evaluate(condition, ADA, address).allowed
            assert not evaluate(condition, NAMELESS, address).allowed

    @given(conditions)
    def test_public_is_what_admits_everybody_everywhere(self, condition: Condition) -> None:
        if is_public(condition):
            for who in (None, ADA, NAMELESS):
                for address in (INSIDE, OUTSIDE, "unix"):
                    assert evaluate(condition, who, address).allowed


class TestFacts:
    def test_the_claims_that_conditions_look_at_are_known(self) -> None:
        condition = All((ADMINS, AnyOf((ClaimEquals("a.b", ("x",)), Not(ClaimEquals("c", (1,))))), Anyone()))

        assert claims_used(condition) == {"a.b", "c"}
        assert claims_used(Authenticated()) == set()

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            (Anyone(), True),
            (AnyOf((ADMINS, Anyone())), True),
            (All((Anyone(), Anyone())), True),
            (All((Anyone(), OFFICE)), False),
            (AnyOf((ADMINS, OFFICE)), False),
            (Not(OFFICE), False),
            (Authenticated(), False),
            (Networks.of(["0.0.0.0/0", "::/0"]), False),
        ],
    )
    def test_public_is_known(self, condition: Condition, *, expected: bool) -> None:
        assert is_public(condition) is expected
