"""The interception engine: mitmproxy in our process, with the gate's addon in it.

Owns mitmproxy's options, listeners and certificates, and the end of everything (drain). Depends on
`addons`, which put decisions into mitmproxy, and on an `Application`. Leaves decisions to the latter, HTTP
to mitmproxy.

One process holds one of these at a time: mitmproxy keeps its master in a module of its own.
"""

from __future__ import annotations

import addons  # noqa: F401  before mitmproxy's own, so that those that nobody runs stay out
from sidecar.engines.mitm.server import MitmServer, serve

__all__ = ["MitmServer", "serve"]
