"""The express engine with the gate behind it, held against every case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sidecar.application import AnswerHead, BodyReader, WireResponse
from sidecar.core import gate, refusals
from sidecar.core.answer import finish_answer
from sidecar.core.decision import Decision, Finish, Flow, Forward, Respond
from sidecar.core.http import HeaderPair, RequestHead, Response
from sidecar.core.revocation import RevocationList
from sidecar.core.runtime import Limits, Runtime
from sidecar.core.sessioncache import SessionCache
from sidecar.core.state import State, Surroundings
from sidecar.engines import express
from tests.conformance.case import Case
from tests.conformance.cases import CASES
from tests.conformance.runner import check
from tests.core.gatesetup import NOW, Entropy
from tests.engines.harness import Recorder


class GateAlone:
    """The core as an Application, without what the cases don't need: flows, pages, logs."""

    def __init__(self, runtime: Runtime) -> None:
        self.observer = Recorder()
        self.runtime = runtime
        surroundings = Surroundings(clock=lambda: NOW, entropy=Entropy())
        self.state = State(surroundings=surroundings, sessions=SessionCache(), revocations=RevocationList())

    def decide(self, head: RequestHead) -> Decision:
        return gate.decide(self.runtime, self.state, head)

    async def run(self, flow: Flow, body: BodyReader) -> Respond | Forward:
        raise NotImplementedError

    def finish(self, finish: Finish, status: int, headers: list[HeaderPair]) -> AnswerHead:
        return finish_answer(finish, status, headers)

    def refuse(self, reason: str, status: int, request_id: str, head: RequestHead | None) -> Respond:
        return refusals.refuse(None, reason, status, request_id, head)

    def render(self, response: Response, request_id: str) -> WireResponse:
        return WireResponse(response.status, response.headers, response.body)

    def touch(self, session_id: str) -> None:
        raise NotImplementedError

    def is_revoked(self, session_id: str) -> bool:
        return False


@asynccontextmanager
async def serve(runtime: Runtime) -> AsyncIterator[str]:
    application = GateAlone(runtime)
    server = await express.serve(application, "127.0.0.1:0", Limits(), clock=lambda: NOW)
    try:
        yield str(server.address)
    finally:
        server.close()
    assert not application.observer.defects


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_engine_does_as_the_case_says(case: Case) -> None:
    """S30, S33, S37-S46, S48, S49, S51-S55, S57-S61: over real sockets."""
    asyncio.run(check(case, serve))
