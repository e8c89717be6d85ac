"""The cases are well-formed, and the core decides those of one plain head as they say."""

from __future__ import annotations

import re
from typing import Final

import h11
import pytest

from sidecar.core import gate
from sidecar.core.answer import finish_answer
from sidecar.core.decision import Forward, Respond
from sidecar.core.http import HeaderPair, RequestHead
from sidecar.core.hygiene import fold
from sidecar.core.revocation import RevocationList
from sidecar.core.sessioncache import SessionCache
from sidecar.core.state import State, Surroundings
from tests.conformance.cases import CASES, Arrival, Case
from tests.conformance.setting import build_runtime, fill_in, signed_in
from tests.core.gatesetup import NOW, UPSTREAM, Entropy, sent

# What the engine writes by itself, so that the core's edits lack it.
_ENGINES: Final = frozenset({b"content-length", b"upgrade", b"connection", b"transfer-encoding"})
# h11 refuses these heads itself; to the gate they come from parsers that don't.
_HEADS: Final = [case for case in CASES if case.in_head]


def parsed(data: bytes) -> RequestHead:
    """Take a head apart without judging it: request line, then `name: value` lines."""
    head = data.partition(b"\r\n\r\n")[0]
    line, *lines = head.split(b"\r\n")
    method, target, _ = line.split(b" ")
    pairs = [(name, value.strip(b" \t")) for name, _, value in (field.partition(b":") for field in lines)]
    return RequestHead(method, target, pairs, "127.0.0.1", "req-1")


def decided(case: Case) -> tuple[Forward | Respond, bytes]:
    runtime = build_runtime(UPSTREAM)
    surroundings = Surroundings(clock=lambda: NOW, entropy=Entropy())
    state = State(surroundings=surroundings, sessions=SessionCache(), revocations=RevocationList())
    cookie = signed_in(runtime, NOW)
    decision = gate.decide(runtime, state, parsed(fill_in(case.request, cookie)))
    assert isinstance(decision, Forward | Respond), decision
    return decision, cookie


@pytest.mark.parametrize("case", _HEADS, ids=lambda case: case.name)
def test_the_core_decides_as_the_case_says(case: Case) -> None:
    decision, _ = decided(case)
    if not case.arrives:
        assert isinstance(decision, Respond)
        assert {decision.response.status} == set(case.answers[0])
        holds(case, list(decision.response.headers))
        return
    assert isinstance(decision, Forward)
    (arrival,) = case.arrives
    arrives(arrival, decision)
    everything = b"\r\n".join(b"%b: %b" % pair for pair in sent(decision))
    assert not [text for text in case.never if text in everything]
    if case.upstream is not None:
        status, pairs = upstream_head(case.upstream)
        answer = finish_answer(decision.finish, status, pairs)
        assert answer.is_acceptable == (case.answers[0] != frozenset({502}))
        holds(case, answer.headers)


def arrives(arrival: Arrival, forward: Forward) -> None:
    assert arrival.line == forward.method + b" " + forward.target
    fields = sent(forward)
    for name, value in arrival.has:
        if name.lower() not in _ENGINES:
            assert [v for n, v in fields if n.lower() == name.lower()] == [value], name
    assert not {fold(name) for name, _ in fields} & arrival.lacks


def holds(case: Case, answer: list[HeaderPair]) -> None:
    pairs = [(name.lower(), value) for name, value in answer]
    assert {(name.lower(), value) for name, value in case.answer_has} <= set(pairs)
    assert not {name for name, _ in pairs} & case.answer_lacks


def upstream_head(data: bytes) -> tuple[int, list[HeaderPair]]:
    """Parse an upstream's answer with a parser that is not ours."""
    connection = h11.Connection(h11.CLIENT)
    upgrade = [(b"upgrade", b"x"), (b"connection", b"upgrade")]
    connection.send(h11.Request(method="GET", target="/", headers=[(b"host", b"a"), *upgrade]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse)
    return event.status_code, list(event.headers)


class TestData:
    def test_there_are_enough_and_no_name_stands_twice(self) -> None:
        names = [case.name for case in CASES]
        assert len(names) > 90
        assert len(set(names)) == len(names)

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_each_names_the_lines_that_it_proves(self, case: Case) -> None:
        assert case.lines
        assert all(re.fullmatch(r"S[0-9]{2}", line) for line in case.lines)

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_each_body_is_as_long_as_it_says(self, case: Case) -> None:
        """A case with a typing error in its length would prove something else."""
        if not case.in_head and case.closes:
            return
        rest = fill_in(case.request, b"__Host-doorward=x")
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: ([0-9]+)", head)
            if b"chunked" in head:
                return
            size = int(length[1]) if length and b"100-continue" not in head else 0
            assert len(rest) >= size or not case.arrives
            rest = b"" if b"100-continue" in head else rest[size:]
            assert not rest or rest.startswith((b"GET ", b"POST "))
