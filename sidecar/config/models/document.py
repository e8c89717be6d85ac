"""The whole file, in its two forms."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from sidecar.config.models.base import LIST, MAPPING, form_of
from sidecar.config.models.process import ProcessSettings
from sidecar.config.models.site import ListedSite, SiteName, SiteSettings
from sidecar.config.values import Kind

__all__ = ["LongDocument", "ShortDocument", "SitesForm"]

SitesForm = Annotated[
    Annotated[dict[SiteName, SiteSettings], Field(min_length=1), Tag(MAPPING)]
    | Annotated[tuple[ListedSite, ...], Field(min_length=1), Tag(LIST)],
    Discriminator(form_of),
    Kind("sites by name, or list of them"),
]


class ShortDocument(ProcessSettings, SiteSettings):
    """One site, its keys at the top of the file."""


class LongDocument(ProcessSettings):
    """Several sites in one process."""

    sites: SitesForm = Field(
        description=(
            "The sites, by name or as a list. Each has the keys of a site, which then do not stand at the"
            " top."
        ),
        examples=[{"wiki": {"public_url": "https://wiki.example.com"}}],
    )
