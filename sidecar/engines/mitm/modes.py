"""Modes that take more than a socket: mitmproxy's redirector (`local`) and its VPN server (`wireguard`).

The redirector is a program of its own, which mitmproxy starts with sudo and never asks how it is. Without
it nothing is captured, and so nothing is gated, while everything looks as if it were: so a start without it
is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
from typing import TYPE_CHECKING, Final

from mitmproxy.net import local_ip
from mitmproxy.proxy.mode_servers import LocalRedirectorInstance, WireGuardServerInstance
from mitmproxy.proxy.mode_specs import ProxyMode

from sidecar.core.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from mitmproxy.proxy.mode_servers import ServerInstance

__all__ = ["CLIENT_FILE", "end_redirector", "parse_mode", "refusal", "start_instance"]

CLIENT_FILE: Final = "wireguard-client.conf"
"""What a WireGuard client is given, below the folder of the keys."""

_REDIRECTOR: Final = logging.getLogger("mitmproxy.packet_sources")
# It ends within a fifth of this where the kernel refuses it.
_TRIAL_SECONDS: Final = 1.0
_LAST_WORDS_SECONDS: Final = 0.2
_MENDS: Final = {
    "local": (
        "on Linux it needs sudo that asks nothing, a kernel with eBPF, and cgroup v2 at /sys/fs/cgroup; where"
        " these can't be had, use regular"
    ),
    "wireguard": "its keys are in authority_folder, or in the file that is named behind wireguard:",
}
_MEND: Final = "write it as in docs/engines.md"


def parse_mode(spec: str) -> ProxyMode:
    """Return a mode that mitmproxy can read. Raises ConfigurationError: the operator's fault."""
    try:
        return ProxyMode.parse(spec)
    except ValueError as error:
        raise refusal(spec, error, _MEND) from error


def refusal(mode: str, error: BaseException | str, mend: str | None = None) -> ConfigurationError:
    """Return the one line that says what is wrong with a mode, and what mends it."""
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    mend = mend or _MENDS.get(mode.partition(":")[0], _MEND)
    return ConfigurationError(f'mode: "{mode}" can\'t be started: {reason}; {mend}')


async def start_instance(instance: ServerInstance[ProxyMode], folder: Path) -> None:
    """Start a server of mitmproxy's. Raises what it raises, RuntimeError when its redirector ends at once."""
    if isinstance(instance, LocalRedirectorInstance):
        await _start_redirector(instance)
        return
    await instance.start()
    if isinstance(instance, WireGuardServerInstance):
        _write_client(instance, folder)


async def _start_redirector(instance: LocalRedirectorInstance) -> None:
    if sys.platform == "linux" and shutil.which("sudo") is None:
        raise RuntimeError("sudo is not here")
    watch = _Watch(asyncio.get_running_loop())
    _REDIRECTOR.addHandler(watch)
    _REDIRECTOR.propagate = False  # what it says now is said in our one line, and after a failure it is over
    try:
        await instance.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(watch.is_over.wait(), _TRIAL_SECONDS)
        watch.raise_if_over()
    except Exception:
        await end_redirector()
        # Its threads still write a line; one that does when the interpreter has ended takes us with it.
        await asyncio.sleep(_LAST_WORDS_SECONDS)
        raise
    _REDIRECTOR.removeHandler(watch)
    _REDIRECTOR.propagate = True


async def end_redirector() -> None:
    """End the redirector if there is one; mitmproxy itself would leave it running."""
    redirector = LocalRedirectorInstance._server  # noqa: SLF001  where mitmproxy keeps it
    LocalRedirectorInstance._instance = LocalRedirectorInstance._server = None  # noqa: SLF001
    if redirector is not None:
        redirector.close()
        await redirector.wait_closed()


class _Watch(logging.Handler):
    """Notices that the redirector ends; its last words are warnings, "Error: ..." first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.WARNING)
        self._loop = loop
        self.is_over = asyncio.Event()
        self.reason = "it does not say why"

    def raise_if_over(self) -> None:
        """Raise RuntimeError with its last words if it has ended."""
        if self.is_over.is_set():
            raise RuntimeError(f"mitmproxy's redirector has ended: {self.reason}")

    def emit(self, record: logging.LogRecord) -> None:
        """Take what it says, in whatever thread."""
        text = record.getMessage()
        if text.startswith("Error: "):
            self.reason = text.removeprefix("Error: ").strip()
        elif record.levelno >= logging.ERROR:
            self._loop.call_soon_threadsafe(self.is_over.set)


def _write_client(instance: WireGuardServerInstance, folder: Path) -> None:
    """Write what a client is given; its key is in it, so the file is for us alone."""
    text = instance.client_conf() or ""
    for wildcard, own in (("0.0.0.0", local_ip.get_local_ip()), ("[::]", local_ip.get_local_ip6())):  # noqa: S104
        text = text.replace(f"Endpoint = {wildcard}:", f"Endpoint = {own or wildcard}:")
    keys = folder / "wireguard.conf"
    if keys.exists():
        keys.chmod(0o600)
    path = folder / CLIENT_FILE
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
