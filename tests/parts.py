"""Real programs that tests run beside Doorward: where they are, and what to do where one is missing.

A missing part is a skip that says how to mend it, and a failure where CI=true: there nothing may be
left out unseen. `scripts/parts.sh` installs them all.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["MISSING", "find_part", "require_part"]

MISSING = "missing part: "
"""How a skip for a missing part begins; the end of the run lists those skips."""

_INTEROP = Path(__file__).parent / "interop"
# Debian keeps servers where a user's PATH often does not look.
_SYSTEM_PATH = "/usr/sbin:/usr/local/sbin:/sbin"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """`places` are commands looked for on PATH, or files; the first that exists is the part."""

    places: tuple[str, ...]
    mend: str


def _debian(package: str) -> str:
    return f"'apt-get install {package}', or 'make parts' as root"


def _wheel(program: str) -> _Part:
    """Return a program that a wheel of requirements/ingress.txt puts beside this Python."""
    beside = str(Path(sys.executable).with_name(program))
    return _Part(places=(program, beside), mend="'make parts' (pip: requirements/ingress.txt)")


_PARTS = {
    "nginx": _Part(places=("nginx",), mend=_debian("nginx-light")),
    "chromium": _Part(
        places=(
            "chromium",
            "chromium-browser",
            "google-chrome",
            "/Applications/Chromium.app/Contents/MacOS/Chromium",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        ),
        mend=_debian("chromium"),
    ),
    "certutil": _Part(places=("certutil",), mend=_debian("libnss3-tools")),
    "wrk": _Part(places=("wrk",), mend=_debian("wrk")),
    "h2load": _Part(places=("h2load",), mend=_debian("nghttp2-client")),
    "openssl": _Part(places=("openssl",), mend=_debian("openssl")),
    "ip": _Part(places=("ip",), mend=_debian("iproute2")),
    "nft": _Part(places=("nft",), mend=_debian("nftables")),
    "iptables": _Part(places=("iptables-restore",), mend=_debian("iptables")),
    "haproxy": _Part(places=("haproxy",), mend=_debian("haproxy")),
    "caddy": _wheel("caddy"),
    "envoy": _wheel("envoy"),
    "traefik": _wheel("traefik"),
    "node": _Part(places=("node",), mend="install Node.js >= 20.19"),
    "npm:oidc-provider": _Part(
        places=(str(_INTEROP / "node_modules/oidc-provider/package.json"),),
        mend="'make parts', or 'npm ci --prefix tests/interop' (needs Node.js >= 20.19)",
    ),
}


def find_part(name: str) -> Path | None:
    """Return where the part is, or None. Raises KeyError for a name that is not in the table above."""
    search_path = f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"
    for place in _PARTS[name].places:
        found = shutil.which(place, path=search_path) if "/" not in place else place
        if found is not None and Path(found).exists():
            return Path(found)
    return None


def require_part(name: str) -> Path:
    """Return where the part is; else skip the test, or fail it where CI=true, with the mend."""
    found = find_part(name)
    if found is not None:
        return found
    reason = f"{MISSING}{name}; to mend: {_PARTS[name].mend}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
