from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from sidecar.engines.express.upstream import UpstreamConnection
from tests.engines.harness import bounded, until


class Borrower:
    """Has the connection, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def answer_data(self, data: bytes) -> None:
        self.told.append(data)

    def upstream_lost(self, *, is_clean: bool) -> None:
        self.told.append(is_clean)

    def defect(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("uploads", [True, False])
def test_what_had_arrived_before_a_failed_write_is_read(*, uploads: bool) -> None:
    """S53: the loop closes a socket whose write fails, with the answer in it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            connection = UpstreamConnection()
            await loop.create_connection(lambda: connection, *listener.getsockname())
            borrower = Borrower()
            connection.exchange = borrower  # type: ignore[assignment]  # another that borrows
            if uploads:
                connection.begin_upload()
            # Nothing is read before the write, whatever the order in which the kernel tells of things.
            connection.transport.pause_reading()
            peer, _ = listener.accept()
            peer.sendall(b"HTTP/1.1 413 Too Large\r\n\r\n")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            while not borrower.told:
                connection.transport.write(b"x")
                await asyncio.sleep(0)
            expected: list[object] = [b"HTTP/1.1 413 Too Large\r\n\r\n"] if uploads else []
            assert borrower.told == [*expected, False]
            await until(connection.transport.is_closing)

    bounded(main)
