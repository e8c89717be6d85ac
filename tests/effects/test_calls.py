"""S25, S56, D2: calls to providers are bounded in time, size and direction; each against a real server."""

from __future__ import annotations

import asyncio
import gzip
import os
import ssl
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.effects import CallProvider, ProviderAnswer
from sidecar.core.errors import ProviderUnavailable
from tests.effects.surroundings import Bench, Request, Script, local_provider, reply, serving
from tests.parts import require_part


def ask(
    script: Script,
    *,
    method: Any = "GET",
    path: str = "/x",
    form: tuple[tuple[str, str], ...] | None = None,
    bench: Bench | None = None,
    **settings: Any,
) -> ProviderAnswer:
    """Make one call to a server that answers by `script`."""

    async def main() -> ProviderAnswer:
        async with serving(script) as origin, bench or Bench() as around:
            provider = local_provider(origin, **{"call_seconds": 5.0, **settings})
            answer = await around.perform(
                CallProvider(provider=provider, operation="x", method=method, url=origin + path, form=form)
            )
            assert isinstance(answer, ProviderAnswer)
            return answer

    return asyncio.run(main())


def refusal(script: Script, **parts: Any) -> str:
    with pytest.raises(ProviderUnavailable) as caught:
        ask(script, **parts)
    return caught.value.code


def saying(*answers: bytes) -> Script:
    """Return a script that gives these answers in turn, the last one again and again."""
    left = list(answers)

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return script


def listening(seen: list[Request], answer: bytes) -> Script:
    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        writer.write(answer)

    return script


class TestRequests:
    def test_a_form_is_posted_encoded(self) -> None:
        seen: list[Request] = []

        answer = ask(listening(seen, reply(b"{}")), method="POST", form=(("a", "1&2"), ("b", "ü")))

        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert seen[0].method == "POST"
        assert seen[0].body == b"a=1%262&b=%C3%BC"
        assert seen[0].headers["content-type"] == "application/x-www-form-urlencoded"

    def test_it_says_who_we_are_and_asks_for_no_compression(self) -> None:
        seen: list[Request] = []

        ask(listening(seen, reply(b"{}")))

        assert seen[0].headers["user-agent"] == "doorward"
        assert seen[0].headers["accept-encoding"] == "identity"
        assert seen[0].headers["accept"] == "application/json"

    def test_a_cookie_of_one_call_does_not_go_along_with_the_next(self) -> None:
        """Two calls may be of two people."""
        seen: list[Request] = []

        async def main() -> None:
            script = listening(seen, reply(b"{}", 200, "Set-Cookie: sid=alice; Path=/"))
            async with serving(script) as origin, Bench() as bench:
                call = CallProvider(
                    provider=local_provider(origin), operation="x", method="GET", url=origin + "/x"
                )
                await bench.perform(call)
                await bench.perform(call)

        asyncio.run(main())

        assert "cookie" not in seen[1].headers

    def test_the_environments_proxy_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The configuration says how a provider is reached, and nothing else does."""
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")

        assert ask(saying(reply(b"{}"))).status == 200

    def test_a_configured_proxy_is_used(self) -> None:
        seen: list[Request] = []

        async def main() -> None:
            async with serving(listening(seen, reply(b"{}"))) as proxy, Bench() as bench:
                provider = local_provider("http://id.internal", http_proxy=proxy)
                await bench.perform(
                    CallProvider(provider=provider, operation="x", method="GET", url="http://id.internal/x")
                )

        asyncio.run(main())

        assert seen[0].target == "http://id.internal/x"


class TestTime:
    """httpx's time-outs are per operation; ours is over the whole call."""

    @pytest.mark.parametrize("part", ["head", "body", "nothing"])
    def test_dripping_bytes_are_cut_off(self, part: str) -> None:
        """S56: each byte comes in time, the answer never."""

        async def drip(_: Request, writer: asyncio.StreamWriter) -> None:
            start = {"head": b"HTTP/1.1 200 OK\r\nX: ", "body": reply(b"x" * 100)[:-100], "nothing": b""}[
                part
            ]
            writer.write(start)
            while True:
                await asyncio.sleep(0.02)
                if part != "nothing":
                    writer.write(b"x")
                    await writer.drain()

        started = time.monotonic()
        assert refusal(drip, call_seconds=0.3) == "provider_timeout"
        assert time.monotonic() - started < 3

    def test_redirects_count_towards_the_same_time(self) -> None:
        async def slow(_: Request, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.2)
            writer.write(reply(b"", 302, "Location: /x"))

        assert refusal(slow, call_seconds=0.5) == "provider_timeout"


class TestSize:
    def test_an_answer_up_to_the_limit_is_read(self) -> None:
        assert len(ask(saying(reply(b"x" * 1000)), call_max_bytes=1000).body) == 1000

    def test_an_answer_beyond_the_limit_is_refused(self) -> None:
        """S25: a mebibyte by default."""
        assert len(ask(saying(reply(b"x" * (1 << 20)))).body) == 1 << 20
        assert refusal(saying(reply(b"x" * ((1 << 20) + 1)))) == "provider_answer_too_large"

    def test_an_answer_without_an_end_is_refused(self) -> None:
        async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                await writer.drain()

        assert refusal(endless) == "provider_answer_too_large"

    @pytest.mark.parametrize(
        ("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress)]
    )
    def test_compression_that_we_did_not_ask_for_is_read(
        self, coding: str, compress: Callable[[bytes], bytes]
    ) -> None:
        text = os.urandom(90_000) + b"x" * 300_000

        answer = ask(saying(reply(compress(text), 200, f"Content-Encoding: {coding}")))

        assert answer.body == text

    def test_a_bomb_is_refused_before_it_goes_off(self) -> None:
        """S25: 256 MiB in 256 KiB: what has been inflated is bounded, not only what was kept."""
        import tracemalloc

        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(256)) + packer.flush()
        tracemalloc.start()
        try:
            code = refusal(saying(reply(bomb, 200, "Content-Encoding: gzip")))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert code == "provider_answer_too_large"
        assert peak < 16 << 20

    @pytest.mark.parametrize(
        ("body", "coding"), [(b"no gzip", "gzip"), (b"x", "br"), (b"x", "gzip, gzip"), (b"x", "compress")]
    )
    def test_compression_that_we_cannot_read_is_refused(self, body: bytes, coding: str) -> None:
        code = refusal(saying(reply(body, 200, f"Content-Encoding: {coding}")))

        assert code == "provider_answer_unreadable"


class TestDirection:
    def test_a_redirect_on_the_same_origin_is_followed(self) -> None:
        answer = ask(saying(reply(b"", 302, "Location: /y"), reply(b'{"a":1}')))

        assert answer.body == b'{"a":1}'

    @pytest.mark.parametrize(
        "target",
        [
            "http://localhost:1/x",
            "https://127.0.0.1/x",
            "//evil.example/x",
            "http://127.0.0.1:1/x",
            "",
        ],
    )
    def test_a_redirect_to_another_origin_is_not(self, target: str) -> None:
        """D2: another host, port or scheme; the secret goes nowhere else."""
        assert refusal(saying(reply(b"", 302, f"Location: {target}"))) == "redirect_refused"

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_form_is_never_sent_on(self, status: int) -> None:
        """S12: codes and secrets are posted once, to the endpoint."""
        code = refusal(
            saying(reply(b"", status, "Location: /y")), method="POST", form=(("client_secret", "s"),)
        )

        assert code == "redirect_refused"

    def test_a_circle_ends(self) -> None:
        assert refusal(saying(reply(b"", 302, "Location: /x"))) == "redirect_refused"


class TestFailure:
    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_server_error_is_unavailability(self, status: int) -> None:
        """D2: 5xx."""
        assert refusal(saying(reply(b"{}", status))) == "provider_answered_5xx"

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
    def test_a_client_error_is_an_answer(self, status: int) -> None:
        assert ask(saying(reply(b'{"error":"x"}', status))).status == status

    @pytest.mark.parametrize(
        "data", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", b"\0" * 100]
    )
    def test_what_is_no_answer_is_unavailability(self, data: bytes) -> None:
        async def broken(_: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            writer.close()

        assert refusal(broken) == "provider_unreachable"

    def test_a_port_where_nobody_listens_is_unavailability(self) -> None:
        async def main() -> None:
            async with Bench() as bench:
                provider = local_provider("http://127.0.0.1:1")
                await bench.perform(
                    CallProvider(provider=provider, operation="x", method="GET", url="http://127.0.0.1:1/")
                )

        with pytest.raises(ProviderUnavailable, match="provider_unreachable"):
            asyncio.run(main())

    def test_a_ca_file_that_is_gone_is_unavailability(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with Bench() as bench:
                provider = local_provider("https://127.0.0.1:1", ca_file=str(tmp_path / "none.pem"))
                await bench.perform(
                    CallProvider(provider=provider, operation="x", method="GET", url="https://127.0.0.1:1/")
                )

        with pytest.raises(ProviderUnavailable, match=r"none\.pem"):
            asyncio.run(main())

    def test_each_call_is_told_by_its_outcome(self) -> None:
        bench = Bench()
        ask(saying(reply(b"{}")), bench=bench)
        bench = Bench(observer=bench.observer)
        ask(saying(reply(b"{}", 400)), bench=bench)
        bench = Bench(observer=bench.observer)
        refusal(saying(reply(b"{}", 500)), bench=bench)

        assert bench.observer.calls == [
            ("main", "x", "ok"),
            ("main", "x", "refused"),
            ("main", "x", "unavailable"),
        ]

    def test_nothing_that_was_sent_is_in_the_error(self) -> None:
        """S27: neither the form nor a header."""
        with pytest.raises(ProviderUnavailable) as caught:
            ask(saying(b"garbage\r\n\r\n"), method="POST", form=(("client_secret", "hidden"),))

        assert "hidden" not in str(caught.value)


class TestTrust:
    """S16: TLS to providers."""

    @pytest.fixture(scope="class")
    @staticmethod
    def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("tls")
        command = [
            str(require_part("openssl")),
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=id",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(folder / "key.pem"),
            "-out",
            str(folder / "cert.pem"),
        ]
        subprocess.run(command, check=True, capture_output=True)
        return folder

    @staticmethod
    def call(pair: Path, **settings: Any) -> int:
        async def main() -> int:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(pair / "cert.pem", pair / "key.pem")

            async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(reply(b"{}"))
                await writer.drain()
                writer.close()

            server = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=context)
            origin = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with server, Bench() as bench:
                provider = local_provider(origin, **settings)
                answer: ProviderAnswer = await bench.perform(
                    CallProvider(provider=provider, operation="x", method="GET", url=origin)
                )
                return answer.status

        return asyncio.run(main())

    def test_a_certificate_of_nobody_is_refused(self, pair: Path) -> None:
        with pytest.raises(ProviderUnavailable, match="provider_unreachable"):
            self.call(pair)

    def test_without_a_store_of_the_system_certifis_is_used(
        self, pair: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Bare images have none: then the public authorities are trusted, and still not anybody."""
        none = ssl.DefaultVerifyPaths(None, None, "", "", "", "")  # type: ignore[arg-type]
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: none)

        with pytest.raises(ProviderUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            self.call(pair)

    def test_a_providers_own_ca_is_trusted(self, pair: Path) -> None:
        assert self.call(pair, ca_file=str(pair / "cert.pem")) == 200
