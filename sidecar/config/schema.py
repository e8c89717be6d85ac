"""The JSON Schema of `doorward.yaml`, for editors and for checks without Doorward.

Made from the models. It knows the shape of a file; what concerns several settings, files or the environment
only `doorward check` knows. Numbers and switches may be given as `${NAME}` there, which a schema reads as
text, so such a reference is allowed wherever it may stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, override

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from sidecar.config.models.document import LongDocument, ShortDocument
from sidecar.config.values import duration_text, size_text

if TYPE_CHECKING:
    from pydantic_core import core_schema

__all__ = ["SCHEMA_ID", "build_schema", "schema_text"]

SCHEMA_ID: Final = "urn:doorward:doorward.yaml"
_REFERENCE: Final = {"type": "string", "pattern": "[$][{]"}


class _Generator(GenerateJsonSchema):
    """Pydantic's, less what means nothing to the writer of a file."""

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Leave null out: a key without a value is refused."""
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave a default of null out: it only says that the key may be missing."""
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            del made["default"]
        return made


def build_schema() -> dict[str, Any]:
    """Return the schema: the long form where there are `sites`, else the short form."""
    _, made = models_json_schema(
        [(ShortDocument, "validation"), (LongDocument, "validation")],
        schema_generator=_Generator,
        ref_template="#/$defs/{model}",
    )
    for node in list(_nodes(made)):
        _allow_reference(node)
        _write_default(node)
        node.pop("title", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "doorward.yaml",
        "type": "object",
        "if": {"required": ["sites"]},
        "then": {"$ref": "#/$defs/LongDocument"},
        "else": {"$ref": "#/$defs/ShortDocument"},
        "$defs": made["$defs"],
    }


_MAPS: Final = ("properties", "$defs")
_LISTS: Final = ("anyOf", "oneOf", "allOf")
_SINGLE: Final = ("items", "additionalProperties", "propertyNames")


def _nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every schema in `schema`, the innermost first."""
    for key in _MAPS:
        for inner in schema.get(key, {}).values():
            yield from _nodes(inner)
    for key in _LISTS:
        for inner in schema.get(key, []):
            yield from _nodes(inner)
    for key in _SINGLE:
        if isinstance(schema.get(key), dict):
            yield from _nodes(schema[key])
    yield schema


def _allow_reference(node: dict[str, Any]) -> None:
    """Let `${NAME}` stand for a number, a switch or one of a few words."""
    if node.get("type") not in ("integer", "boolean") and "enum" not in node and "const" not in node:
        return
    limits = {
        key: node.pop(key)
        for key in ("type", "enum", "const", "minimum", "maximum", "exclusiveMinimum")
        if key in node
    }
    node["anyOf"] = [limits, _REFERENCE]


def _write_default(node: dict[str, Any]) -> None:
    """Write a default as people do: 12h, not 43200 seconds."""
    write = {"duration": duration_text, "size": size_text}.get(node.get("$comment", ""))
    if write is not None and "default" in node:
        node["default"] = write(node["default"])


def schema_text() -> str:
    """Return the schema as text, the same each time."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
