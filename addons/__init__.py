"""mitmproxy addons that put Doorward's decisions into mitmproxy.

Owns: the glue between mitmproxy's hooks and `sidecar.core`.
Depends on: mitmproxy and `sidecar`.
Leaves: every decision to `sidecar.core`, starting mitmproxy to `sidecar.engines`.
"""

from __future__ import annotations

from sidecar.lean import postpone

# Before the first of our modules asks for one of mitmproxy's addons, and gets them all.
postpone("mitmproxy.addons")
