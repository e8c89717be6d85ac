"""The gate of a run: `GateApplication` with a persona in front, constant headers and a recording behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.decision import Edits, Forward
from sidecar.gateapplication import GateApplication

if TYPE_CHECKING:
    from sidecar.application import BodyReader, Observer
    from sidecar.core.decision import Decision, Flow, Respond
    from sidecar.core.http import HeaderPair, RequestHead
    from sidecar.core.runtime import Runtime
    from sidecar.core.state import State
    from sidecar.dev.persona import Persona
    from sidecar.dev.recording import Recorder
    from sidecar.effects import Runner

__all__ = ["DevApplication"]


class DevApplication(GateApplication):
    """Serves one `Runtime`, which a reload swaps."""

    def __init__(  # noqa: PLR0917  as its base
        self,
        runtime: Runtime,
        state: State,
        runner: Runner,
        observer: Observer,
        persona: Persona | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Bind the parts."""
        super().__init__(runtime, state, runner, observer)
        self._persona = persona
        self._recorder = recorder
        self._constants = Edits.of(())

    def set_constants(self, pairs: tuple[HeaderPair, ...]) -> None:
        """Send `pairs` upstream with each request; clients' fields of these names are removed by the gate."""
        self._constants = Edits.of(pairs)

    def decide(self, head: RequestHead) -> Decision:
        """Decide at the head of a request that comes from the persona, if there is one."""
        dressed = head if self._persona is None else self._dressed(self._persona, head)
        decision = super().decide(dressed)
        if self._recorder is not None:
            self._recorder.note(self.runtime, dressed, decision)
        return self._with_constants(decision)

    async def run(self, flow: Flow, body: BodyReader) -> Respond | Forward:
        """Carry a flow out."""
        result = await super().run(flow, body)
        if self._recorder is not None:
            self._recorder.note_result(flow.head.request_id, result)
        return self._with_constants(result)

    def _dressed(self, persona: Persona, head: RequestHead) -> RequestHead:
        try:
            return persona.dress(self.runtime, head)
        except Exception:  # noqa: BLE001  an outermost edge: without the persona nobody is signed in
            self.observer.defect("persona", head.request_id)
            return head

    def _with_constants[D: Decision](self, decision: D) -> D | Forward:
        if not self._constants.pairs or not isinstance(decision, Forward):
            return decision
        return Forward(
            decision.upstream,
            decision.method,
            decision.target,
            decision.kept,
            (*decision.edits, self._constants),
            decision.finish,
            decision.lease,
            decision.note,
        )
