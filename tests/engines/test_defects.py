"""Exceptions that nobody expected: each ends one request and is told, none lets anything through."""

from __future__ import annotations

import pytest

from sidecar.application import AnswerHead
from sidecar.core.decision import Edits, Finish, Forward, Lease, Respond
from sidecar.core.http import HeaderPair, RequestHead
from tests.engines.harness import (
    EchoUpstream,
    PlainApplication,
    RawClient,
    Recorder,
    bounded,
    serving,
    until,
    upstream_at,
)


class Faulty(PlainApplication):
    """Raises where its test asks for it."""

    fault = ""

    def finish(self, finish: Finish, status: int, headers: list[HeaderPair]) -> AnswerHead:
        if self.fault == "finish":
            raise RuntimeError("finish")
        if self.fault == "unacceptable":
            return AnswerHead(headers=headers, is_acceptable=False)
        return super().finish(finish, status, headers)

    def refuse(self, reason: str, status: int, request_id: str, head: RequestHead | None) -> Respond:
        if self.fault == "refuse":
            raise RuntimeError("refuse")
        return super().refuse(reason, status, request_id, head)

    def touch(self, session_id: str) -> None:
        raise RuntimeError("touch")


def test_in_a_decision() -> None:
    """The connection gets a 500 and ends; another goes on."""

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with (
                serving(application, allows_defects=True) as server,
                await RawClient.connect(server.address) as client,
                await RawClient.connect(server.address) as other,
            ):
                answer = await client.ask("/defect")
                assert (answer.status, answer.header("Connection")) == (500, "close")
                assert await client.is_closed()
                assert (await other.ask("/a")).status == 200
                assert application.observer.defects == ["express"]
                assert [done[:2] for done in application.observer.done] == [("/defect", 500), ("/a", 200)]
                assert not [request for request in upstream.requests if request.target == "/defect"]

    bounded(main)


@pytest.mark.parametrize(("fault", "status"), [("finish", 500), ("unacceptable", 502)])
def test_in_the_word_on_an_answer(fault: str, status: int) -> None:
    """An answer that the core has not judged reaches nobody."""

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = Faulty(upstream_at(upstream.address))
            application.fault = fault
            async with (
                serving(application, allows_defects=True) as server,
                await RawClient.connect(server.address) as client,
            ):
                answer = await client.ask("/a")
                assert answer.status == status
                assert b"target" not in answer.body
                assert [done[1] for done in application.observer.done] == [status]

    bounded(main)


def test_in_the_refusal_itself() -> None:
    """Then nothing can be said, and the connection ends."""

    async def main() -> None:
        application = Faulty()
        application.fault = "refuse"
        async with serving(application, allows_defects=True) as server:
            for data in (b"nonsense\r\n\r\n", b"GET /defect HTTP/1.1\r\nHost: test\r\n\r\n"):
                async with await RawClient.connect(server.address) as client:
                    client.send(data)
                    assert await client.is_closed()
            await until(lambda: server.connections == 0)
            assert application.observer.defects

    bounded(main)


@pytest.mark.parametrize("target", ["/refused", "/a"])
def test_in_an_observer(target: str) -> None:
    async def main() -> None:
        class Broken(Recorder):
            def request_done(self, *_: object) -> None:
                raise RuntimeError("observer")

        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            application.observer = Broken()
            async with (
                serving(application, allows_defects=True) as server,
                await RawClient.connect(server.address) as client,
            ):
                client.get(target)
                client.get(target)
                # The first answer may have been written already; nothing follows it.
                await until(lambda: server.connections == 0)
                assert len(application.heads) == 1
                assert application.observer.defects

    bounded(main)


def test_in_the_sweep() -> None:
    """The next one comes all the same."""

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = Faulty(upstream_at(upstream.address))
            application.lease = Lease(session_id="s", user="u", not_after=2e9, idle_seconds=0)
            async with (
                serving(application, sweep_seconds=0.01, allows_defects=True) as server,
                await RawClient.connect(server.address) as client,
            ):
                client.get("/ws", "Connection: Upgrade", "Upgrade: websocket")
                assert (await client.answer()).status == 101
                await until(lambda: "sweep" in application.observer.defects)
                client.send(b"\x82\x05hello")
                assert await client.reader.readexactly(7) == b"\x82\x05hello"
                await until(lambda: application.observer.defects.count("sweep") > 1)

    bounded(main)


def test_edits_of_any_number_go_up() -> None:
    """None, one or several blocks; kept fields or none: the head stays one head."""

    async def main() -> None:
        class Editing(PlainApplication):
            blocks: tuple[Edits, ...] = ()

            def forward(self, head: RequestHead) -> Forward:
                found = super().forward(head)
                found.edits = self.blocks
                if head.target == b"/bare":
                    found.kept = []
                return found

        async with EchoUpstream() as upstream:
            application = Editing(upstream_at(upstream.address))
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                for count in range(4):
                    application.blocks = tuple(Edits.of(((b"X-%d" % n, b"y"),)) for n in range(count))
                    for target in ("/a", "/bare"):
                        assert (await client.ask(target)).status == 200
                        names = [name for name, _ in upstream.requests[-1].headers]
                        assert names == ["Host"] * (target == "/a") + [f"X-{n}" for n in range(count)]

    bounded(main)
