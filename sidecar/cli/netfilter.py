"""`doorward netfilter`: print the kernel's rules for a sidecar, or bring them into force."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import typer

from sidecar.core.errors import ConfigurationError
from sidecar.netfilter import Ports, iptables_script, nft_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["netfilter"]

type Format = Literal["nft", "iptables"]

_TOOLS = {
    "nft": (["nft", "-f", "-"], "nft (Debian's nftables)"),
    "iptables": (["sh"], "iptables-restore (Debian's iptables)"),
}
_NEEDED = {"nft": "nft", "iptables": "iptables-restore"}
_SYSTEM_PATH = "/usr/sbin:/usr/local/sbin:/sbin:/usr/bin:/bin"
_APPLY_SECONDS = 60.0


def netfilter(ports: Sequence[int], gate: int, uid: int, form: Format, *, prints: bool) -> int:
    """Print the rules, or apply them. Returns 0, 1 (the kernel refuses them) or 2 (what can't be meant)."""
    try:
        wanted = Ports(application=tuple(dict.fromkeys(ports)), gate=gate, uid=uid)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201  what a person meets at the terminal
        return 2
    text = nft_rules(wanted) if form == "nft" else iptables_script(wanted)
    if prints:
        typer.echo(text, nl=False)
        return 0
    return _apply(text, form)


def _apply(text: str, form: Format) -> int:
    command, needed = _TOOLS[form]
    program = shutil.which(command[0], path=_SYSTEM_PATH)
    if program is None or shutil.which(_NEEDED[form], path=_SYSTEM_PATH) is None:
        return _fail(f"{needed} is not here; use an image that has it, or --print")
    try:
        # The words are our own, and the program is looked for where only the system puts it.
        done = subprocess.run(  # noqa: S603
            [program, *command[1:]],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=_APPLY_SECONDS,
            env={"PATH": _SYSTEM_PATH},
        )
    except subprocess.TimeoutExpired:
        return _fail("the rules did not come into force within a minute")
    if done.returncode != 0:
        return _fail(f"the rules are not in force: {' '.join(done.stderr.split()) or 'no reason was given'}")
    return 0


def _fail(words: str) -> int:
    print(f"doorward netfilter: {words}.", file=sys.stderr)  # noqa: T201  what a person meets at the terminal
    return 1
