"""TLS on the listener and towards upstreams, with certificates made here."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidecar.core.runtime import Limits, ListenerTls, UpstreamTls
from sidecar.engines import express
from tests.engines.harness import (
    EchoUpstream,
    PlainApplication,
    RawClient,
    ScriptedUpstream,
    bounded,
    read_request,
    serving,
    until,
    upstream_at,
)

SWEEP = 0.02


@dataclass(frozen=True)
class Authority:
    """A certificate authority of one test, as plain as those that are made by hand: no key identifiers."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        certificate = _builder(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        authority = cls(key, certificate.sign(key, hashes.SHA256()), folder)
        authority.ca_file.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
        return authority

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, file: str) -> tuple[str, str]:
        """Write a certificate for `name` and its key; return their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, self.certificate.subject, key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        paths = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(paths[0]), str(paths[1])

    def server_context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, "upstream"))
        return context

    def client_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path)


async def certificate_name(address: str, authority: Authority, **options: object) -> str:
    """Return the name in the certificate that a listener shows."""
    context = authority.client_context()
    context.check_hostname = False
    client = await RawClient.connect(address, ssl=context, **options)
    async with client:
        shown = client.writer.get_extra_info("peercert")
        found: str = shown["subject"][0][0][1]
        return found


class TestListener:
    def test_requests_are_served_and_known_as_tls(self, authority: Authority) -> None:
        async def main() -> None:
            tls = listener(authority, "localhost")
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application, tls=tls) as server:
                    context = authority.client_context()
                    context.set_alpn_protocols(["h2", "http/1.1"])
                    client = await RawClient.connect(server.address, ssl=context, server_hostname="localhost")
                    async with client:
                        found = client.writer.get_extra_info("ssl_object")
                        assert found.selected_alpn_protocol() == "http/1.1"
                        assert (await client.ask("/a")).json()["target"] == "/a"
                        assert (await client.ask("/huge?bytes=5000000")).body == bytes(5_000_000)
                        client.send(b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 3000000\r\n\r\n")
                        client.send(bytes(3_000_000))
                        assert (await client.answer()).status == 200
                        assert all(head.is_tls for head in application.heads)
                        assert application.heads[0].peer == "127.0.0.1"

        bounded(main)

    @pytest.mark.parametrize("target", ["/close", "/refused"])
    def test_an_end_of_ours_can_be_read(self, authority: Authority, target: str) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application, tls=listener(authority, "localhost")) as server:
                    client = await RawClient.connect(
                        server.address, ssl=authority.client_context(), server_hostname="localhost"
                    )
                    async with client:
                        answer = await client.ask(target, "Connection: close")
                        assert answer.is_complete
                        assert await client.is_closed()

        bounded(main)

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_old_versions_are_refused(self, authority: Authority, version: ssl.TLSVersion) -> None:
        """RFC 9325 §3.1.1."""

        async def main() -> None:
            async with serving(PlainApplication(), tls=listener(authority, "localhost")) as server:
                context = authority.client_context()
                context.minimum_version = context.maximum_version = version
                context.set_ciphers("ALL:@SECLEVEL=0")
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await RawClient.connect(server.address, ssl=context, server_hostname="localhost")

        bounded(main)

    @pytest.mark.parametrize("with_name", [True, False])
    def test_changed_files_serve_new_connections(self, authority: Authority, *, with_name: bool) -> None:
        """With and without a server name in the handshake."""

        async def main() -> None:
            application = PlainApplication()
            tls = listener(authority, "first.test")
            # An address is never sent as a server name (RFC 6066 §3).
            options = {"server_hostname": "first.test" if with_name else "127.0.0.1"}
            async with serving(application, tls=tls, sweep_seconds=SWEEP) as server:
                assert await certificate_name(server.address, authority, **options) == "first.test"
                old = await RawClient.connect(
                    server.address, ssl=authority.client_context(), server_hostname="first.test"
                )
                listener(authority, "second.test")
                await until(lambda: "certificate_reloaded" in dict(application.observer.events))
                assert await certificate_name(server.address, authority, **options) == "second.test"
                async with old:
                    assert (await old.ask("/refused")).status == 403

        bounded(main)

    def test_a_file_that_can_not_be_used_changes_nothing_and_is_told_once(self, authority: Authority) -> None:
        async def main() -> None:
            application = PlainApplication()
            tls = listener(authority, "first.test")
            async with serving(application, tls=tls, sweep_seconds=SWEEP) as server:
                spoil(tls.key_file)
                await until(lambda: application.observer.events)
                await asyncio.sleep(5 * SWEEP)
                assert [name for name, _ in application.observer.events] == ["certificate_refused"]
                remove(tls.key_file)
                await until(lambda: len(application.observer.events) == 2)
                name = await certificate_name(server.address, authority, server_hostname="first.test")
                assert name == "first.test"
                # And once they fit again they are taken.
                listener(authority, "second.test")
                await until(lambda: application.observer.events[-1][0] == "certificate_reloaded")

        bounded(main)

    def test_files_that_do_not_fit_start_nothing(self, authority: Authority) -> None:
        tls = listener(authority, "first.test")
        _, other = authority.issue("other.test", "other")

        async def main() -> None:
            with pytest.raises(ssl.SSLError):
                await express.serve(
                    PlainApplication(),
                    "127.0.0.1:0",
                    Limits(),
                    tls=ListenerTls(certificate_file=tls.certificate_file, key_file=other),
                )

        bounded(main)

    def test_a_websocket_passes(self, authority: Authority) -> None:
        async def main() -> None:
            async with EchoUpstream() as upstream:
                application = PlainApplication(upstream_at(upstream.address))
                async with serving(application, tls=listener(authority, "localhost")) as server:
                    client = await RawClient.connect(
                        server.address, ssl=authority.client_context(), server_hostname="localhost"
                    )
                    async with client:
                        client.get("/ws", "Connection: Upgrade", "Upgrade: websocket")
                        assert (await client.answer()).status == 101
                        client.send(b"\x82\x05hello")
                        assert await client.reader.readexactly(7) == b"\x82\x05hello"
                        await server.drain(1)
                        assert await client.reader.readexactly(4) == b"\x88\x02\x03\xe9"

        bounded(main)


def spoil(path: str) -> None:
    Path(path).write_text("no key")


def remove(path: str) -> None:
    Path(path).unlink()


def listener(authority: Authority, name: str) -> ListenerTls:
    certificate, key = authority.issue(name, "listener")
    return ListenerTls(certificate_file=certificate, key_file=key)


class TestUpstream:
    def test_its_own_authority_and_name_are_believed(self, authority: Authority) -> None:
        """Even one that RFC 5280's strictest reading refuses, as Python 3.13 does by default."""

        async def main() -> None:
            upstream = EchoUpstream()
            await upstream.start(ssl=authority.server_context("app.internal"))
            async with upstream:
                tls = UpstreamTls(ca_file=str(authority.ca_file), server_name="app.internal")
                application = PlainApplication(upstream_at(upstream.address, scheme="https", tls=tls))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    for _ in range(2):
                        assert (await client.ask("/a")).json()["target"] == "/a"
                    assert (await client.ask("/close")).json()["target"] == "/close"
                    assert upstream.connections == 1

        bounded(main)

    @pytest.mark.parametrize("case", ["another name", "another authority"])
    def test_anything_else_is_not(self, authority: Authority, case: str) -> None:
        async def main() -> None:
            upstream = EchoUpstream()
            await upstream.start(ssl=authority.server_context("app.internal"))
            async with upstream:
                name = "other.internal" if case == "another name" else "app.internal"
                ca_file = str(authority.ca_file) if case == "another name" else None
                tls = UpstreamTls(ca_file=ca_file, server_name=name)
                application = PlainApplication(upstream_at(upstream.address, scheme="https", tls=tls))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    assert (await client.ask("/a")).status == 502
                    assert "certificate verify failed" in str(application.observer.done[0][2].detail)
                    assert not upstream.requests

        bounded(main)

    def test_a_client_certificate_is_shown(self, authority: Authority) -> None:
        """S13: the hop to the upstream can be mutual TLS."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            shown.append(writer.get_extra_info("peercert")["subject"][0][0][1])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await reader.read()

        async def main() -> None:
            context = authority.server_context("app.internal")
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(str(authority.ca_file))
            upstream = ScriptedUpstream(script)
            await upstream.start(ssl=context)
            async with upstream:
                certificate, key = authority.issue("doorward", "client")
                tls = UpstreamTls(
                    ca_file=str(authority.ca_file),
                    certificate_file=certificate,
                    key_file=key,
                    server_name="app.internal",
                )
                application = PlainApplication(upstream_at(upstream.address, scheme="https", tls=tls))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    assert (await client.ask("/a")).status == 200
                    assert shown == ["doorward"]

        shown: list[str] = []
        bounded(main)

    def test_a_missing_file_is_503_and_a_later_bad_one_keeps_the_last_good(
        self, authority: Authority
    ) -> None:
        async def main() -> None:
            upstream = EchoUpstream()
            await upstream.start(ssl=authority.server_context("app.internal"))
            async with upstream:
                moved = authority.folder / "moved.pem"
                tls = UpstreamTls(ca_file=str(moved), server_name="app.internal")
                facts = {"scheme": "https", "tls": tls, "max_idle_connections": 0}
                application = PlainApplication(upstream_at(upstream.address, **facts))
                async with serving(application) as server, await RawClient.connect(server.address) as client:
                    assert (await client.ask("/a")).status == 503
                    moved.write_bytes(authority.ca_file.read_bytes())
                    assert (await client.ask("/a")).status == 200
                    moved.write_text("no certificate")
                    assert (await client.ask("/a")).status == 200
                    assert (await client.ask("/a")).status == 200
                    assert [name for name, _ in application.observer.events] == ["certificate_refused"]
                    assert upstream.connections == 3

        bounded(main)
