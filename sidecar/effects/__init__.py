"""Carries out what flows ask for: calls to providers, one-time claims, shared work, stores, events.

    runner   sends each effect's result into its flow, for every engine
    calls    HTTP to providers: deadline, size, redirects, trust (httpx)
    known    what is known of a provider between calls: metadata and keys, kept fresh

Owns: connections to providers and what was fetched from them. Depends on: `core`, the `Coordinator` and
`Observer` protocols. Leaves to others: every decision (`core.flows`), several workers (`supervisor`).
"""

from __future__ import annotations

from sidecar.effects.runner import Runner

__all__ = ["Runner"]
