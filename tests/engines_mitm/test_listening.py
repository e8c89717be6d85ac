"""Where the interception engine listens: as the express engine would."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sidecar.core.runtime import Limits
from sidecar.engines import mitm
from sidecar.engines.express.listening import open_sockets
from tests.engines.harness import PlainApplication, RawClient
from tests.engines_mitm.mitmharness import bounded


def _families(listen: str) -> list[int]:
    """Return the families of the addresses that the express engine has for `listen`."""
    opened = open_sockets(listen, reuse_port=False)
    for sock in opened:
        sock.close()
    return sorted(sock.family for sock in opened)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0", ":0", "0.0.0.0:0"])
def test_it_listens_on_the_addresses_that_the_express_engine_has(tmp_path: Path, listen: str) -> None:
    if "::1" in listen and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")

    async def main() -> None:
        server = await mitm.serve(PlainApplication(), listen, Limits(), keys=tmp_path)
        try:
            found = sorted(
                socket.AF_INET6 if address.startswith("[") else socket.AF_INET for address in server.addresses
            )
            assert found == _families(listen)
            for address in server.addresses:
                async with await RawClient.connect(address) as client:
                    assert (await client.ask("/refused")).status == 403
        finally:
            await server.drain(0)

    bounded(main)


def test_a_socket_that_listens_already_is_taken(tmp_path: Path) -> None:
    async def main() -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        server = await mitm.serve(PlainApplication(), "", Limits(), sock=sock, keys=tmp_path)
        assert server.addresses == [f"127.0.0.1:{sock.getsockname()[1]}"]
        try:
            async with await RawClient.connect(server.address) as client:
                assert (await client.ask("/refused")).status == 403
        finally:
            await server.drain(0)
        assert sock.fileno() == -1

    bounded(main)


def test_an_ipv4_peer_of_a_dual_stack_socket_has_its_ipv4_address(tmp_path: Path) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no dual-stack sockets")

    async def main() -> None:
        sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        application = PlainApplication()
        server = await mitm.serve(application, "", Limits(), sock=sock, keys=tmp_path)
        try:
            async with await RawClient.connect(f"127.0.0.1:{sock.getsockname()[1]}") as client:
                await client.ask("/refused")
        finally:
            await server.drain(0)
        assert application.heads[0].peer == "127.0.0.1"

    bounded(main)


@pytest.mark.parametrize("listen", ["127.0.0.1", "8080", "host:http", ""])
def test_what_is_no_address_is_refused(tmp_path: Path, listen: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="not an address to listen on"):
            await mitm.serve(PlainApplication(), listen, Limits(), keys=tmp_path)

    bounded(main)


def test_an_address_that_is_taken_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(OSError, match="in use") as refused:
                await mitm.serve(PlainApplication(), listen, Limits(), keys=tmp_path)
            assert refused.value.filename == listen

    bounded(main)
