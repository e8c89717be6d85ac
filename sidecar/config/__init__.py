"""The configuration file: read, checked in full, compiled into one immutable `Runtime`.

Owns: the settings that `doorward.yaml` has (`models`), their positions and messages, secrets from files and
environment, the JSON Schema and the reference page. Depends on: `sidecar.core`, pydantic, PyYAML. Leaves to
others: when to load (`sidecar.supervisor`, `sidecar.cli`) and everything that happens with a `Runtime`.

    text -> yamltext (values with positions) -> validation (models) -> compiler (Runtime)
"""

from __future__ import annotations

from sidecar.config.loading import Loaded, compile_parsed, compile_text, load, load_text, read_config

__all__ = ["Loaded", "compile_parsed", "compile_text", "load", "load_text", "read_config"]
