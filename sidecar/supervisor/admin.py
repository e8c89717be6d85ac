"""The admin listener: liveness, readiness, metrics; never on the public address (S71)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sidecar.application import AnswerHead, BodyReader, Observer, WireResponse
from sidecar.core.decision import Decision, Finish, Flow, Forward, Note, Respond
from sidecar.core.http import HeaderPair, RequestHead, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from sidecar.core.effects import Effect
    from sidecar.core.runtime import Site
    from sidecar.observe import Snapshot

__all__ = ["AdminApplication", "QuietObserver"]

_NOTE = Note(site="admin", reason="own_page")
_TEXT: HeaderPair = (b"Content-Type", b"text/plain; charset=utf-8")
_NO_STORE: HeaderPair = (b"Cache-Control", b"no-store")


class QuietObserver:
    """Observes nothing: probes and scrapes are not requests of users."""

    def request_done(self, *_facts: object) -> None:
        """Ignore it."""

    def malformed(self, peer: str, reason: str, detail: str) -> None:
        """Ignore it."""

    def connection_opened(self) -> None:
        """Ignore it."""

    def connection_closed(self) -> None:
        """Ignore it."""

    def event(self, *_facts: object) -> None:
        """Ignore it."""

    def provider_call(self, *_facts: object) -> None:
        """Ignore it."""

    def defect(self, *_facts: object) -> None:
        """Ignore it."""


class AdminApplication:
    """Answers `/healthz`, `/readyz` and `/metrics`, whatever the Host; tells nothing of the configuration.

    `not_ready` returns why we are not ready (empty when we are); `snapshot` gathers the metrics.
    """

    def __init__(
        self, not_ready: Callable[[], list[str]], snapshot: Callable[[], Awaitable[Snapshot]], site: Site
    ) -> None:
        self.observer: Observer = QuietObserver()
        self._not_ready = not_ready
        self._snapshot = snapshot
        self._site = site

    def decide(self, head: RequestHead) -> Decision:
        """Answer by path; anything but GET and HEAD is refused."""
        if head.method not in {b"GET", b"HEAD"}:
            return _text(405, "only GET and HEAD", ((b"Allow", b"GET, HEAD"),))
        match head.target.partition(b"?")[0]:
            case b"/healthz":
                return _text(200, "ok")
            case b"/readyz":
                return self._ready()
            case b"/metrics":
                return Flow("metrics", _nothing(), head, self._site)
            case _:
                return _text(404, "here are /healthz, /readyz and /metrics")

    async def run(self, flow: Flow, body: BodyReader) -> Respond | Forward:
        """Gather the metrics: the only flow that there is."""
        del body
        flow.steps.close()
        from sidecar.observe.exposition import CONTENT_TYPE, render_metrics  # the first scrape pays for it

        text = render_metrics(await self._snapshot())
        response = Response(status=200, headers=((b"Content-Type", CONTENT_TYPE), _NO_STORE), body=text)
        return Respond(response, _NOTE)

    def _ready(self) -> Respond:
        reasons = self._not_ready()
        body = json.dumps({"ready": not reasons, "waiting_for": reasons}).encode() + b"\n"
        headers = ((b"Content-Type", b"application/json"), _NO_STORE)
        return Respond(Response(status=503 if reasons else 200, headers=headers, body=body), _NOTE)

    def finish(self, finish: Finish, status: int, headers: list[HeaderPair]) -> AnswerHead:
        """Pass nothing: nothing is ever forwarded from here."""
        del finish, status
        return AnswerHead(headers, is_tunnel=False, is_acceptable=False)

    def refuse(self, reason: str, status: int, request_id: str, head: RequestHead | None) -> Respond:
        """Refuse in plain text."""
        del request_id, head
        return _text(status, reason)

    def render(self, response: Response, request_id: str) -> WireResponse:
        """Hand the bytes over."""
        del request_id
        return WireResponse(response.status, response.headers, response.body)

    def touch(self, session_id: str) -> None:
        """Do nothing: there are no sessions here."""

    def is_revoked(self, session_id: str) -> bool:
        """Say no: there are no sessions here."""
        del session_id
        return False


def _text(status: int, text: str, headers: tuple[HeaderPair, ...] = ()) -> Respond:
    response = Response(status=status, headers=(_TEXT, _NO_STORE, *headers), body=f"{text}\n".encode())
    return Respond(response, _NOTE)


def _nothing() -> Generator[Effect, object, Respond | Forward]:
    yield from ()
    return _text(500, "not run")
