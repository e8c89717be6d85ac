from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from sidecar.core.runtime import Limits
from sidecar.engines import express
from sidecar.engines.express.listening import open_sockets
from tests.engines.harness import BOUND_SECONDS, PlainApplication, RawClient, bounded, serving


class TestAddresses:
    @pytest.mark.parametrize(
        ("listen", "begin"), [("127.0.0.1:0", "127.0.0.1:"), ("localhost:0", ""), ("[::1]:0", "[::1]:")]
    )
    def test_the_real_port_is_told(self, listen: str, begin: str) -> None:
        async def main() -> None:
            async with serving(PlainApplication(), listen=listen) as server:
                assert server.address.startswith(begin)
                assert not server.address.endswith(":0")
                async with await RawClient.connect(server.address) as client:
                    assert (await client.ask("/refused")).status == 403

        if "::1" in listen and not socket.has_ipv6:
            pytest.skip("this machine has no IPv6")
        bounded(main)

    @pytest.mark.parametrize("listen", ["127.0.0.1", "8080", "host:http", ""])
    def test_what_is_no_address_is_refused(self, listen: str) -> None:
        with pytest.raises(ValueError, match="not an address to listen on"):
            open_sockets(listen, reuse_port=False)

    def test_a_port_in_use_is_an_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
            open_sockets(f"127.0.0.1:{taken.getsockname()[1]}", reuse_port=False)

    def test_workers_share_a_port(self) -> None:
        first = open_sockets("127.0.0.1:0", reuse_port=True)[0]
        port = first.getsockname()[1]
        second = open_sockets(f"127.0.0.1:{port}", reuse_port=True)[0]
        assert second.getsockname()[1] == port
        first.close()
        second.close()

    def test_a_socket_that_listens_already_is_taken(self) -> None:
        async def main() -> None:
            sock = socket.create_server(("127.0.0.1", 0))
            server = await express.serve(PlainApplication(), "", Limits(), sock=sock)
            async with await RawClient.connect(server.address) as client:
                assert (await client.ask("/refused")).status == 403
            server.close()

        bounded(main)

    def test_the_peer_is_told_to_the_application(self) -> None:
        async def main() -> None:
            application = PlainApplication()
            async with serving(application) as server, await RawClient.connect(server.address) as client:
                await client.ask("/refused")
                assert (application.heads[0].peer, application.heads[0].is_tls) == ("127.0.0.1", False)

        bounded(main)

    def test_an_ipv4_peer_of_a_dual_stack_socket_has_its_ipv4_address(self) -> None:
        async def main() -> None:
            sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
            application = PlainApplication()
            server = await express.serve(application, "", Limits(), sock=sock)
            async with await RawClient.connect(f"127.0.0.1:{sock.getsockname()[1]}") as client:
                await client.ask("/refused")
            assert application.heads[0].peer == "127.0.0.1"
            server.close()

        if not socket.has_dualstack_ipv6():
            pytest.skip("this machine has no dual-stack sockets")
        bounded(main)


class TestSocketFiles:
    def test_our_user_and_group_may_connect_and_the_file_goes_with_the_listener(self, tmp_path: Path) -> None:
        path = tmp_path / "doorward.sock"

        async def main() -> None:
            application = PlainApplication()
            async with serving(application, listen=f"unix:{path}") as server:
                assert server.address == f"unix:{path}"
                assert stat.S_IMODE(path.stat().st_mode) == 0o660
                async with await RawClient.connect(server.address) as client:
                    assert (await client.ask("/refused")).status == 403
                assert application.heads[0].peer == "unix"

        umask = os.umask(0)
        bounded(main)
        assert os.umask(umask) == 0
        assert not path.exists()

    def test_a_stale_file_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "doorward.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        open_sockets(f"unix:{path}", reuse_port=False)[0].close()

    def test_a_live_one_is_not(self, tmp_path: Path) -> None:
        path = tmp_path / "doorward.sock"
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(str(path))
            live.listen()
            with pytest.raises(OSError, match="another process listens there"):
                open_sockets(f"unix:{path}", reuse_port=False)

    def test_nor_is_a_file_that_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("precious")
        with pytest.raises(OSError, match="not a socket"):
            open_sockets(f"unix:{path}", reuse_port=False)
        assert path.read_text() == "precious"

    def test_the_file_of_another_listener_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "doorward.sock"

        async def main() -> None:
            async with serving(PlainApplication(), listen=f"unix:{path}"):
                path.unlink()
                with socket.socket(socket.AF_UNIX) as other:
                    other.bind(str(path))

        bounded(main)
        assert path.exists()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_both_loops_serve(loop: str) -> None:
    """The standard loop serves only when asked for."""
    found: list[str] = []

    async def main() -> None:
        found.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])
        async with (
            asyncio.timeout(BOUND_SECONDS),
            serving(PlainApplication()) as server,
            await RawClient.connect(server.address) as client,
        ):
            assert (await client.ask("/refused")).status == 403

    express.run(main(), loop=loop)  # type: ignore[arg-type]  # the two that there are
    assert found == [loop]
