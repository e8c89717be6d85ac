"""Which fields an engine may know again on other connections of the ingress."""

from __future__ import annotations

from sidecar.core.http import RECURS
from tests.core.forwardauth.asksetup import ask, world
from tests.core.gatesetup import head


def test_what_a_caller_asks_with_recurs_on_its_other_connections() -> None:
    asked, memo = world(), dict[object, object]()
    assert ask("nginx", asked, cookie=asked.cookie(), memo=memo).response.status == 200
    assert RECURS in memo


def test_what_anybody_else_sends_does_not() -> None:
    """S75: nobody else has a place in the memory that connections share."""
    asked, memo = world(), dict[object, object]()
    assert ask("nginx", asked, cookie=asked.cookie(), memo=memo, peer="192.0.2.1").response.status == 403
    asked.decide(head(b"/app/", cookie=asked.cookie(), memo=memo))
    assert RECURS not in memo


def test_a_question_that_is_none_does_not() -> None:
    asked, memo = world(), dict[object, object]()
    assert ask("nginx", asked, b"no path", memo=memo).response.status in {400, 403}
    assert RECURS not in memo
