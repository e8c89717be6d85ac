"""From checked settings to the `Runtime` that serves.

Owns: the checks that concern several settings, secrets and files, and what follows from the settings without
being one (cookie names, which claims a session keeps). Depends on: `sidecar.config.models`, `sidecar.core`.
"""

from __future__ import annotations

from sidecar.config.compiler.context import Context
from sidecar.config.compiler.process import compile_document

__all__ = ["Context", "compile_document"]
