"""The listener, asked by a real gRPC client as Envoy asks."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.core.decision import Flow, Note, Respond
from sidecar.core.http import Page, RequestHead, Response
from sidecar.core.runtime import Limits, ListenerTls, Upstream
from sidecar.engines import extauthz
from sidecar.engines.extauthz.server import SERVICE
from tests.engines.harness import PlainApplication, bounded, respond, until
from tests.engines.test_tls import Authority
from tests.engines_extauthz.calls import (
    Doorman,
    asked,
    caller,
    external_auth_pb2,
    request_about,
    serving,
    yes,
)
from tests.processes import find_free_port

USER = (b"X-Auth-Request-User", b"ann")


def is_yes(answer: Any) -> bool:
    """Tell what Envoy makes of it: anything but a status of 0 is a denial."""
    return bool(answer.status.code == 0)


def flow_of(head: RequestHead) -> Flow:
    def steps() -> Generator[Any, Any, Respond]:
        yield from ()
        return yes(USER)

    return Flow("test", steps(), head, None)


class TestAnswers:
    def test_a_yes_is_told_with_the_identity(self) -> None:
        application = Doorman(yes(USER))

        answer = bounded(lambda: asked(application, request_about()))

        assert is_yes(answer)
        assert answer.ok_response.headers[0].header.value == "ann"
        assert application.observer.done == [("/oauth2/auth/envoy/a/b?x=1", 200, yes().note)]

    def test_a_no_is_told_as_it_is(self) -> None:
        answer = bounded(lambda: asked(Doorman(respond(403, b"no")), request_about()))

        assert not is_yes(answer)
        assert (answer.denied_response.status.code, answer.denied_response.body) == (403, "no")

    def test_a_page_is_rendered(self) -> None:
        page = Respond(Response(status=401, page=Page(name="error")), Note(site="test", reason="denied"))

        answer = bounded(lambda: asked(Doorman(page), request_about()))

        assert answer.denied_response.body.startswith("page ")

    @pytest.mark.parametrize("outcome", [yes(USER), respond(403, b"no")])
    def test_a_flow_is_run_to_its_end(self, outcome: Respond) -> None:
        class Flowing(PlainApplication):
            def decide(self, head: RequestHead) -> Flow:
                return flow_of(head)

        application = Flowing()

        async def run(_head: object, body: Any) -> Respond:
            assert await body.read(10) == b""
            await asyncio.sleep(0)
            return outcome

        application.flow = run

        assert is_yes(bounded(lambda: asked(application, request_about()))) is (
            outcome.response.status == 200
        )

    def test_who_asks_is_known_by_address_and_secret(self) -> None:
        """S75: from the call, whatever the request that is asked about says."""
        application = Doorman(yes())
        request = request_about(fields=[("x-doorward-secret", "guess"), ("x-forwarded-for", "10.0.0.1")])
        metadata = (("x-doorward-secret", "real"), ("x-forwarded-for", "10.9.9.9"))

        bounded(lambda: asked(application, request, metadata=metadata))

        (head,) = application.heads
        assert head.peer == "127.0.0.1"
        assert not head.is_tls
        assert [v for n, v in head.headers if n.lower() == b"x-doorward-secret"] == [b"real"]
        assert b"10.9.9.9" not in {value for _, value in head.headers}


class TestNothingIsAYesByAccident:
    @pytest.mark.parametrize(
        "answer",
        [
            RuntimeError("a defect"),
            KeyError("x"),
            None,
            "yes",
            yes((b"X-Auth-Request-User", b"J\xf6rg")),
            yes((b"X-Auth-R\xe9quest", b"ann")),
        ],
        ids=repr,
    )
    def test_an_application_that_fails(self, answer: object) -> None:
        application = Doorman(answer)

        told = bounded(lambda: asked(application, request_about()))

        assert not is_yes(told)
        assert told.denied_response.status.code == 500
        assert application.observer.defects == ["extauthz"]

    def test_an_application_that_would_forward(self) -> None:
        application = PlainApplication(Upstream(name="x", scheme="http", host="127.0.0.1", port=9))

        assert not is_yes(bounded(lambda: asked(application, request_about())))
        assert application.observer.defects == ["extauthz"]

    def test_a_flow_that_fails(self) -> None:
        class Flowing(PlainApplication):
            def decide(self, head: RequestHead) -> Flow:
                return flow_of(head)

        application = Flowing()  # whose `run` raises, as no flow is set

        assert not is_yes(bounded(lambda: asked(application, request_about())))
        assert application.observer.defects == ["extauthz"]

    @pytest.mark.parametrize(
        "request_",
        [
            external_auth_pb2.CheckRequest(),
            request_about("*"),
            request_about("http://evil.example/"),
            request_about(fields=[("host", "other.example.com")]),
            request_about(fields=[("x-a", "b\r\nc: d")]),
            request_about("/" + "a" * 20_000),
        ],
        ids=["empty", "asterisk", "absolute", "two hosts", "two lines", "long"],
    )
    def test_a_question_about_no_request(self, request_: Any) -> None:
        """S49, S50."""
        application = Doorman(yes(USER))

        told = bounded(lambda: asked(application, request_))

        assert not is_yes(told)
        assert told.denied_response.status.code in {400, 414}
        assert application.heads == []
        assert len(application.observer.refused) == 1

    @pytest.mark.parametrize("message", [b"\xff\xff\xff", b"x" * 200_000], ids=["garbage", "too large"])
    def test_a_message_that_is_none_is_no_answer(self, message: bytes) -> None:
        application = Doorman(yes(USER))

        async def main() -> None:
            async with serving(application) as server, caller(server.address) as ask:
                with pytest.raises(grpc.aio.AioRpcError):
                    await ask(message)
                assert is_yes(await ask(request_about()))

        bounded(main)

    def test_a_flow_that_never_ends_is_a_denial(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Stuck(PlainApplication):
            def decide(self, head: RequestHead) -> Flow:
                return flow_of(head)

        application = Stuck()

        async def wait(_head: object, _body: object) -> Respond:
            await asyncio.Event().wait()
            raise AssertionError

        application.flow = wait
        monkeypatch.setattr("sidecar.engines.extauthz.server._ANSWER_SECONDS", 0.05)

        told = bounded(lambda: asked(application, request_about()))

        assert (told.status.code, told.denied_response.status.code) == (7, 504)

    def test_a_caller_that_gives_up_ends_its_flow(self) -> None:
        class Slow(PlainApplication):
            ended = False

            def decide(self, head: RequestHead) -> Flow:
                return flow_of(head)

        application = Slow()

        async def wait(_head: object, _body: object) -> Respond:
            try:
                await asyncio.Event().wait()
            finally:
                application.ended = True
            return yes(USER)

        application.flow = wait

        async def main() -> None:
            async with serving(application) as server, caller(server.address) as ask:
                with pytest.raises(grpc.aio.AioRpcError) as told:
                    await ask(request_about(), timeout=0.2)
                assert told.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
                await until(lambda: application.ended)

        bounded(main)
        assert [(status, note.reason) for _, status, note in application.observer.done] == [
            (0, "client_gone")
        ]


class TestListening:
    def test_health_is_told_until_the_drain(self) -> None:
        async def main() -> list[int]:
            server = await extauthz.serve(Doorman(yes()), "127.0.0.1:0", Limits(), b"/x")
            async with grpc.aio.insecure_channel(server.address) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                names = ("", SERVICE)
                told = [(await stub.Check(health_pb2.HealthCheckRequest(service=n))).status for n in names]
            await server.drain(0)
            return told

        serving_ = health_pb2.HealthCheckResponse.SERVING
        assert bounded(main) == [serving_, serving_]

    def test_a_drain_lets_an_answer_finish_and_takes_no_more(self) -> None:
        class Slow(PlainApplication):
            def decide(self, head: RequestHead) -> Flow:
                return flow_of(head)

        application = Slow()
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def wait(_head: object, _body: object) -> Respond:
            begun.set()
            await may_end.wait()
            return yes(USER)

        application.flow = wait

        async def main() -> None:
            async with serving(application) as server, caller(server.address) as ask:
                running = asyncio.ensure_future(ask(request_about()))
                await begun.wait()
                draining = asyncio.ensure_future(server.drain(10))
                await asyncio.sleep(0.05)
                may_end.set()
                assert is_yes(await running)
                await draining
                with pytest.raises(grpc.aio.AioRpcError):
                    await ask(request_about())

        bounded(main)

    def test_an_address_in_use_is_named(self) -> None:
        async def main() -> None:
            async with serving(Doorman(yes())) as server:
                with pytest.raises(OSError, match="in use") as refused:
                    await extauthz.serve(Doorman(yes()), server.address, Limits(), b"/x")
                assert refused.value.filename == server.address

        bounded(main)

    def test_several_workers_share_a_port(self) -> None:
        listen = f"127.0.0.1:{find_free_port()}"

        async def main() -> None:
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(2):
                    server = await extauthz.serve(Doorman(yes()), listen, Limits(), b"/x", reuse_port=True)
                    stack.push_async_callback(server.drain, 0)
                async with caller(listen) as ask:
                    assert is_yes(await ask(request_about()))

        bounded(main)

    def test_a_socket_file_is_for_our_group(self, tmp_path: Path) -> None:
        place = tmp_path / "grpc.sock"
        application = Doorman(yes())

        async def main() -> None:
            async with serving(application, f"unix:{place}") as server, caller(server.address) as ask:
                assert stat.S_IMODE(place.stat().st_mode) == 0o660
                assert is_yes(await ask(request_about()))

        bounded(main)
        assert application.heads[0].peer == "unix"


class TestTls:
    def test_a_caller_shows_a_certificate_of_the_authority(self, tmp_path: Path) -> None:
        """S75: mTLS."""
        authority = Authority.create(tmp_path)
        certificate, key = authority.issue("localhost", "server")
        tls = ListenerTls(certificate_file=certificate, key_file=key, client_ca_file=str(authority.ca_file))
        application = Doorman(yes())

        async def main() -> None:
            async with serving(application, tls=tls) as server:
                for shown, is_let_in in ((authority.issue("envoy", "client"), True), (None, False)):
                    async with caller(server.address, **_as_client(authority, shown)) as ask:
                        if is_let_in:
                            assert is_yes(await ask(request_about()))
                        else:
                            with pytest.raises(grpc.aio.AioRpcError):
                                await ask(request_about(), timeout=5)

        bounded(main)
        assert [head.is_tls for head in application.heads] == [True]

    def test_a_new_certificate_is_shown_without_a_restart(self, tmp_path: Path) -> None:
        authority = Authority.create(tmp_path)
        certificate, key = authority.issue("localhost", "server")
        application = Doorman(yes())

        async def main() -> None:
            tls = ListenerTls(certificate_file=certificate, key_file=key)
            async with serving(application, tls=tls) as server:
                async with caller(server.address, **_as_client(authority, None)) as ask:
                    assert is_yes(await ask(request_about()))
                spoil(key)
                async with caller(server.address, **_as_client(authority, None)) as ask:
                    assert is_yes(await ask(request_about()))
                authority.issue("other.example", "server")
                async with caller(server.address, **_as_client(authority, None, "other.example")) as ask:
                    assert is_yes(await ask(request_about()))

        bounded(main)
        names = [name for name, _ in application.observer.events]
        assert names == ["certificate_refused", "certificate_reloaded"]


def spoil(file: str) -> None:
    Path(file).write_text("no key", encoding="ascii")


def _as_client(
    authority: Authority, shown: tuple[str, str] | None, name: str = "localhost"
) -> dict[str, Any]:
    certificate, key = (None, None) if shown is None else (Path(part).read_bytes() for part in shown)
    credentials = grpc.ssl_channel_credentials(authority.ca_file.read_bytes(), key, certificate)
    return {"credentials": credentials, "options": (("grpc.ssl_target_name_override", name),)}
