"""What kind of request this is, from what browsers say of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http import HeaderPair
from sidecar.core.navigation import (
    is_form,
    is_navigation,
    is_preflight,
    is_same_origin,
    is_script,
    is_trusted_origin,
    wants_page,
    websocket_key,
)
from tests.core.gatesetup import CROSS, HTML, NAVIGATE, WEBSOCKET, head, site

OWN = (b"Origin", b"https://app.example.com")
TRUSTED = site(trusted_origins=frozenset({"https://trusted.example"}))


class TestWhoLooks:
    @pytest.mark.parametrize("pairs", [HTML, NAVIGATE, ((b"accept", b"a/b;q=1, application/xhtml+xml"),)])
    def test_a_person(self, pairs: tuple[HeaderPair, ...]) -> None:
        assert wants_page(head(b"/", *pairs))
        assert is_navigation(head(b"/", *pairs))
        assert is_form(head(b"/", *pairs, method=b"POST"))
        assert not is_form(head(b"/", *pairs))
        assert not is_navigation(head(b"/", *pairs, method=b"POST"))

    @pytest.mark.parametrize(
        "pairs",
        [
            (),
            ((b"Accept", b"text/htmlx"),),
            ((b"Accept", b"application/json"),),
            (*HTML, (b"X-Requested-With", b"xmlhttprequest")),
            (*HTML, *WEBSOCKET),
            (*HTML, (b"Sec-Fetch-Mode", b"cors")),
        ],
    )
    def test_a_program(self, pairs: tuple[HeaderPair, ...]) -> None:
        """S37: Fetch Metadata decides where it is there; a page's scripts can't write it."""
        assert not wants_page(head(b"/", *pairs))


class TestScript:
    def test_a_browser_says_so(self) -> None:
        assert is_script(head(b"/", (b"Sec-Fetch-Mode", b"cors")))
        assert not is_script(head(b"/", *NAVIGATE))

    def test_where_it_says_nothing_nobody_knows(self) -> None:
        assert not is_script(head(b"/", (b"Accept", b"application/json")))


class TestPreflight:
    def test_it_has_both_fields_once(self) -> None:
        """Fetch §3.2.2."""
        asked = (b"Access-Control-Request-Method", b"POST")
        assert is_preflight(head(b"/", OWN, asked, method=b"OPTIONS"))
        for pairs in ((OWN,), (asked,), (OWN, OWN, asked), (OWN, asked, asked)):
            assert not is_preflight(head(b"/", *pairs, method=b"OPTIONS"))
        assert not is_preflight(head(b"/", OWN, asked))


class TestHandshake:
    def test_options_are_lists_in_any_case(self) -> None:
        """RFC 6455 §4.2.1."""
        spelled = (
            (b"upgrade", b"foo, WebSocket"),
            (b"Connection", b"keep-alive, UPGRADE"),
            *WEBSOCKET[2:],
            (b"Content-Length", b"0"),
        )
        assert websocket_key(head(b"/", *spelled)) == b"dGhlIHNhbXBsZSBub25jZQ=="

    @given(st.binary(max_size=30))
    def test_a_key_is_sixteen_bytes_or_none(self, key: bytes) -> None:
        """S54: any other bytes make no handshake."""
        pairs = (*WEBSOCKET[:2], (b"Sec-WebSocket-Key", key), WEBSOCKET[3])
        found = websocket_key(head(b"/", *pairs))
        assert found is None or len(found) == 24


class TestOrigins:
    def test_an_origin_is_trusted_by_its_exact_text(self) -> None:
        assert is_trusted_origin(TRUSTED, b"https://trusted.example")
        for origin in (b"https://trusted.example:443", b"http://trusted.example", b"null", b"", b"\xff"):
            assert not is_trusted_origin(TRUSTED, origin)

    @pytest.mark.parametrize(
        ("pairs", "is_own"),
        [
            ((), True),
            ((OWN,), True),
            (((b"Origin", b"HTTPS://APP.example.com"),), True),
            (CROSS, False),
            ((OWN, (b"Sec-Fetch-Site", b"cross-site")), False),
            ((OWN, (b"Sec-Fetch-Site", b"same-origin"), (b"Sec-Fetch-Site", b"cross-site")), False),
            (((b"Sec-Fetch-Site", b"unheard-of"),), False),
            (((b"Origin", b"null"),), False),
            (((b"Origin", b"null"), (b"Sec-Fetch-Site", b"cross-site")), False),
            (((b"Origin", b"null"), (b"Sec-Fetch-Site", b"same-site")), False),
            # A page with `Referrer-Policy: no-referrer` sends its own forms so (Fetch §3.2).
            (((b"Origin", b"null"), (b"Sec-Fetch-Site", b"same-origin")), True),
            (((b"Origin", b"null"), OWN, (b"Sec-Fetch-Site", b"same-origin")), False),
            (((b"Origin", b""),), False),
            (((b"Origin", b"https://app.example.com:443"),), False),
            (((b"Origin", b"https://trusted.example"), (b"Sec-Fetch-Site", b"same-site")), True),
            (((b"Origin", b"https://trusted.example"), OWN, (b"Sec-Fetch-Site", b"same-site")), False),
        ],
    )
    def test_every_witness_must_agree(self, pairs: tuple[HeaderPair, ...], is_own: bool) -> None:
        """S39: Sec-Fetch-Site and Origin, each as often as it is there."""
        assert is_same_origin(TRUSTED, head(b"/", *pairs, method=b"POST")) == is_own

    def test_a_form_of_a_page_without_referrer_is_of_its_own_origin(self) -> None:
        """S39: such a page sends `Origin: null`; without the browser's word for it that is anybody's.

        Our own sign-out was refused so, and every form of an application with that policy.
        """
        null, same = (b"Origin", b"null"), (b"Sec-Fetch-Site", b"same-origin")
        assert is_same_origin(TRUSTED, head(b"/", null, same, method=b"POST"))
        for pairs in (
            (null,),
            (null, null, same),
            (null, (b"Sec-Fetch-Site", b"same-site")),
            (null, (b"Sec-Fetch-Site", b"cross-site")),
            (null, (b"Sec-Fetch-Site", b"none")),
            (null, same, same),
            (null, same, (b"Sec-Fetch-Site", b"cross-site")),
        ):
            assert not is_same_origin(TRUSTED, head(b"/", *pairs, method=b"POST"))
