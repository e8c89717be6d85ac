"""A pod of its own: a network namespace with an address, reached from here over a pair of interfaces."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.parts import require_part

__all__ = ["UID", "Pod", "pod"]

UID = 1337
_NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class Pod:
    """`address` and `address6` are the pod's; whoever calls from here is a stranger, or the kubelet."""

    name: str
    address: str
    address6: str
    ip: str

    def inside(self, command: Sequence[str | Path], *, uid: int | None = None) -> list[str]:
        """Return the command that runs in the pod, as another user if one is given.

        That user may read every file, as if the interpreter were installed for all; of the network's
        privileges it has none.
        """
        words = [self.ip, "netns", "exec", self.name]
        if uid is not None:
            words += ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
            words += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
            words += ["--bounding-set=-all,+dac_override"]
        return [*words, *map(str, command)]

    def run(
        self, command: Sequence[str | Path], *, text: str | None = None, uid: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the pod to its end."""
        return subprocess.run(
            self.inside(command, uid=uid), input=text, capture_output=True, text=True, check=False, timeout=30
        )


@contextlib.contextmanager
def pod() -> Iterator[Pod]:
    """Make a pod; it vanishes with the block. Skips where namespaces can't be made."""
    ip = str(require_part("ip"))
    if os.geteuid() != 0:
        pytest.skip("network namespaces are made by root")
    number = next(_NUMBERS)
    tag = f"dw{os.getpid() % 100000}x{number}"
    # TEST-NET-2 (RFC 5737) and the documentation prefix (RFC 3849), one small network for each process.
    base = 4 * ((os.getpid() * 8 + number) % 64)
    here, there = f"198.51.100.{base + 1}/30", f"198.51.100.{base + 2}"
    here6, there6 = (
        f"2001:db8:0:{tag[2:6].replace('x', 'f')}::1/64",
        f"2001:db8:0:{tag[2:6].replace('x', 'f')}::2",
    )

    def do(*words: str) -> None:
        subprocess.run([ip, *words], check=True, capture_output=True, timeout=30)

    made = subprocess.run([ip, "netns", "add", tag], check=False, capture_output=True, text=True, timeout=30)
    if made.returncode != 0:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
    try:
        do("link", "add", f"{tag}h", "type", "veth", "peer", "name", f"{tag}p", "netns", tag)
        do("addr", "add", here, "dev", f"{tag}h")
        do("-6", "addr", "add", here6, "dev", f"{tag}h", "nodad")
        do("link", "set", f"{tag}h", "up")
        do("-n", tag, "addr", "add", f"{there}/30", "dev", f"{tag}p")
        do("-n", tag, "-6", "addr", "add", f"{there6}/64", "dev", f"{tag}p", "nodad")
        do("-n", tag, "link", "set", f"{tag}p", "up")
        do("-n", tag, "link", "set", "lo", "up")
        yield Pod(tag, there, there6, ip)
    finally:
        subprocess.run([ip, "netns", "del", tag], check=False, capture_output=True, timeout=30)
        subprocess.run([ip, "link", "del", f"{tag}h"], check=False, capture_output=True, timeout=30)
