"""The condition that asks where a request comes from."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ConfigurationError
from sidecar.core.identity import Identity
from sidecar.core.networks import Networks

ADA = Identity(issuer="https://id.example.com", subject="1", user="ada", claims={})


def admits(networks: list[str], address: str) -> bool:
    return Networks.of(networks).judge(None, address).allowed


class TestNetworks:
    @pytest.mark.parametrize(
        ("networks", "address", "is_in"),
        [
            (["10.0.0.0/8"], "10.255.255.255", True),
            (["10.0.0.0/8"], "11.0.0.0", False),
            (["192.0.2.7"], "192.0.2.7", True),
            (["192.0.2.7"], "192.0.2.8", False),
            (["0.0.0.0/0"], "203.0.113.9", True),
            (["0.0.0.0/0"], "2001:db8::1", False),
            (["::/0"], "203.0.113.9", False),
            (["2001:db8::/32"], "2001:db8:ffff::1", True),
            (["2001:db8::/32"], "2001:db9::1", False),
            (["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"], "192.0.2.200", True),
            # RFC 4291 §2.5.5.2: an IPv4 address in IPv6 is an IPv4 address.
            (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
            (["10.0.0.0/8"], "::ffff:0a01:0203", True),
            (["::ffff:10.0.0.0/104"], "10.1.2.3", True),
            (["::ffff:0:0/96"], "203.0.113.9", True),
            (["fe80::/10"], "fe80::1%eth0", True),
            (["2001:db8::1"], "2001:db8::1", True),
        ],
    )
    def test_an_address_is_in_a_network_or_not(
        self, networks: list[str], address: str, *, is_in: bool
    ) -> None:
        assert admits(networks, address) is is_in

    @pytest.mark.parametrize(
        "address", ["unix", "", "10.0.0.1:80", "10.0.0.01", "[::1]", "localhost", "10.0.0"]
    )
    def test_what_is_no_address_is_in_no_network_and_not_surely_outside(self, address: str) -> None:
        """S61: unknown is not admitted, and neither is its negation."""
        verdict = Networks.of(["0.0.0.0/0", "::/0"]).judge(ADA, address)

        assert (verdict.allowed, verdict.needs_login, verdict.is_known) == (False, False, False)

    def test_a_sign_in_changes_nothing(self) -> None:
        networks = Networks.of(["10.0.0.0/8"])

        assert networks.judge(None, "192.0.2.1") == networks.judge(ADA, "192.0.2.1")
        assert networks.judge(None, "192.0.2.1").why == "from none of the networks 10.0.0.0/8"

    @pytest.mark.parametrize(
        "text", ["", "10.0.0.1/8", "10.0.0.0/33", "example.com", "10.0.0.0-10.0.0.9", "*"]
    )
    def test_what_is_no_network_is_refused(self, text: str) -> None:
        """S61: an error, never a network that nobody is in."""
        with pytest.raises(
            ConfigurationError, match=r"networks: .* is no network .*; write it as 10\.0\.0\.0/8"
        ):
            Networks.of([text])

    def test_an_empty_list_is_refused(self) -> None:
        """S61: an empty allow list."""
        with pytest.raises(ConfigurationError, match="the list is empty"):
            Networks(())

    @given(
        st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), min_size=1, max_size=5),
        st.integers(0, 2**32 - 1),
    )
    def test_it_agrees_with_asking_each_network(self, blocks: list[tuple[int, int]], number: int) -> None:
        networks = [ip_network((number, length), strict=False) for number, length in blocks]
        address = ip_address(number)

        verdict = Networks(tuple(networks)).judge(None, str(address))

        assert verdict.allowed == any(address in network for network in networks)
