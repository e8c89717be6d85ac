"""The conditions that ask for one of listed values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from sidecar.core.errors import ConfigurationError
from sidecar.core.identity import Identity, Json
from sidecar.core.membership import ClaimEquals, EmailDomains, Emails, Groups, Roles, Users, lookup_claim
from sidecar.core.verdict import Condition


def person(**parts: Any) -> Identity:
    return Identity(
        **{"issuer": "https://id.example.com", "subject": "1", "user": "ada", "claims": {}} | parts
    )


def admits(condition: Condition, identity: Identity) -> bool:
    return condition.judge(identity, "192.0.2.1").allowed


LISTED: list[Callable[[tuple[str, ...]], Condition]] = [Users, Emails, EmailDomains, Groups, Roles]


class TestLists:
    @pytest.mark.parametrize("kind", LISTED)
    def test_an_empty_list_is_refused(self, kind: Callable[[tuple[str, ...]], Condition]) -> None:
        """S61: an empty allow list opens nothing, and starts nothing either."""
        with pytest.raises(ConfigurationError, match="the list is empty, so nobody could pass"):
            kind(())

    @pytest.mark.parametrize("kind", LISTED)
    @pytest.mark.parametrize("value", ["", " "])
    def test_an_empty_value_is_refused(
        self, kind: Callable[[tuple[str, ...]], Condition], value: str
    ) -> None:
        """S61: it would match an empty claim."""
        with pytest.raises(ConfigurationError):
            kind((value,))

    @pytest.mark.parametrize("kind", LISTED)
    def test_nobody_is_asked_to_sign_in(self, kind: Callable[[tuple[str, ...]], Condition]) -> None:
        value = "a@example.com" if kind is Emails else "example.com"
        verdict = kind((value,)).judge(None, "192.0.2.1")

        assert (verdict.allowed, verdict.needs_login, verdict.is_known) == (False, True, False)
        assert verdict.why.startswith("nobody is signed in; needs one of the ")
        assert verdict.why.endswith(value)

    @pytest.mark.parametrize(
        "condition", [Emails(("a@b.c",)), EmailDomains(("b.c",)), Groups(("g",)), Roles(("r",))]
    )
    def test_what_is_missing_is_not_held_and_not_surely_lacking(self, condition: Condition) -> None:
        """S61: a missing claim denies."""
        verdict = condition.judge(person(), "192.0.2.1")

        assert (verdict.allowed, verdict.needs_login, verdict.is_known) == (False, False, False)

    def test_a_long_list_is_told_in_short(self) -> None:
        verdict = Groups(tuple("abcdefgh")).judge(person(groups=("x",)), "192.0.2.1")

        assert verdict.why == "none of the groups a, b, c, d, e and 3 more"

    def test_conditions_of_the_same_values_are_equal(self) -> None:
        assert Groups(("a",)) == Groups(("a",))
        assert Groups(("a",)) != Groups(("b",))
        assert repr(Groups(("a",))) == "Groups(values=('a',))"


class TestUsersGroupsAndRoles:
    def test_values_are_compared_exactly(self) -> None:
        assert admits(Users(("ada", "bob")), person())
        assert not admits(Users(("Ada", "ad", "ada ")), person())
        assert admits(Groups(("ops", "admins")), person(groups=("staff", "admins")))
        assert not admits(Groups(("Admins", "admin", "admins,staff")), person(groups=("staff", "admins")))
        assert admits(Roles(("editor",)), person(roles=("editor",)))
        assert not admits(Roles(("editor",)), person(roles=("editors",), groups=("editor",)))

    def test_a_user_without_name_is_nobody_of_the_list(self) -> None:
        assert not Users(("ada",)).judge(person(user=""), "192.0.2.1").is_known


class TestEmails:
    @pytest.mark.parametrize("held", ["ada@example.com", "ADA@Example.COM"])
    @pytest.mark.parametrize("written", ["ada@example.com", "Ada@EXAMPLE.com"])
    def test_case_makes_no_difference(self, held: str, written: str) -> None:
        """S24, S61: case-folded on both sides."""
        assert admits(Emails((written,)), person(email=held))

    @pytest.mark.parametrize(
        "held",
        [None, "", "ada", "ada@example.com@evil.org", "evil.org@ada@example.com", "ad\u0430@example.com"],
    )
    def test_an_address_that_is_missing_or_another_is_not_admitted(self, held: str | None) -> None:
        """S24: an address that isn't verified is None here."""
        assert not admits(Emails(("ada@example.com",)), person(email=held))

    @pytest.mark.parametrize(
        "written", ["example.com", "@example.com", "*@example.com ", "ad\u212a@example.com"]
    )
    def test_what_is_no_address_is_refused(self, written: str) -> None:
        with pytest.raises(ConfigurationError, match=r"write it as name@example\.com"):
            Emails((written,))


class TestEmailDomains:
    @pytest.mark.parametrize(
        ("written", "held", "is_admitted"),
        [
            ("example.com", "ada@example.com", True),
            ("EXAMPLE.com", "ada@Example.Com", True),
            ("example.com", "ada@sub.example.com", False),
            ("example.com", "ada@evil-example.com", False),
            ("example.com", "ada@example.com.evil.org", False),
            ("example.com", "ada@example.co", False),
            ("example.com", "ada@evil.org@example.com", False),
            ("example.com", "example.com@evil.org", False),
            ("example.com", '"x@example.com"@evil.org', False),
            ("example.com", "ada@ex\u0430mple.com", False),
            ("example.com", "ada@ex\uff41mple.com", False),
            ("example.com", "ada@example.com.", False),
            ("example.com", None, False),
            ("*.example.com", "ada@sub.example.com", True),
            ("*.example.com", "ada@a.b.example.com", True),
            (".example.com", "ada@sub.EXAMPLE.com", True),
            ("*.example.com", "ada@example.com", False),
            ("*.example.com", "ada@evil-example.com", False),
            ("*.example.com", "ada@evilexample.com", False),
            ("bücher.example", "ada@xn--bcher-kva.example", True),
            ("xn--bcher-kva.example", "ada@Bücher.example", True),
            ("*.bücher.example", "ada@a.xn--bcher-kva.example", True),
        ],
    )
    def test_the_domain_is_what_follows_the_only_at(
        self, written: str, held: str | None, *, is_admitted: bool
    ) -> None:
        """S24: the part after the last and only `@`, folded, with the dot as boundary for subdomains."""
        assert admits(EmailDomains((written,)), person(email=held)) is is_admitted

    @pytest.mark.parametrize(
        "written",
        ["*", "*.", ".", "*example.com", "a@example.com", "example..com", "*.*.com", "ex\u212a.com"],
    )
    def test_what_is_no_domain_is_refused(self, written: str) -> None:
        with pytest.raises(ConfigurationError, match="is no domain; write"):
            EmailDomains((written,))


class TestClaims:
    CLAIMS: ClassVar[dict[str, Json]] = {
        "department": "sales",
        "level": 3,
        "is_staff": True,
        "share": 0.5,
        "amr": ["pwd", "otp"],
        "nothing": None,
        "empty": [],
        "resource_access": {"app": {"roles": ["editor"]}, "my.app": {"roles": ["viewer"]}},
        "https://example.com/roles": ["owner"],
        "https://example.com/app": {"team": "blue"},
        "mixed": [{"a": 1}, "x"],
    }

    @pytest.mark.parametrize(
        ("path", "values"),
        [
            ("department", ("sales",)),
            ("department", ("ops", "sales")),
            ("level", (3,)),
            ("level", (3.0,)),
            ("is_staff", (True,)),
            ("share", (0.5,)),
            ("amr", ("otp",)),
            ("resource_access.app.roles", ("editor",)),
            ("resource_access.my.app.roles", ("viewer",)),
            ("https://example.com/roles", ("owner",)),
            ("https://example.com/app.team", ("blue",)),
            ("mixed", ("x",)),
        ],
    )
    def test_a_claim_that_is_or_holds_the_value_admits(
        self, path: str, values: tuple[bool | int | float | str, ...]
    ) -> None:
        assert admits(ClaimEquals(path, values), person(claims=self.CLAIMS))

    @pytest.mark.parametrize(
        ("path", "values"),
        [
            ("department", ("Sales", "sale")),
            ("level", ("3", True)),
            ("is_staff", (1, "true")),
            ("amr", ("pwd,otp", "p")),
            ("resource_access.app.roles", ("edit",)),
        ],
    )
    def test_another_value_or_type_does_not(
        self, path: str, values: tuple[bool | int | float | str, ...]
    ) -> None:
        """S61: a claim of the wrong type denies."""
        verdict = ClaimEquals(path, values).judge(person(claims=self.CLAIMS), "192.0.2.1")

        assert (verdict.allowed, verdict.is_known) == (False, True)

    @pytest.mark.parametrize(
        "path",
        [
            *(
                "absent",
                "nothing",
                "empty",
                "resource_access",
                "resource_access.app",
                "department.x",
                "amr.0",
            ),
            *("resource_access.other.roles", "resource_access.app.roles.x"),
        ],
    )
    def test_a_missing_or_structured_claim_is_unknown(self, path: str) -> None:
        """S61: a missing claim denies."""
        verdict = ClaimEquals(path, ("x",)).judge(person(claims=self.CLAIMS), "192.0.2.1")

        assert (verdict.allowed, verdict.needs_login, verdict.is_known) == (False, False, False)
        assert verdict.why == f"claim {path} is missing or no plain value, so none of x"

    def test_nobody_is_asked_to_sign_in(self) -> None:
        verdict = ClaimEquals("level", (3, True)).judge(None, "192.0.2.1")

        assert verdict.needs_login
        assert verdict.why == "nobody is signed in; needs claim level to be one of 3, true"

    @pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b"])
    def test_what_is_no_path_is_refused(self, path: str) -> None:
        with pytest.raises(ConfigurationError, match="is no path to a claim"):
            ClaimEquals(path, ("x",))

    @pytest.mark.parametrize("path", ["email", "email_verified"])
    def test_the_bare_email_can_not_be_asked_for(self, path: str) -> None:
        """S24: it may be unverified."""
        with pytest.raises(ConfigurationError, match="`emails` and `email_domains` compare the verified"):
            ClaimEquals(path, ("ada@example.com",))

    def test_an_empty_list_is_refused(self) -> None:
        """S61: an empty allow list."""
        with pytest.raises(ConfigurationError, match="the values of claim x: the list is empty"):
            ClaimEquals("x", ())

    def test_a_whole_name_goes_before_a_path(self) -> None:
        assert lookup_claim({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
        assert lookup_claim({"a": {"b": 2}}, "a.b") == 2
        assert lookup_claim({"a": "text"}, "a.b") is None
