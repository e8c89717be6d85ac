from __future__ import annotations

from dataclasses import fields
from typing import get_args

from sidecar.config.models.provider import ProviderSettings
from sidecar.core.runtime import Provider
from sidecar.providers import FAMILIES


def test_the_configuration_knows_each_family() -> None:
    allowed = get_args(ProviderSettings.model_fields["type"].annotation)

    assert set(allowed) == set(FAMILIES)


def test_each_fact_is_one_of_a_provider() -> None:
    known = {field.name for field in fields(Provider)}

    assert all(set(family.facts) <= known for family in FAMILIES.values())
    assert all(name == family.type for name, family in FAMILIES.items())
