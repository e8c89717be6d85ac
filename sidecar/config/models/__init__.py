"""The shape of `doorward.yaml` as pydantic models: the one place where a setting is declared.

Errors, defaults, the JSON Schema and the reference page are all made from here. Owns: which keys there are,
the kind of each value, its default, meaning and example. Leaves to `sidecar.config.compiler`: what concerns
several settings at once, files and the environment.
"""
