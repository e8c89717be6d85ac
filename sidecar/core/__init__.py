"""The decisions of Doorward, without any input or output.

Owns: what a request is, whether it may pass, what is sent upstream, what a browser is told, the sealed
cookies, the OpenID Connect checks. Depends on: the standard library's pure parts, `cryptography`, `pyjwt`,
`cachetools`. Leaves to others: sockets and parsers (`sidecar.engines`), calls to providers and stores
(`sidecar.effects`), the clock and randomness (passed in as `Surroundings`), configuration files
(`sidecar.config`).
"""
