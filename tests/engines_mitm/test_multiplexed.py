"""HTTP/2 and HTTP/3 in front: heads held to HTTP/1.1's rules, trailers, gRPC."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from sidecar.core.runtime import ListenerTls, UpstreamTls
from tests.blackbox.certificates import Certificate, make_certificate
from tests.engines.harness import EchoUpstream, PlainApplication, upstream_at
from tests.engines_mitm.mitmharness import Fields, H2Client, H2Server, bounded, serving

HEAD: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"test"), (b":path", b"/a")]


def listener(certificate: Certificate) -> ListenerTls:
    return ListenerTls(certificate_file=str(certificate.certificate), key_file=str(certificate.key))


def changed(**pseudo: bytes) -> Fields:
    return [(name, pseudo.get(name.decode()[1:], value)) for name, value in HEAD]


ILLEGAL: dict[str, Fields] = {
    "CR LF in a value": [*HEAD, (b"x-a", b"1\r\nX-Forwarded-User: root")],
    "NUL in a value": [*HEAD, (b"x-a", b"1\x002")],
    "a space before a value": [*HEAD, (b"x-a", b" 1")],
    "upper case in a name": [*HEAD, (b"X-A", b"1")],
    "a space in a name": [*HEAD, (b"x a", b"1")],
    "a colon in a name": [*HEAD, (b"x:a", b"1")],
    "CR LF in a name": [*HEAD, (b"x-a: 1\r\nx-b", b"1")],
    "connection": [*HEAD, (b"connection", b"close")],
    "transfer-encoding": [*HEAD, (b"transfer-encoding", b"chunked")],
    "upgrade": [*HEAD, (b"upgrade", b"websocket")],
    "TE of another kind": [*HEAD, (b"te", b"gzip")],
    "two lengths": [*HEAD, (b"content-length", b"0"), (b"content-length", b"0")],
    "a signed length": [*HEAD, (b"content-length", b"+0")],
    "another Host": [*HEAD, (b"host", b"other")],
    "two Hosts": [*HEAD, (b"host", b"test"), (b"host", b"other")],
    "no authority": [pair for pair in HEAD if pair[0] != b":authority"],
    "CR LF in :path": changed(path=b"/a HTTP/1.1\r\nX-Forwarded-User: root"),
    "a space in :path": changed(path=b"/a b"),
    "a fragment in :path": changed(path=b"/a#b"),
    "no :path": changed(path=b""),
    "CR LF in :method": changed(method=b"GET / HTTP/1.1\r\nX: y"),
    "CR LF in :authority": changed(authority=b"test\r\nX-Forwarded-User: root"),
}


@pytest.mark.parametrize("fields", ILLEGAL.values(), ids=ILLEGAL)
def test_a_head_that_http_1_could_not_carry_is_refused(tmp_path: Path, fields: Fields) -> None:
    """S55: by an answer, by a reset or by ending the connection; nothing reaches the upstream."""
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with serving(application, tmp_path, tls=listener(certificate)) as server:
                client = await H2Client.connect(server.address, certificate.trust)
                answer = await client.answer(client.send(fields))
                assert answer.status in {0, 400}
                client.close()
            assert not upstream.requests
            assert not upstream.connections

    bounded(main)


def test_requests_side_by_side_reach_an_http_1_upstream(tmp_path: Path) -> None:
    """S41: what a client adds under our names does not arrive, Host is what it asked for."""
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with serving(application, tmp_path, tls=listener(certificate)) as server:
                client = await H2Client.connect(server.address, certificate.trust)
                first = client.send([*HEAD, (b"cookie", b"a=1"), (b"cookie", b"b=2")])
                second = client.send(changed(method=b"POST"), b"hello")
                refused = client.send(changed(path=b"/refused", method=b"POST"), b"x" * 1000, ends=False)
                answers = [await client.answer(stream) for stream in (first, second, refused)]
                client.close()
            assert [answer.status for answer in answers] == [200, 200, 403]
            assert answers[2].body == b"refused\n"
            by_method = {request.method: request for request in upstream.requests}
            assert by_method["GET"].header("Host") == "test"
            assert by_method["POST"].body == b"hello"
            assert len(upstream.requests) == 2

    bounded(main)


def test_many_streams_of_one_client_reach_one_upstream_at_once(tmp_path: Path) -> None:
    """mitmproxy alone allows five connections at a time to an upstream."""
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        async with EchoUpstream() as upstream:
            application = PlainApplication(upstream_at(upstream.address))
            async with serving(application, tmp_path, tls=listener(certificate)) as server:
                client = await H2Client.connect(server.address, certificate.trust)
                streams = [client.send(changed(path=b"/sse?pieces=1")) for _ in range(12)]
                while not all(client.answers[stream].status for stream in streams):
                    await client.read()
                for _ in streams:
                    upstream.step.release()
                assert [(await client.answer(stream)).body for stream in streams] == [b"data: 0\n\n"] * 12
                client.close()

    bounded(main)


def test_a_refused_upload_is_stopped_without_an_error(tmp_path: Path) -> None:
    """RFC 9113 §8.1: a whole answer, then RST_STREAM with NO_ERROR."""
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        application = PlainApplication(upstream_at("127.0.0.1:9"))
        async with serving(application, tmp_path, tls=listener(certificate)) as server:
            client = await H2Client.connect(server.address, certificate.trust)
            stream = client.send(changed(path=b"/refused", method=b"POST"), b"x" * 1000, ends=False)
            answer = await client.answer(stream)
            while answer.reset is None and not client.is_ended:
                await client.read()
            client.close()
        assert (answer.status, answer.body, answer.reset) == (403, b"refused\n", 0)

    bounded(main)


def test_grpc_passes_with_its_trailers_over_tls_on_both_sides(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        files = (str(certificate.certificate), str(certificate.key))
        async with H2Server().running(*files) as upstream:
            tls = UpstreamTls(ca_file=files[0])
            application = PlainApplication(upstream_at(upstream.address, scheme="https", tls=tls))
            async with serving(application, tmp_path, tls=listener(certificate)) as server:
                client = await H2Client.connect(server.address, certificate.trust)
                call = changed(method=b"POST", path=b"/test.Service/Call")
                message = b"\x00\x00\x00\x00\x05hello"
                fields = [*call, (b"te", b"trailers"), (b"content-type", b"application/grpc")]
                answer = await client.answer(client.send(fields, message))
                client.close()
            assert answer.status == 200
            assert answer.body == message
            assert (b"grpc-status", b"0") in answer.trailers
            ((received, body),) = upstream.requests
            assert body == message
            assert (b"te", b"trailers") in received
            assert dict(received)[b":path"] == b"/test.Service/Call"
            assert dict(received)[b":authority"] == b"test"

    bounded(main)


def test_an_upstream_that_nobody_vouches_for_is_502(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        files = (str(certificate.certificate), str(certificate.key))
        async with H2Server().running(*files) as upstream:
            application = PlainApplication(upstream_at(upstream.address, scheme="https"))
            async with serving(application, tmp_path, tls=listener(certificate)) as server:
                client = await H2Client.connect(server.address, certificate.trust)
                answer = await client.answer(client.send(HEAD))
                client.close()
            assert answer.status == 502
            assert not upstream.requests

    bounded(main)


def test_plain_bytes_on_a_tls_listener_get_nothing(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)

    async def main() -> None:
        application = PlainApplication(upstream_at("127.0.0.1:9"))
        async with serving(application, tmp_path, tls=listener(certificate)) as server:
            host, _, port = server.address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n")
            assert await reader.read() == b""
            writer.close()
        assert not application.heads

    bounded(main)


def test_tls_on_a_plain_listener_is_not_spoken(tmp_path: Path) -> None:
    async def main() -> None:
        application = PlainApplication(upstream_at("127.0.0.1:9"))
        async with serving(application, tmp_path) as server:
            host, _, port = server.address.rpartition(":")
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with pytest.raises(ssl.SSLError):
                await asyncio.open_connection(host, int(port), ssl=context)
        assert not application.heads

    bounded(main)
