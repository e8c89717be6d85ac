"""What of an upstream's answer head reaches the downstream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.answer import AnswerHead, finish_answer, websocket_accept
from sidecar.core.decision import Finish
from sidecar.core.http import HeaderPair

OWN = frozenset({b"__Host-doorward", b"__Host-doorward.*", b"__Host-login", b"__Host-login.*"})
PLAIN = Finish(own_cookie_names=OWN)
OURS = b"__Host-doorward=v; Path=/; Secure; HttpOnly; SameSite=Lax"
WITH_COOKIE = Finish(own_cookie_names=OWN, set_cookies=(OURS,))
# The example of RFC 6455 §1.3.
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
WEBSOCKET = Finish(own_cookie_names=OWN, is_websocket=True, websocket_key=KEY)


def finish(*pairs: HeaderPair, by: Finish = PLAIN, status: int = 200) -> AnswerHead:
    return finish_answer(by, status, list(pairs))


def headers(*pairs: HeaderPair, by: Finish = PLAIN, status: int = 200) -> list[HeaderPair]:
    return finish(*pairs, by=by, status=status).headers


class TestPassing:
    def test_a_plain_answer_passes_as_it_is(self) -> None:
        pairs = [
            (b"Content-Type", b"text/html"),
            (b"set-cookie", b"a=1"),
            (b"Set-Cookie", b"a=2"),
            (b"X-Forwarded-User", b"the application's own"),
            (b"Access-Control-Allow-Origin", b"*"),
            (b"ETag", b'"x"'),
            (b"Cache-Control", b"public, max-age=60"),
        ]
        answer = finish(*pairs)
        assert answer.headers == pairs
        assert answer.is_acceptable
        assert not answer.is_tunnel

    @pytest.mark.parametrize(
        "name",
        [
            b"Connection",
            b"Keep-Alive",
            b"Proxy-Connection",
            b"Proxy-Authenticate",
            b"TE",
            b"Trailer",
            b"Transfer-Encoding",
            b"Content-Length",
            b"upgrade",
        ],
    )
    def test_hop_by_hop_and_framing_fields_stay_here(self, name: bytes) -> None:
        """S46: hop by hop and framing fields stay here."""
        assert headers((name, b"x")) == []

    def test_nominated_fields_stay_here(self) -> None:
        """S46: RFC 9110 §7.6.1."""
        assert headers((b"X-Hop", b"1"), (b"Connection", b"close, x-hop"), (b"A", b"2")) == [(b"A", b"2")]

    def test_an_upstream_cannot_sign_an_answer_as_ours(self) -> None:
        """S37: an upstream cannot sign an answer as ours."""
        assert headers((b"doorward-intercepted", b"denied")) == []

    def test_our_further_fields_are_added(self) -> None:
        banner = (b"Doorward-Development", b"yes")
        assert headers((b"A", b"1"), by=Finish(own_cookie_names=OWN, set_headers=(banner,))) == [
            (b"A", b"1"),
            banner,
        ]


class TestOurCookieNames:
    @pytest.mark.parametrize(
        "value",
        [
            b"__Host-doorward=x",
            b"__Host-doorward=; Max-Age=0",
            b"__Host-doorward.0=x; Path=/",
            b"__Host-login.abcdefgh=x",
            b" \t__Host-doorward \t= x",
            b"\x1f__Host-doorward=x",
            b"__Host-doorward",
            b"=__Host-doorward=x",
            b" = __Host-doorward=x",
            b"__Host-doorward;a=b",
        ],
    )
    def test_an_upstream_cannot_set_or_delete_them(self, value: bytes) -> None:
        """S40: an upstream cannot set or delete them."""
        assert headers((b"Set-Cookie", value)) == []

    @pytest.mark.parametrize(
        "value",
        [b"__Host-doorwardx=1", b"a=__Host-doorward=1", b"__host-doorward=1", b"x; __Host-doorward=1"],
    )
    def test_other_names_are_its_own_business(self, value: bytes) -> None:
        """S30: exact bytes."""
        assert headers((b"Set-Cookie", value)) == [(b"Set-Cookie", value)]


class TestCaching:
    def test_our_cookies_come_last_and_make_the_answer_private(self) -> None:
        got = headers((b"Set-Cookie", b"a=1"), (b"ETag", b"x"), by=WITH_COOKIE)
        assert got == [
            (b"Set-Cookie", b"a=1"),
            (b"ETag", b"x"),
            (b"Cache-Control", b"private"),
            (b"Set-Cookie", OURS),
        ]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ([b"public, max-age=60"], b"private, max-age=60"),
            ([b"max-age=60, s-maxage=600"], b"private, max-age=60"),
            ([b"PUBLIC", b"must-revalidate"], b"private, must-revalidate"),
            ([b"no-store"], b"no-store"),
            ([b"public, No-Store"], b"No-Store"),
            ([b"private"], b"private"),
            ([b'private="set-cookie, x", max-age=1'], b"private, max-age=1"),
            ([b'no-cache="a, public"'], b'private, no-cache="a, public"'),
            ([b""], b"private"),
            ([b'max-age=1, x="'], b"private, max-age=1, x="),
        ],
    )
    def test_no_shared_cache_keeps_it(self, before: list[bytes], after: bytes) -> None:
        """Ours `private`; a stricter word of the application's stays."""
        got = headers(*((b"cache-control", value) for value in before), by=WITH_COOKIE)
        assert [v for n, v in got if n.lower() == b"cache-control"] == [after]

    @pytest.mark.parametrize(
        "name", [b"CDN-Cache-Control", b"Surrogate-Control", b"Cloudflare-CDN-Cache-Control"]
    )
    def test_what_speaks_past_cache_control_goes(self, name: bytes) -> None:
        """RFC 9213."""
        assert all(n != name for n, _ in headers((name, b"max-age=60"), by=WITH_COOKIE))
        assert headers((name, b"max-age=60")) == [(name, b"max-age=60")]

    @given(st.binary(max_size=40))
    def test_whatever_the_application_says_it_is_private(self, value: bytes) -> None:
        got = [v for n, v in headers((b"Cache-Control", value), by=WITH_COOKIE) if n == b"Cache-Control"]
        assert len(got) == 1
        names = {part.strip().lower() for part in got[0].split(b",")}
        assert names & {b"private", b"no-store"}
        assert b"public" not in names


class TestSwitchingProtocols:
    SWITCH = ((b"Upgrade", b"WebSocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", ACCEPT))

    def test_the_standards_example(self) -> None:
        """RFC 6455 §1.3."""
        assert websocket_accept(KEY) == ACCEPT

    def test_a_handshake_that_fits_becomes_a_tunnel(self) -> None:
        """S54: a handshake that fits becomes a tunnel."""
        answer = finish(*self.SWITCH, (b"Sec-WebSocket-Protocol", b"v1"), by=WEBSOCKET, status=101)
        assert answer.is_tunnel
        assert answer.is_acceptable
        assert answer.headers == [(b"Sec-WebSocket-Accept", ACCEPT), (b"Sec-WebSocket-Protocol", b"v1")]

    @pytest.mark.parametrize(
        "pairs",
        [
            (),
            SWITCH[:1],
            SWITCH[2:],
            ((b"Upgrade", b"h2c"), SWITCH[2]),
            (SWITCH[0], (b"Sec-WebSocket-Accept", websocket_accept(b"another"))),
            (*SWITCH, SWITCH[2]),
            (*SWITCH, (b"Upgrade", b"h2c")),
            ((b"Upgrade", b"websocket, h2c"), SWITCH[2]),
        ],
    )
    def test_a_101_that_does_not_fit_is_not_passed_on(self, pairs: tuple[HeaderPair, ...]) -> None:
        """S54: RFC 6455 §4.1."""
        answer = finish(*pairs, by=WEBSOCKET, status=101)
        assert not answer.is_tunnel
        assert not answer.is_acceptable

    def test_a_101_that_nobody_asked_for_is_not_passed_on(self) -> None:
        """S54: h2c smuggling ends here whatever the upstream agrees to."""
        answer = finish(*self.SWITCH, status=101)
        assert (answer.is_tunnel, answer.is_acceptable) == (False, False)

    def test_a_refused_handshake_is_an_answer_like_any_other(self) -> None:
        answer = finish((b"A", b"1"), by=WEBSOCKET, status=403)
        assert (answer.is_tunnel, answer.is_acceptable) == (False, True)


class TestBounds:
    def test_a_long_name_passes_and_is_not_remembered(self) -> None:
        pair = (b"X" * 65, b"1")
        assert headers(pair) == headers(pair) == [pair]

    def test_remembered_names_are_bounded(self) -> None:
        from sidecar.core import answer

        for number in range(3000):
            for _ in range(3):
                headers((b"X-%d" % number, b"1"))
        assert len(answer._kinds) <= 2048
