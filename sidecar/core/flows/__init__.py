"""Login, callback, refresh and sign-out: generators of effects that end in a decision.

Owns: the order of checks of each endpoint under a site's prefix. Depends on: `core` alone. Leaves to
others: carrying effects out (`sidecar.effects`), HTML (`sidecar.pages`).
"""
