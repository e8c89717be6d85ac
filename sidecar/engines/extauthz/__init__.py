"""Envoy's ext_authz over gRPC: one listener that answers `Check` calls, with the health service beside it.

Owns: the call on the wire and its translation. A `CheckRequest` becomes the head that Envoy's HTTP form
would have sent to `<prefix>/auth/envoy` (`heads`), the application decides it as it decides any other, and
its answer becomes a `CheckResponse` (`answers`). So both forms have the same verdicts, and nothing is decided
here. Depends on: grpcio and the messages that Envoy publishes (the extra `doorward[envoy]`), imported by
`server` alone and only when a listener is configured. Leaves to others: who may ask (the core judges the
peer and the secret in the head), what is answered.

**What can't be told is no yes.** An empty `CheckResponse` means OK to Envoy, and so does a refusal whose
status was forgotten: each answer is built from a denial, and only a 200 without content becomes a yes. A
call that ends in an error is Envoy's own denial, since our files set `failure_mode_allow: false`.
"""

from __future__ import annotations

from sidecar.engines.extauthz.server import ExtAuthzServer, serve

__all__ = ["ExtAuthzServer", "serve"]
