"""The interception engine with the gate behind it, held against every case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.core.runtime import Limits, Runtime
from sidecar.engines import mitm
from tests.conformance.case import Case
from tests.conformance.cases import CASES
from tests.conformance.runner import check
from tests.conformance.test_express import GateAlone
from tests.core.gatesetup import NOW

SKIPPED: dict[str, str] = {}
"""Cases that this engine does not pass, each with the reason that docs/engines.md gives."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_engine_does_as_the_case_says(case: Case, tmp_path: Path) -> None:
    """S30, S33, S37-S46, S48, S49, S51-S55, S57-S61: over real sockets."""
    if case.name in SKIPPED:
        pytest.skip(SKIPPED[case.name])
    defects: list[str] = []

    @asynccontextmanager
    async def serve(runtime: Runtime) -> AsyncIterator[str]:
        application = GateAlone(runtime)
        server = await mitm.serve(application, "127.0.0.1:0", Limits(), keys=tmp_path, clock=lambda: NOW)
        try:
            yield server.address
        finally:
            await server.drain(0.0)
        defects.extend(application.observer.defects)

    asyncio.run(check(case, serve))
    assert not defects
