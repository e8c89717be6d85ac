"""What a client's header fields may not do: tell an identity, an origin, or our connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import BadRequest
from sidecar.core.forwarded import SET_NAMES
from sidecar.core.http import HeaderPair
from sidecar.core.hygiene import FORWARDED_NAMES, IDENTITY_NAMES, InboundNames, fold, nominated_names

HOST = (b"Host", b"app.example.com")
NAMES = InboundNames((*SET_NAMES, "X-Forwarded-User", "X-Team"), (), rules_name_methods=False)


def clean(
    *pairs: HeaderPair, names: InboundNames = NAMES, is_trusted: bool = False
) -> tuple[list[HeaderPair], bytes | None, bool]:
    kept, cookie, has_upgrade = names.clean([HOST, *pairs], is_trusted=is_trusted)
    assert kept[0] == HOST
    return kept[1:], cookie, has_upgrade


def is_kept(name: bytes, names: InboundNames = NAMES) -> bool:
    return clean((name, b"x"), names=names)[0] == [(name, b"x")]


class TestSpoofedNames:
    @pytest.mark.parametrize(
        "name",
        [
            b"X-Forwarded-User",
            b"x-forwarded-user",
            b"X_Forwarded_User",
            b"X-Forwarded_User",
            b"X.Forwarded.User",
            b"X~Forwarded~User",
            b"X!Forwarded|User",
            b"x^team",
            b"X-TEAM",
        ],
    )
    def test_a_name_that_folds_to_one_we_set_is_dropped(self, name: bytes) -> None:
        """S13, S41: a name that folds to one we set is dropped."""
        assert not is_kept(name)

    @given(
        st.sampled_from(["X-Forwarded-User", "X-Team", "Remote-User", "X-Auth-Request-Email", "Forwarded"]),
        st.data(),
    )
    def test_no_spelling_of_a_set_name_passes(self, name: str, data: st.DataObject) -> None:
        """S41: any case, any sign in the place of each hyphen."""
        signs = st.sampled_from("-_.~!#$%&'*+^`|")
        spelled = "".join(
            data.draw(signs) if c == "-" else data.draw(st.sampled_from([c.lower(), c.upper()])) for c in name
        )
        assert not is_kept(spelled.encode())

    @pytest.mark.parametrize("family", sorted({*IDENTITY_NAMES, *FORWARDED_NAMES}))
    def test_every_identity_and_forwarded_name_of_a_peer_is_dropped(self, family: str) -> None:
        """S41, S48: whatever family is in use here."""
        name = family + "anything" if family.endswith("-") else family
        assert not is_kept(name.encode())
        assert not is_kept(name.upper().replace("-", "_").encode())

    @pytest.mark.parametrize("name", [b"X_Custom", b"x.custom", b"X~Custom", b"Under_Score"])
    def test_a_name_with_another_sign_than_a_hyphen_is_dropped(self, name: bytes) -> None:
        """S42: some server behind folds it into another name."""
        assert not is_kept(name)

    def test_an_operator_keeps_such_a_name(self) -> None:
        """S42: werkzeug#2703, Pomerium #6638 show why somebody must be able to."""
        names = InboundNames(("X-Forwarded-User",), ("x_custom", "x-remote-group"), rules_name_methods=False)
        assert is_kept(b"X_Custom", names)
        assert is_kept(b"X-Remote-Group", names)
        assert not is_kept(b"X_Remote_Group", names)

    @pytest.mark.parametrize(
        "name", ["x-forwarded-user", "x_forwarded_user", "connection", "transfer_encoding"]
    )
    def test_nobody_keeps_a_name_that_we_set_or_that_frames(self, name: str) -> None:
        names = InboundNames(("X-Forwarded-User",), (name,), rules_name_methods=False)
        assert not is_kept(name.encode(), names)

    @pytest.mark.parametrize(
        "name",
        [
            b"Transfer_Encoding",
            b"Content_Length",
            b"Host_",
            b"Cookie_",
            b"Connection.",
            b"X_Forwarded_Prefix",
            b"Proxy",
        ],
    )
    def test_an_alias_of_a_framing_or_routing_name_is_dropped(self, name: bytes) -> None:
        assert not is_kept(name)

    @pytest.mark.parametrize(
        "name",
        [
            b"Authorization",
            b"Origin",
            b"Range",
            b"If-Range",
            b"If-None-Match",
            b"If-Modified-Since",
            b"Access-Control-Request-Method",
            b"Access-Control-Request-Headers",
            b"Accept",
            b"User-Agent",
            b"Referer",
            b"X-Requested-With",
            b"X-CSRFToken",
            b"X-Auth-Token",
            b"X-User-Id",
            b"X-Request-Id",
            b"Traceparent",
            b"Sec-Fetch-Site",
            b"Sec-WebSocket-Protocol",
        ],
    )
    def test_what_applications_use_stays(self, name: bytes) -> None:
        assert is_kept(name)

    def test_values_and_order_stay_byte_for_byte(self) -> None:
        pairs = [(b"b", b"\xe9 1"), (b"a", b"2"), (b"b", b" 3")]
        assert clean(*pairs)[0] == pairs


class TestMethodOverrides:
    @pytest.mark.parametrize("name", [b"X-HTTP-Method-Override", b"x-http-method", b"X-Method-Override"])
    def test_an_override_passes_only_where_no_rule_speaks_of_methods(self, name: bytes) -> None:
        """S59: behind a rule for POST it would make a DELETE of it."""
        assert is_kept(name)
        assert not is_kept(name, InboundNames((), (), rules_name_methods=True))


class TestConnection:
    @pytest.mark.parametrize(
        "name",
        [
            b"Connection",
            b"Keep-Alive",
            b"Proxy-Connection",
            b"Proxy-Authenticate",
            b"Proxy-Authorization",
            b"TE",
            b"Trailer",
            b"Transfer-Encoding",
            b"Upgrade",
            b"HTTP2-Settings",
            b"Content-Length",
            b"Expect",
        ],
    )
    def test_hop_by_hop_and_framing_fields_go_no_further(self, name: bytes) -> None:
        """S46: RFC 9110 §7.6.1."""
        assert not is_kept(name)

    def test_nominated_fields_are_removed(self) -> None:
        """S45: the client's own only; ours are added after this."""
        kept, _, _ = clean((b"X-A", b"1"), (b"Connection", b"close, X-a"), (b"X-B", b"2"))
        assert kept == [(b"X-B", b"2")]

    def test_a_field_on_which_decisions_rest_cannot_be_nominated(self) -> None:
        """S45: `Connection: authorization, cookie` takes nothing away."""
        pairs = [(b"Authorization", b"Bearer x"), (b"Origin", b"https://a"), (b"Content-Type", b"text/plain")]
        kept, cookie, _ = clean(
            *pairs, (b"Cookie", b"a=b"), (b"Connection", b"authorization, cookie, Origin, host, content-type")
        )
        assert kept == pairs
        assert cookie == b"a=b"

    @pytest.mark.parametrize("value", [b"keep-alive", b"close", b"Keep-Alive"])
    def test_a_plain_connection_nominates_nothing(self, value: bytes) -> None:
        assert clean((b"Connection", value), (b"X-A", b"1"))[0] == [(b"X-A", b"1")]

    def test_names_are_nominated_over_several_fields(self) -> None:
        assert nominated_names([b"close", b"X-A , x-b", b""]) >= {b"x-a", b"x-b"}

    def test_an_upgrade_is_told_and_dropped(self) -> None:
        assert clean((b"Upgrade", b"h2c"), (b"Connection", b"Upgrade, HTTP2-Settings")) == ([], None, True)


class TestHostAndCookie:
    def test_a_second_host_is_refused(self) -> None:
        """S49: a second host is refused."""
        with pytest.raises(BadRequest, match="more than one Host"):
            clean((b"host", b"app.example.com"))

    def test_host_stands_first_wherever_it_came(self) -> None:
        kept, _, _ = NAMES.clean([(b"A", b"1"), HOST], is_trusted=False)
        assert kept == [HOST, (b"A", b"1")]

    def test_cookie_fields_are_joined_in_order(self) -> None:
        """RFC 9113 §8.2.3: the only way to join them."""
        assert clean((b"Cookie", b"a=1"), (b"COOKIE", b"b=2"))[1] == b"a=1; b=2"


class TestTrustedProxies:
    def test_a_path_prefix_is_believed_of_trusted_proxies_only(self) -> None:
        """S48: a path prefix is believed of trusted proxies only."""
        prefix = (b"X-Forwarded-Prefix", b"/app")
        assert clean(prefix, is_trusted=True)[0] == [prefix]
        assert clean(prefix)[0] == []

    @pytest.mark.parametrize(
        "name",
        [b"X-Original-URL", b"X-Rewrite-URL", b"X-Original-URI", b"X-Forwarded-Uri", b"X-Forwarded-Method"],
    )
    def test_what_reroutes_behind_our_back_is_dropped_from_anybody(self, name: bytes) -> None:
        """S48: a proxy in front may pass on what its client wrote."""
        assert clean((name, b"/admin"), is_trusted=True)[0] == []


class TestBounds:
    def test_remembered_names_are_bounded(self) -> None:
        names = InboundNames((), (), rules_name_methods=False)
        for number in range(5000):
            assert names.kinds[b"X-%d" % (number // 2)] == names.kinds[b"X-%d" % (number // 2)]
        assert len(names.kinds) <= 2048

    def test_a_long_name_is_not_remembered(self) -> None:
        names = InboundNames((), (), rules_name_methods=False)
        for _ in range(3):
            assert names.kinds[b"X" * 65] == names.kinds[b"X"]
        assert set(names.kinds) == {b"X"}


@given(st.binary())
def test_folding_is_idempotent_and_keeps_the_length(name: bytes) -> None:
    assert fold(fold(name)) == fold(name)
    assert len(fold(name)) == len(name)
