"""The VPN mode, with a peer that shakes hands and sends packets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.core.errors import ConfigurationError
from sidecar.core.runtime import Limits
from sidecar.engines import mitm
from tests.engines.harness import EchoUpstream, PlainApplication, upstream_at
from tests.engines_mitm.mitmharness import bounded
from tests.engines_mitm.wireguard import Tunnel

HOSTS = (r"^app\.test:(80|443)$",)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def vpn(application: PlainApplication, folder: Path, host: str = "127.0.0.1") -> AsyncIterator[Path]:
    """Serve; the value is what a client is given."""
    server = await mitm.serve(
        application,
        f"{host}:{_free_port()}",
        Limits(),
        mode="wireguard",
        keys=folder,
        is_ours=lambda name: name.removesuffix(":80") == "app.test",
        hosts=HOSTS,
    )
    try:
        yield folder / "wireguard-client.conf"
    finally:
        await server.drain(0)
    assert not application.observer.defects


def test_a_device_in_the_tunnel_meets_the_gate_for_our_host_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with EchoUpstream() as ours, EchoUpstream() as other:
            application = PlainApplication(upstream_at(ours.address))
            other_port = int(other.address.rpartition(":")[2])

            def browse(configuration: Path) -> list[bytes]:
                tunnel = Tunnel(configuration)
                with contextlib.closing(tunnel):
                    asked = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n"
                    return [
                        tunnel.exchange("203.0.113.7", 80, asked % (b"/refused", b"app.test")),
                        tunnel.exchange("203.0.113.7", 80, asked % (b"/x", b"app.test")),
                        tunnel.exchange("127.0.0.1", other_port, asked % (b"/o", b"other.test")),
                    ]

            async with vpn(application, tmp_path) as configuration:
                answers = await asyncio.to_thread(browse, configuration)
            assert [answer[:12] for answer in answers] == [b"HTTP/1.1 403", b"HTTP/1.1 200", b"HTTP/1.1 200"]
            assert [head.target for head in application.heads] == [b"/refused", b"/x"]
            assert [request.target for request in ours.requests] == ["/x"]
            assert [request.target for request in other.requests] == ["/o"]

    bounded(main)


def test_a_client_is_given_a_file_that_is_for_it_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with vpn(PlainApplication(), tmp_path, "0.0.0.0") as configuration:
            text = configuration.read_text(encoding="ascii")
            assert "Endpoint = 0.0.0.0" not in text
            assert "PrivateKey" in text
            for name in (configuration, tmp_path / "wireguard.conf"):
                assert name.stat().st_mode & 0o777 == 0o600
        async with vpn(PlainApplication(), tmp_path) as configuration:
            assert configuration.read_text(encoding="ascii").splitlines()[1] == text.splitlines()[1]

    bounded(main)


def test_keys_that_are_none_are_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "wireguard.conf").write_text("{}", encoding="ascii")
        with pytest.raises(ConfigurationError) as refused:
            async with vpn(PlainApplication(), tmp_path):
                pass
        assert str(refused.value).startswith(
            'mode: "wireguard" can\'t be started: Invalid configuration file'
        )
        assert "\n" not in str(refused.value)

    bounded(main)


def test_a_port_that_is_taken_is_an_address_that_can_not_be_had(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(OSError, match="in use"):
                await mitm.serve(PlainApplication(), listen, Limits(), mode="wireguard", keys=tmp_path)

    bounded(main)
