"""The rules as text, and the command that prints them."""

from __future__ import annotations

import pytest

from sidecar.core.errors import ConfigurationError
from sidecar.netfilter import Ports, iptables_script, nft_rules
from tests.cli.commands import doorward

PORTS = Ports(application=(3000, 3001), gate=8080, uid=1337)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"application": ()}, "--port"),
        ({"application": (0,)}, "--port 0"),
        ({"application": (70000,)}, "--port 70000"),
        ({"gate": 70000}, "--port 70000"),
        ({"gate": 3000, "application": (3000,)}, "--to 3000"),
        ({"uid": 0}, "--uid 0"),
        ({"uid": -1}, "--uid -1"),
        ({"uid": 1 << 32}, "--uid"),
    ],
)
def test_what_would_leave_a_way_around_is_refused(changed: dict[str, object], words: str) -> None:
    values: dict[str, object] = {"application": (3000,), "gate": 8080, "uid": 1337, **changed}
    with pytest.raises(ConfigurationError, match=words):
        Ports(**values)  # type: ignore[arg-type]


def test_both_forms_speak_of_the_same_ports_and_user() -> None:
    for text in (nft_rules(PORTS), iptables_script(PORTS)):
        for number in ("3000", "3001", "8080", "1337"):
            assert number in text


def test_the_command_prints_them_and_does_nothing() -> None:
    printed = doorward("netfilter", "--print", "--port", "3000", "--port", "3001", "--to", "8080")
    assert (printed.code, printed.out) == (0, nft_rules(PORTS))
    other = doorward("netfilter", "--print", "--port", "3000", "--port", "3001", "--format", "iptables")
    assert (other.code, other.out) == (0, iptables_script(PORTS))


def test_a_mistake_is_one_line() -> None:
    ended = doorward("netfilter", "--print", "--port", "3000", "--to", "3000")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
