"""Engines: they translate between bytes and the core's values, carry decisions out, and decide nothing.

Owns: sockets, HTTP framing, time-outs, pools, tunnels. Depends on `sidecar.application` and the values of
`sidecar.core`. Leaves every question of who may pass, and every header but those of framing, to the
`Application` that it serves.
"""
