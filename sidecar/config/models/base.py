"""What all models share: strictness, and values that may be written in two ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PlainValidator, Tag, WithJsonSchema

from sidecar.config.values import FilePath, Kind, Text, complaint
from sidecar.core.secret import Secret

__all__ = ["LIST", "MAPPING", "TEXT", "Model", "SecretForm", "SecretSource", "form_of"]

TEXT = "<text>"
LIST = "<list>"
MAPPING = "<mapping>"
"""The tags of forms; `sidecar.config.validation` takes them out of paths again."""


class Model(BaseModel):
    """A mapping of settings: no key but its own, no conversion, no change. Built when first used."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


def form_of(value: object) -> str:
    """Return in which form a value is written."""
    if isinstance(value, Mapping | BaseModel):
        return MAPPING
    return LIST if isinstance(value, tuple | list) else TEXT


def _secret_text(value: object) -> Secret:
    """Check a secret without ever repeating it, and hide it from whoever prints the model."""
    if not isinstance(value, str):
        raise complaint("must be text; put it in quotes")
    if not value.strip():
        raise complaint("is empty; give it a value, or remove the key")
    return Secret(value.encode())


class SecretSource(Model):
    """Where a secret is kept: exactly one of the two."""

    file: FilePath | None = Field(
        default=None,
        description=(
            "A file that holds the secret; a newline at its end is not part of it. A relative path starts at"
            " the folder of the configuration file."
        ),
        examples=["/run/secrets/client"],
    )
    env: Text | None = Field(
        default=None,
        description="The name of an environment variable that holds the secret.",
        examples=["CLIENT_SECRET"],
    )


_SecretText = Annotated[
    Secret, PlainValidator(_secret_text), WithJsonSchema({"type": "string", "minLength": 1}), Kind("text")
]
SecretForm = Annotated[
    Annotated[_SecretText, Tag(TEXT)] | Annotated[SecretSource, Tag(MAPPING)],
    Discriminator(form_of),
    Kind("secret"),
]
"""A secret: text, `{file: ...}` or `{env: ...}`. Its value is never repeated in a message."""
