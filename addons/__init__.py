"""mitmproxy addons that put Doorward's decisions into mitmproxy.

Owns: the glue between mitmproxy's hooks and `sidecar.core`. Empty so far: its modules come with the
interception engine.
Depends on: mitmproxy and `sidecar`.
Leaves: every decision to `sidecar.core`, starting mitmproxy to `sidecar.engines`.
"""
