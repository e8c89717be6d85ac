"""TLS with `tls.client_ca`: who shows a certificate of that authority is heard, and nobody else (S75)."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from sidecar.core.runtime import ListenerTls
from tests.engines.harness import PlainApplication, RawClient, bounded, serving, until
from tests.engines.test_tls import SWEEP, Authority

type Pair = tuple[str, str]

every_version = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


class Callers:
    """Two authorities: the listener's own, which is also believed of callers at first, and another one."""

    def __init__(self, folder: Path) -> None:
        (folder / "own").mkdir()
        (folder / "other").mkdir()
        self.own, self.other = Authority.create(folder / "own"), Authority.create(folder / "other")
        self.ca_file = folder / "callers.pem"
        self.believe(self.own)
        certificate, key = self.own.issue("door.test", "door")
        self.tls = ListenerTls(certificate_file=certificate, key_file=key, client_ca_file=str(self.ca_file))

    def believe(self, authority: Authority) -> None:
        self.ca_file.write_bytes(authority.ca_file.read_bytes())

    def context(self, shown: Pair | None, version: ssl.TLSVersion) -> ssl.SSLContext:
        context = self.own.client_context()
        context.minimum_version = context.maximum_version = version
        if shown is not None:
            context.load_cert_chain(*shown)
        return context

    def expired(self) -> Pair:
        """Return a certificate of the right authority whose time is over."""
        certificate, key = self.own.issue("ingress.test", "expired")
        read = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
        now = dt.datetime.now(dt.UTC)
        ended = (
            x509.CertificateBuilder()
            .subject_name(read.subject)
            .issuer_name(read.issuer)
            .public_key(read.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(hours=2))
            .not_valid_after(now - dt.timedelta(hours=1))
            .sign(self.own.key, hashes.SHA256())
        )
        Path(certificate).write_bytes(ended.public_bytes(serialization.Encoding.PEM))
        return certificate, key


@pytest.fixture
def callers(tmp_path: Path) -> Callers:
    return Callers(tmp_path)


async def is_heard(address: str, context: ssl.SSLContext) -> bool:
    try:
        client = await RawClient.connect(address, ssl=context, server_hostname="door.test")
        async with client:
            return (await client.ask("/refused")).status == 403
    except (OSError, EOFError, ssl.SSLError):
        return False


def resume(address: str, context: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """Ask once on a connection that begins with `session`; return the session to resume next, if any."""
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 5.0) as plain,
        context.wrap_socket(plain, server_hostname="door.test", session=session) as secured,
    ):
        secured.sendall(b"GET /refused HTTP/1.1\r\nHost: x\r\n\r\n")
        if not secured.recv(1024).startswith(b"HTTP/1.1 403"):
            raise ConnectionError
        return secured.session


@every_version
def test_only_a_certificate_of_the_authority_is_heard(callers: Callers, version: ssl.TLSVersion) -> None:
    """S75: of another one, expired, none: no request is read."""

    async def main() -> None:
        application = PlainApplication()
        async with serving(application, tls=callers.tls) as server:
            right = callers.own.issue("ingress.test", "ingress")
            assert await is_heard(server.address, callers.context(right, version))
            before = len(application.heads)
            for shown in (callers.other.issue("ingress.test", "ingress"), callers.expired(), None):
                assert not await is_heard(server.address, callers.context(shown, version))
            assert len(application.heads) == before

    bounded(main)


@every_version
def test_who_has_lost_the_authoritys_word_is_heard_no_more(callers: Callers, version: ssl.TLSVersion) -> None:
    """S75: a new client_ca counts in each handshake, and no handshake is spared by one of before."""

    async def main() -> None:
        application = PlainApplication()
        async with serving(application, tls=callers.tls, sweep_seconds=SWEEP) as server:
            old = callers.context(callers.own.issue("ingress.test", "old"), version)
            new = callers.context(callers.other.issue("ingress.test", "new"), version)
            session = await asyncio.to_thread(resume, server.address, old, None)
            assert not await is_heard(server.address, new)

            callers.believe(callers.other)
            await until(lambda: "certificate_reloaded" in dict(application.observer.events))

            assert await is_heard(server.address, new)
            assert not await is_heard(server.address, old)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.to_thread(resume, server.address, old, session)

    bounded(main)


def test_without_client_ca_sessions_are_resumed(callers: Callers) -> None:
    """Browsers save a round trip; nobody is admitted by TLS there."""

    async def main() -> None:
        async with serving(PlainApplication(), tls=replace(callers.tls, client_ca_file=None)) as server:
            context = callers.context(None, ssl.TLSVersion.TLSv1_3)
            session = await asyncio.to_thread(resume, server.address, context, None)
            assert session is not None
            assert session.has_ticket

    bounded(main)
