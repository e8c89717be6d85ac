"""What workers share: the rules of the exchange, without any process."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from sidecar.core.revocation import RevocationList
from sidecar.core.sessioncache import SessionCache
from sidecar.core.state import State, Surroundings
from sidecar.supervisor.channel import MAX_MESSAGE, open_channel
from sidecar.supervisor.exchange import Exchange
from sidecar.supervisor.remote import RemoteCoordinator
from tests.core.sessionsetup import make_session


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def exchange(*workers: int) -> tuple[Exchange, Clock]:
    clock = Clock()
    shared = Exchange(clock)
    for worker in workers:
        shared.joined(worker)
    return shared, clock


class TestRevocation:
    def test_is_acknowledged_once_every_other_worker_has(self) -> None:
        shared, _ = exchange(1, 2, 3)
        out = shared.told(1, {"op": "revoke", "n": 7, "id": "s", "until": 2000.0})
        assert sorted(worker for worker, _ in out) == [2, 3]
        number = out[0][1]["n"]
        assert shared.told(2, {"op": "acked", "n": number}) == []
        assert shared.told(3, {"op": "acked", "n": number}) == [(1, {"op": "ack", "n": 7})]

    def test_by_the_only_worker_is_acknowledged_at_once(self) -> None:
        shared, _ = exchange(1)
        assert shared.told(1, {"op": "revoke", "n": 1, "id": "s", "until": 2000.0}) == [
            (1, {"op": "ack", "n": 1})
        ]

    def test_does_not_wait_for_a_worker_that_ended(self) -> None:
        shared, _ = exchange(1, 2)
        shared.told(1, {"op": "revoke", "n": 1, "id": "s", "until": 2000.0})
        assert shared.left(2) == [(1, {"op": "ack", "n": 1})]

    def test_reaches_a_worker_that_starts_later_until_its_end(self) -> None:
        """S36: a copied cookie is dead on every worker, also on one that was restarted since."""
        shared, clock = exchange(1)
        shared.told(1, {"op": "revoke", "n": 1, "id": "s", "until": 2000.0})
        assert shared.joined(2) == [(2, {"op": "welcome", "revoked": [("s", 2000.0)], "floor": 0.0})]
        clock.now = 2061.0
        assert shared.joined(3) == [(3, {"op": "welcome", "revoked": [], "floor": 0.0})]

    def test_of_very_many_fits_the_welcome_of_a_worker_that_starts_later(self) -> None:
        """S36, S56: a worker that can't be told what is revoked would never serve again."""
        shared, _ = exchange(1)
        for number in range(100_000):
            session_id = f"{number:032}"
            shared.told(1, {"op": "revoke", "n": 1, "id": session_id, "until": 41_234.123456789})
        ((_, welcome),) = shared.joined(2)
        assert len(welcome["revoked"]) == 100_000
        assert len(json.dumps(welcome)) < MAX_MESSAGE

    def test_that_made_room_is_not_forgotten_by_a_worker_that_starts_later(self) -> None:
        """S36: when the list was full, all sessions of that time are refused, here as on every worker."""
        clock = Clock()
        shared = Exchange(clock, max_revoked=2)
        shared.joined(1)
        for number, until in enumerate((2000.0, 3000.0, 4000.0)):
            shared.told(1, {"op": "revoke", "n": 1, "id": f"s{number}", "until": until})
        ((_, welcome),) = shared.joined(2)
        assert len(welcome["revoked"]) == 2

        async def greet() -> RevocationList:
            state = State(
                surroundings=Surroundings(clock=clock, entropy=bytes),
                sessions=SessionCache(),
                revocations=RevocationList(),
            )
            ours, theirs = socket.socketpair()
            channel = await open_channel(ours)
            RemoteCoordinator(channel, state).told(welcome)
            channel.close()
            theirs.close()
            return state.revocations

        revocations = asyncio.run(greet())
        assert revocations.refuses(make_session(id="s0", absolute_end=2000.0))
        assert revocations.refuses(make_session(id="s1", absolute_end=3000.0))
        assert not revocations.refuses(make_session(id="other", absolute_end=3000.0))


class TestClaim:
    def test_only_the_first_of_all_workers_gets_it(self) -> None:
        shared, _ = exchange(1, 2)
        claim = {"op": "claim", "n": 1, "key": "k", "until": 1060.0}
        assert shared.told(1, claim)[0][1]["is_first"] is True
        assert shared.told(2, claim)[0][1]["is_first"] is False

    def test_can_be_claimed_anew_after_its_end(self) -> None:
        shared, clock = exchange(1)
        shared.told(1, {"op": "claim", "n": 1, "key": "k", "until": 1060.0})
        clock.now = 1061.0
        assert shared.told(1, {"op": "claim", "n": 2, "key": "k", "until": 1100.0})[0][1]["is_first"] is True


class TestSharedWork:
    def test_is_done_by_the_first_and_its_result_reaches_all(self) -> None:
        shared, _ = exchange(1, 2)
        assert shared.told(1, {"op": "once", "n": 1, "key": "k", "keep": 60.0}) == [
            (1, {"op": "run", "n": 1})
        ]
        assert shared.told(2, {"op": "once", "n": 5, "key": "k", "keep": 60.0}) == []
        out = shared.told(1, {"op": "done", "key": "k", "value": "dg=="})
        assert out == [(2, {"op": "result", "n": 5, "value": "dg=="})]

    def test_result_is_kept_for_those_who_come_late(self) -> None:
        shared, clock = exchange(1, 2)
        shared.told(1, {"op": "once", "n": 1, "key": "k", "keep": 60.0})
        shared.told(1, {"op": "done", "key": "k", "value": "dg=="})
        ask = {"op": "once", "n": 9, "key": "k", "keep": 60.0}
        assert shared.told(2, ask) == [(2, {"op": "result", "n": 9, "value": "dg=="})]
        clock.now += 61.0
        assert shared.told(2, ask) == [(2, {"op": "run", "n": 9})]

    def test_results_are_kept_within_a_bound_of_bytes(self) -> None:
        """S25: a session's result is up to 50 KB, and there may be one for each session."""
        clock = Clock()
        shared = Exchange(clock, max_result_bytes=1000)
        shared.joined(1)
        for number in range(20):
            key = f"k{number}"
            shared.told(1, {"op": "once", "n": 1, "key": key, "keep": 60.0})
            shared.told(1, {"op": "done", "key": key, "value": "v" * 400})
        kept = [
            n
            for n in range(20)
            if shared.told(1, {"op": "once", "n": 2, "key": f"k{n}", "keep": 60.0})[0][1]["op"] == "result"
        ]
        assert kept == [18, 19]

    def test_results_that_are_over_are_forgotten(self) -> None:
        """They hold tokens, if sealed: none stays longer than it is of use."""
        shared, clock = exchange(1)
        shared.told(1, {"op": "once", "n": 1, "key": "old", "keep": 60.0})
        shared.told(1, {"op": "done", "key": "old", "value": "dg=="})
        clock.now += 61.0
        shared.told(1, {"op": "once", "n": 1, "key": "new", "keep": 60.0})
        shared.told(1, {"op": "done", "key": "new", "value": "dg=="})
        assert shared.kept_results == 1

    def test_error_reaches_those_who_wait_and_is_not_kept(self) -> None:
        shared, _ = exchange(1, 2)
        shared.told(1, {"op": "once", "n": 1, "key": "k", "keep": 60.0})
        shared.told(2, {"op": "once", "n": 2, "key": "k", "keep": 60.0})
        error = {"kind": "ProviderRefused", "code": "invalid_grant", "detail": ""}
        out = shared.told(1, {"op": "done", "key": "k", "error": error})
        assert out == [(2, {"op": "result", "n": 2, "error": error})]
        assert shared.told(2, {"op": "once", "n": 3, "key": "k", "keep": 60.0}) == [
            (2, {"op": "run", "n": 3})
        ]

    def test_goes_to_another_who_waits_when_its_worker_ends(self) -> None:
        shared, _ = exchange(1, 2, 3)
        shared.told(1, {"op": "once", "n": 1, "key": "k", "keep": 60.0})
        shared.told(2, {"op": "once", "n": 2, "key": "k", "keep": 60.0})
        shared.told(3, {"op": "once", "n": 3, "key": "k", "keep": 60.0})
        assert shared.left(1) == [(2, {"op": "run", "n": 2})]
        out = shared.told(2, {"op": "done", "key": "k", "value": "dg=="})
        assert out == [(3, {"op": "result", "n": 3, "value": "dg=="})]


def test_activity_in_a_tunnel_is_told_to_all_others() -> None:
    """S36: the idle limit counts traffic of a WebSocket, whichever worker has it."""
    shared, _ = exchange(1, 2, 3)
    message = {"op": "touched", "id": "s", "at": 1000.0}
    assert sorted(shared.told(1, message)) == [(2, message), (3, message)]


def test_an_unknown_operation_is_a_defect() -> None:
    shared, _ = exchange(1)
    with pytest.raises(ValueError, match="unknown operation"):
        shared.told(1, {"op": "shout"})
