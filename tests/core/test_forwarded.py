"""Where a request comes from: the rightmost-untrusted rule, and what the upstream is told."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import BadRequest
from sidecar.core.forwarded import SET_NAMES, ForwardedTable
from sidecar.core.http import HeaderPair
from sidecar.core.runtime import Origin

ORIGIN = Origin(scheme="https", host="app.example.com", port=443)
PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def table(*, origin: Origin = ORIGIN, trusts_unix: bool = False) -> ForwardedTable:
    return ForwardedTable(origin, PROXIES, trusts_unix=trusts_unix)


def told(peer: str, *headers: HeaderPair, tab: ForwardedTable | None = None) -> dict[bytes, bytes]:
    pairs = (tab or table()).find(peer, headers).edits.pairs
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def client_ip(peer: str, *headers: HeaderPair) -> str:
    return table().find(peer, headers).client_ip


def xff(value: bytes) -> HeaderPair:
    return b"X-Forwarded-For", value


class TestUntrustedPeer:
    def test_its_forwarded_headers_are_not_believed(self) -> None:
        """S48: its forwarded headers are not believed."""
        spoofed = (xff(b"10.0.0.9"), (b"X-Forwarded-Proto", b"gopher"), (b"X-Forwarded-Host", b"evil@x"))
        assert client_ip("192.0.2.7", *spoofed) == "192.0.2.7"

    def test_the_upstream_is_told_what_we_know(self) -> None:
        """S48: scheme, host and port are those of public_url."""
        assert told("192.0.2.7", xff(b"1.2.3.4")) == {
            b"X-Forwarded-For": b"192.0.2.7",
            b"X-Real-IP": b"192.0.2.7",
            b"X-Forwarded-Proto": b"https",
            b"X-Forwarded-Host": b"app.example.com",
            b"X-Forwarded-Port": b"443",
            b"Forwarded": b"for=192.0.2.7;host=app.example.com;proto=https",
        }

    def test_ipv6_is_quoted_in_forwarded(self) -> None:
        """RFC 7239 §6."""
        answer = told("2001:db8:0::1")
        assert answer[b"X-Forwarded-For"] == b"2001:db8::1"
        assert answer[b"Forwarded"] == b'for="[2001:db8::1]";host=app.example.com;proto=https'

    def test_a_host_with_a_port_is_quoted_in_forwarded(self) -> None:
        """RFC 7239 §4."""
        local = Origin(scheme="http", host="localhost", port=8080)
        answer = told("127.0.0.1", tab=table(origin=local))
        assert answer[b"Forwarded"] == b'for=127.0.0.1;host="localhost:8080";proto=http'
        assert answer[b"X-Forwarded-Host"] == b"localhost:8080"
        assert answer[b"X-Forwarded-Port"] == b"8080"

    def test_an_ipv4_mapped_address_is_the_ipv4_address(self) -> None:
        assert client_ip("::ffff:192.0.2.7") == "192.0.2.7"
        assert table().find("::ffff:10.0.0.1", [xff(b"192.0.2.1")]).client_ip == "192.0.2.1"

    def test_a_unix_peer_has_no_address(self) -> None:
        answer = told("unix", xff(b"192.0.2.1"))
        assert b"X-Forwarded-For" not in answer
        assert b"X-Real-IP" not in answer
        assert answer[b"Forwarded"].startswith(b"for=unknown;")

    def test_what_is_told_is_made_once_for_a_peer(self) -> None:
        tab = table()
        assert tab.find("192.0.2.7", []) is tab.find("192.0.2.7", [xff(b"1.1.1.1")])

    def test_every_name_told_is_one_that_clients_lose(self) -> None:
        assert {name.decode() for name in told("192.0.2.7")} == set(SET_NAMES)


class TestTrustedPeer:
    @pytest.mark.parametrize(
        ("chain", "expected"),
        [
            (b"192.0.2.1", "192.0.2.1"),
            (b"1.1.1.1, 192.0.2.1", "192.0.2.1"),
            (b"10.0.0.9, 192.0.2.1", "192.0.2.1"),
            (b"192.0.2.1, 10.0.0.2", "192.0.2.1"),
            (b"evil, 192.0.2.1, 10.0.0.2, 10.0.0.3", "192.0.2.1"),
            (b"192.0.2.1:4711", "192.0.2.1"),
            (b"[2001:db8::1]:4711", "2001:db8::1"),
            (b"2001:db8::1", "2001:db8::1"),
            (b"10.0.0.5,10.0.0.6", "10.0.0.5"),
        ],
    )
    def test_the_rightmost_untrusted_address_is_the_user_agents(self, chain: bytes, expected: str) -> None:
        """S48: Oathkeeper GHSA-vhr5, oauth2-proxy CVE-2026-40575."""
        assert client_ip("10.0.0.1", xff(chain)) == expected

    def test_several_fields_are_one_list(self) -> None:
        assert client_ip("10.0.0.1", xff(b"6.6.6.6"), xff(b"192.0.2.1")) == "192.0.2.1"

    def test_without_a_chain_it_is_the_user_agent_itself(self) -> None:
        assert client_ip("10.0.0.1") == "10.0.0.1"

    def test_only_the_verified_part_of_the_chain_goes_on(self) -> None:
        answer = told("10.0.0.1", xff(b"6.6.6.6, 192.0.2.1, 10.0.0.2"))
        assert answer[b"X-Forwarded-For"] == b"192.0.2.1, 10.0.0.2, 10.0.0.1"
        assert answer[b"X-Real-IP"] == b"192.0.2.1"
        assert answer[b"Forwarded"] == (
            b"for=192.0.2.1;host=app.example.com;proto=https, for=10.0.0.2, for=10.0.0.1"
        )

    @pytest.mark.parametrize(
        "value",
        [b"unknown", b"192.0.2.1 ,", b"a.b.c.d", b"192.0.2.256", b"_hidden", b"[::1", b"1.2.3.4:x", b","],
    )
    def test_a_chain_that_ends_in_no_address_is_refused(self, value: bytes) -> None:
        """S49: a chain that ends in no address is refused."""
        with pytest.raises(BadRequest, match="invalid_forwarded"):
            client_ip("10.0.0.1", xff(value))

    @pytest.mark.parametrize(
        "header",
        [
            (b"X-Forwarded-Host", b"app.example.com, evil.example"),
            (b"X-Forwarded-Host", b"evil@app.example.com"),
            (b"X-Forwarded-Host", b"app.example.com/"),
            (b"X-Forwarded-Host", b""),
            (b"X-Forwarded-Proto", b"javascript"),
            (b"X-Forwarded-Proto", b""),
        ],
    )
    def test_a_malformed_forwarded_header_is_refused(self, header: HeaderPair) -> None:
        """S49: caddy-security CVE-2024-21499."""
        with pytest.raises(BadRequest, match="invalid_forwarded"):
            client_ip("10.0.0.1", xff(b"192.0.2.1"), header)

    def test_a_second_forwarded_host_is_refused(self) -> None:
        """S49: a second forwarded host is refused."""
        host = (b"X-Forwarded-Host", b"app.example.com")
        with pytest.raises(BadRequest, match="invalid_forwarded"):
            client_ip("10.0.0.1", host, host)

    def test_well_formed_scheme_and_host_change_nothing(self) -> None:
        """S49: what we write comes from public_url only."""
        answer = told(
            "10.0.0.1",
            xff(b"192.0.2.1"),
            (b"X-Forwarded-Host", b"other.example"),
            (b"X-Forwarded-Proto", b"http"),
        )
        assert answer[b"X-Forwarded-Host"] == b"app.example.com"
        assert answer[b"X-Forwarded-Proto"] == b"https"

    def test_forwarded_alone_is_refused(self) -> None:
        """S48: its client's own X-Forwarded-For would be believed the next time."""
        with pytest.raises(BadRequest, match="without X-Forwarded-For"):
            client_ip("10.0.0.1", (b"Forwarded", b"for=192.0.2.1"))

    def test_a_chain_without_end_is_refused(self) -> None:
        with pytest.raises(BadRequest, match="too many"):
            client_ip("10.0.0.1", xff(b",".join([b"10.0.0.2"] * 100)))

    def test_a_unix_peer_is_trusted_when_the_operator_says_so(self) -> None:
        found = table(trusts_unix=True).find("unix", [xff(b"192.0.2.1")])
        assert found.client_ip == "192.0.2.1"
        assert dict(found.edits.pairs)[b"X-Forwarded-For"] == b"192.0.2.1"

    def test_what_is_told_is_made_once_for_a_chain(self) -> None:
        tab = table()
        assert tab.find("10.0.0.1", [xff(b"192.0.2.1")]) is tab.find("10.0.0.1", [xff(b"192.0.2.1")])
        assert tab.find("10.0.0.1", [xff(b"192.0.2.1")]) is not tab.find("10.0.0.1", [xff(b"192.0.2.2")])


class TestBounds:
    def test_remembered_peers_are_bounded(self) -> None:
        tab = table()
        for number in range(5000):
            tab.find(f"192.0.{number // 256}.{number % 256}", [])
        assert len(tab.direct) <= 4096

    def test_remembered_chains_are_bounded(self) -> None:
        tab = table()
        for number in range(5000):
            tab.find("10.0.0.1", [xff(b"192.0.%d.%d" % (number // 256, number % 256))])
        assert len(tab._chains) <= 4096
        tab.find("10.0.0.1", [xff(b"x," * 2000 + b"192.0.2.1")])
        assert all(len(chain) <= 2048 for _, chain in tab._chains)


@given(st.binary(max_size=60))
def test_whatever_the_chain_it_is_an_address_or_refused(value: bytes) -> None:
    try:
        found = client_ip("10.0.0.1", xff(value))
    except BadRequest as error:
        assert error.code == "invalid_forwarded"  # noqa: PT017  either outcome is right
    else:
        ip_network(found)
