"""E-mail addresses and domains in the form in which a policy compares them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.emails import canonical_domain, canonical_email


class TestEmails:
    @pytest.mark.parametrize(
        ("text", "canonical"),
        [
            ("ada@example.com", "ada@example.com"),
            ("Ada.Lovelace+x@EXAMPLE.com", "ada.lovelace+x@example.com"),
            ("jörg@example.com", "jörg@example.com"),
            ("JÖRG@example.com", "jörg@example.com"),
            ("jo\u0308rg@example.com", "jörg@example.com"),
            ("o'neil@example.com", "o'neil@example.com"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
            ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
        ],
    )
    def test_case_and_form_are_folded(self, text: str, canonical: str) -> None:
        """S24: case-folded, and the domain IDNA-equal."""
        assert canonical_email(text) == canonical

    @pytest.mark.parametrize(
        "text",
        [
            *("", "@", "ada", "ada@", "@example.com", "ada@evil.org@example.com", "ada@@example.com"),
            *('"ada@evil.org"@example.com', "ada @example.com", "ada@example.com ", " ada@example.com"),
            *("ada@example.com\n", "ada\x00@example.com", "Ada <ada@example.com>", "ada@example.com,b@x.org"),
            *("ada@[10.0.0.1]", "ada@example..com", "ada@.example.com", "ada@example.com.", "ada@-x.com"),
            *("a" * 250 + "@x.org", "ada@" + "a" * 64 + ".com"),
        ],
    )
    def test_what_is_not_one_plain_address_is_refused(self, text: str) -> None:
        """S24: exactly one `@`, and nothing that another reader may take for the end."""
        assert canonical_email(text) is None

    @pytest.mark.parametrize(
        "text",
        [
            "ada@ex\uff41mple.com",  # full-width a
            "ada@example\uff0ecom",  # full-width full stop
            "ada@example\u3002com",  # ideographic full stop, a dot to IDNA
            "ada@example\uff61com",
            "\uff41da@example.com",
            "as\u212a@example.com",  # Kelvin sign, "k" in lower case
            "ada@\u212aoln.example",
            "bo\u017fs@example.com",  # long s, "s" when folded
            "stra\u00dfe@example.com",  # "ss" when folded
            "ada@fa\u00df.example",  # fass.example to IDNA 2003
            "\u0130da@example.com",  # dotted capital I
            "o\ufb03ce@example.com",  # ligature
            "ada@exam\u00adple.com",  # soft hyphen, dropped by IDNA 2003
            "ada@exam\u200dple.com",  # zero width joiner
            "ada@\u2460.example",
        ],
    )
    def test_what_looks_like_another_address_is_refused(self, text: str) -> None:
        """S24: Unicode look-alikes are refused, not mapped."""
        assert canonical_email(text) is None

    def test_a_letter_of_another_script_makes_another_address(self) -> None:
        """S24: a Cyrillic a is no Latin one."""
        assert canonical_email("ada@ex\u0430mple.com") == "ada@xn--exmple-4nf.com"
        assert canonical_email("\u0430da@example.com") != "ada@example.com"

    @given(st.text() | st.from_regex(r"\w+@\w+\.\w+", fullmatch=True))
    def test_a_canonical_address_is_its_own_canonical_form(self, text: str) -> None:
        canonical = canonical_email(text)
        if canonical is None:
            return
        assert canonical_email(canonical) == canonical
        assert canonical.count("@") == 1
        assert canonical.rpartition("@")[2].isascii()


class TestDomains:
    @pytest.mark.parametrize(
        "text",
        ["", ".", "a.", ".a", "a..b", "*", "*.a", "a b", "a/b", "a:1", "a@b", "xn--\u00fc", "\u00fc" * 70],
    )
    def test_what_is_no_domain_is_refused(self, text: str) -> None:
        assert canonical_domain(text) is None

    def test_names_with_underscore_and_digits_pass(self) -> None:
        assert canonical_domain("_a.B-1.10") == "_a.b-1.10"
