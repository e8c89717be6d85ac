"""mitmproxy addons that put Doorward's decisions into mitmproxy.

Owns: the glue between mitmproxy's hooks and `sidecar.core`; each module can be loaded by hand
(`mitmdump -s addons/authenticate.py`).
Depends on: mitmproxy and `sidecar`.
Leaves: every decision to `sidecar.core`, starting mitmproxy to `sidecar.engines`.
"""
