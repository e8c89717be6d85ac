"""Requests go out as they are written, and answers are read within bounds."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.core.errors import ConfigurationError
from sidecar.doctor.wire import Answer, NoAnswerError, NotExaminedError, Request, parse_url
from tests.blackbox.certificates import Certificate, make_certificate
from tests.blackbox.httpserver import Answer as Told
from tests.blackbox.httpserver import HttpServer, Received
from tests.processes import find_free_port


def _ask(answer: Told | Callable[[Received], Told], request: Request) -> tuple[Answer, list[Received]]:
    serve = answer if callable(answer) else lambda _: answer
    with HttpServer(serve).running() as server:
        ingress, _ = parse_url(f"http://app.localhost:{server.port}")
        return asyncio.run(ingress.send(request)), server.received


def _said(data: bytes) -> Told:
    def say(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    return Told(take_over=say)


def test_names_and_target_go_out_as_they_are() -> None:
    request = Request(target="/a/../%2F//b", headers=(("X.a_B", "1"), ("X.a_B", "2")))

    _, received = _ask(Told(), request)

    assert received[0].target == "/a/../%2F//b"
    assert [pair for pair in received[0].headers if pair[0] != "Host"] == [("X.a_B", "1"), ("X.a_B", "2")]


@pytest.mark.parametrize(
    "request_",
    [
        Request(target="/\r\nX: y"),
        Request(target="/", headers=(("X", "y\nz"),)),
        Request(target="/", headers=(("X\0", "y"),)),
    ],
)
def test_nothing_is_smuggled_out(request_: Request) -> None:
    with pytest.raises(ConfigurationError):
        _ask(Told(), request_)


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 200, b"ab"),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", 200, b"to the end"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    ],
)
def test_answers_of_every_framing_are_read(said: bytes, status: int, body: bytes) -> None:
    answer, _ = _ask(_said(said), Request(target="/"))

    assert (answer.status, answer.body) == (status, body)


def test_switched_protocols_are_an_answer() -> None:
    request = Request(target="/", headers=(("Upgrade", "h2c"), ("Connection", "Upgrade")))
    answer, _ = _ask(_said(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\0\0\0"), request)

    assert answer.status == 101


def test_an_answer_to_head_has_no_body() -> None:
    answer, _ = _ask(
        _said(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), Request(method="HEAD", target="/")
    )

    assert (answer.status, answer.body) == (200, b"")


def test_a_body_without_an_end_is_cut() -> None:
    answer, _ = _ask(Told(body=iter([bytes(1 << 16)] * 64)), Request(target="/"))

    assert len(answer.body) == 256 * 1024


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000]
)
def test_what_is_no_answer_is_told(said: bytes) -> None:
    with pytest.raises(NoAnswerError):
        _ask(_said(said), Request(target="/"))


def test_an_answer_that_does_not_come_is_told() -> None:
    def stay(connection: socket.socket) -> None:
        connection.recv(1)

    with HttpServer(lambda _: Told(take_over=stay)).running() as server:
        ingress = replace(parse_url(server.url)[0], patience_seconds=0.2)
        with pytest.raises(NoAnswerError, match=r"no answer within 0\.2 s"):
            asyncio.run(ingress.send(Request(target="/")))


def test_nobody_there_is_one_sentence() -> None:
    ingress, _ = parse_url(f"http://127.0.0.1:{find_free_port()}")

    with pytest.raises(NotExaminedError, match=r"^http://127.0.0.1:\d+ can't be reached: "):
        asyncio.run(ingress.send(Request(target="/")))


@pytest.mark.parametrize(
    "url",
    ["app.example.com", "ftp://a", "https://", "http://a:b", "https://u:p@a", "https://a/?q", "https://a/#f"],
)
def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_url(url)
    assert "p@" not in str(refused.value)


def test_a_url_is_taken_apart() -> None:
    ingress, path = parse_url("https://app.example.com:8443/app")

    assert (ingress.scheme, ingress.host, ingress.port, path) == ("https", "app.example.com", 8443, "/app")
    assert ingress.origin == "https://app.example.com:8443"
    assert not ingress.is_local
    assert parse_url("https://app.example.com")[0].port == 443
    assert all(parse_url(f"http://{host}")[0].is_local for host in ("a.localhost", "127.0.0.1", "[::1]"))


async def _ask_over_tls(certificate: Certificate) -> Answer:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        return await parse_url(f"https://localhost:{port}")[0].send(Request(target="/"))


def test_a_certificate_that_nobody_knows_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        NotExaminedError, match=r"^https://localhost:\d+: its certificate is not trusted here"
    ):
        asyncio.run(_ask_over_tls(make_certificate(tmp_path)))


def test_other_authorities_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))

    assert asyncio.run(_ask_over_tls(certificate)).status == 204


async def _ask_in_clear(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await parse_url(f"https://127.0.0.1:{port}")[0].send(Request(target="/"))


@pytest.mark.parametrize(
    ("said", "told"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "TLS fails: "), (b"", "can't be reached: it hangs up")],
)
def test_a_server_without_tls_is_one_sentence(said: bytes, told: str) -> None:
    with pytest.raises(NotExaminedError, match=told):
        asyncio.run(_ask_in_clear(said))
