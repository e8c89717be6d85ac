"""Which URLs we may send a browser back to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.runtime import Site

__all__ = ["safe_return_url"]


def safe_return_url(site: Site, raw: str) -> str:
    """Return `raw` when a browser may be sent there, in ASCII, else "/"."""
    raise NotImplementedError
