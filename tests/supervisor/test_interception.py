"""Which hosts the capturing modes gate: those of the sites, however a client spells them."""

from __future__ import annotations

import re

import pytest

from addons.standing import host_matcher
from sidecar.supervisor.interception import host_patterns
from tests.config.files import runtime

_OURS = ("app.example.com:443", "app.example.com:80", "app.example.com.:443", "b.example.com:8443")
_OTHERS = (
    "app.example.com:8443",
    "b.example.com:443",
    "xapp.example.com:443",
    "app.example.com.evil.example:443",
    "app-example.com:443",
    "app.example.com..:443",
)


@pytest.mark.parametrize("named", [*_OURS, *_OTHERS])
def test_a_host_is_gated_by_the_name_that_a_resolver_sees(named: str) -> None:
    """S49: the root's dot makes no other host of it."""
    made = runtime("public_url: https://app.example.com\nhosts: ['b.example.com:8443', '[::1]']\n")
    is_gated = any(re.search(pattern, named) for pattern in host_patterns(made))
    assert is_gated is (named in _OURS)
    assert host_matcher(made)(named.upper()) is (named in _OURS)


def test_an_address_is_a_host_too() -> None:
    made = runtime("public_url: https://app.example.com\nhosts: ['[::1]']\n")
    assert host_matcher(made)("[::1]:443")
    assert any(re.search(pattern, "[::1]:443") for pattern in host_patterns(made))
    assert not host_matcher(made)("[::2]:443")
