"""Forward auth: an ingress asks whether a request of somebody else may pass (S50).

Owns: the table of dialects in which ingresses tell of the original request and want to be answered
(`dialects`), what an asked target means (`asks`), who may ask (`callers`), the original request taken out of
what was asked (`original`), and the answer (`asking`). Leaves the verdict to `core.visit`, which judges a
request that is asked about with the very code that judges one that passes through us.
"""
