"""The express engine: HTTP/1.1 on uvloop and httptools, for reverse proxying and forward auth.

Owns one listener with everything behind it: downstream connections, upstream pools, tunnels, TLS files,
time-outs, drain. `serve` starts it inside the running loop, `run` makes the loop it is meant for.

The way of a request through these modules:

    downstream    one object per accepted connection; finds a head, asks the application, answers or forwards
    requesthead   bytes -> the parts of a RequestHead, strictly (httptools plus what it does not check)
    exchange      one forwarded request: its body up, its answer down, and every way in which that can end
    upstream      one connection to an upstream, idle in a pool or lent to one exchange
    answerhead    bytes -> status, fields and framing of an upstream's answer
    bodies        Content-Length, chunked and until-close framing; where a message ends is decided here alone
    wire          values -> bytes
    tunnel        a WebSocket after its 101, frame boundaries known
    sweep         once a second over all connections: time-outs, leases, stalled peers

**Theory of operation.** A parser that is fed a stream decides by itself where one message ends and the next
begins, and llhttp gets that wrong for any `Upgrade`, can't be told about HEAD, and shows trailers as headers.
So it is never fed a stream: this engine finds the end of a head, feeds exactly that head to httptools, and
frames the body with its own few lines. What follows a head can't be taken for a request by any mistake of
the parser's. One request of a connection is served at a time; what a client pipelines waits, bounded.
"""

from __future__ import annotations

from sidecar.engines.express.loops import run
from sidecar.engines.express.server import ExpressServer, serve

__all__ = ["ExpressServer", "run", "serve"]
