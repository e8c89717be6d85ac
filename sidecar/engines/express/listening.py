"""Where a listener listens: "host:port", "[::1]:port" or "unix:/path"."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

__all__ = ["format_address", "open_sockets", "remove_socket_file"]

_BACKLOG: Final = 1024
_UNIX: Final = "unix:"


def open_sockets(listen: str, *, reuse_port: bool) -> list[socket.socket]:
    """Return listening sockets, one for each address that the name stands for.

    Raises OSError, its `filename` being `listen`, when the address can't be had, ValueError when it is none:
    the operator's fault.
    """
    try:
        return _open(listen, reuse_port=reuse_port)
    except OSError as error:
        error.filename = listen
        raise


def _open(listen: str, *, reuse_port: bool) -> list[socket.socket]:
    if listen.startswith(_UNIX):
        return [_open_unix(Path(listen.removeprefix(_UNIX)))]
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"not an address to listen on: {listen!r} (host:port, [::1]:port or unix:/path)")
    host = host.removeprefix("[").removesuffix("]")
    found = socket.getaddrinfo(
        host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sockets.append(_open_tcp(family, kind, protocol, address, reuse_port=reuse_port))
    except OSError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def _open_tcp(
    family: int, kind: int, protocol: int, address: tuple[object, ...], *, reuse_port: bool
) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        # A restart must not wait for the connections of the last run to be forgotten.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _open_unix(path: Path) -> socket.socket:
    """Listen on a socket file for our user and group; a stale one is replaced, a live one is not.

    The group may connect, since a server in front mostly runs as another user: it is made a member of the
    service's group, or the service is given its group.
    """
    if path.exists():
        _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Between bind and chmod anybody could connect, so the mode is set from the beginning.
    before = os.umask(0o117)
    try:
        sock.bind(str(path))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock


def _remove_stale(path: Path) -> None:
    """Remove the file of a listener that is gone. Raises OSError if somebody answers, or it is none."""
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise OSError(errno.EEXIST, "exists and is not a socket", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another process listens there", str(path))


def remove_socket_file(path: str, inode: int) -> None:
    """Remove our socket file, unless another listener has put its own there."""
    try:
        if Path(path).stat().st_ino == inode:
            Path(path).unlink()
    except FileNotFoundError:
        return


def format_address(sock: socket.socket) -> str:
    """Return where a socket listens, as `listen` says it; with the real port."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
        return f"{host}:{name[1]}"
    return f"{_UNIX}{name}"
