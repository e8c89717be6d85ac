"""Families of identity providers, each a table of facts.

Owns: what differs from one family to another and is the same for all of its providers. Depends on: `core`.
Leaves to others: the settings of one provider (`config`), and what is done with them (`core.flows`): code
that asks for the family's name belongs here as a fact instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sidecar.providers.family import Family
from sidecar.providers.oidc import OIDC

__all__ = ["FAMILIES", "Family"]

FAMILIES: Final[Mapping[str, Family]] = MappingProxyType({family.type: family for family in (OIDC,)})
"""By the name that a configuration writes as `type`."""
