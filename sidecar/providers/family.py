"""What is known of a family of providers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Family"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family. `type` is its name in the configuration, `title` what documentation calls it.

    `facts` are fields of `core.runtime.Provider` that a provider of the family has where its settings are
    silent: the others' defaults are those of the specification.
    """

    type: str
    title: str
    facts: Mapping[str, object] = field(default_factory=dict)
