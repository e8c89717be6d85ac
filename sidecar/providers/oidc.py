"""Any provider that keeps to OpenID Connect Core and Discovery: nothing differs from the specification."""

from __future__ import annotations

from typing import Final

from sidecar.providers.family import Family

__all__ = ["OIDC"]

OIDC: Final = Family(type="oidc", title="OpenID Connect")
