from __future__ import annotations

from sidecar.config.schema import build_schema, schema_text
from tests.cli.commands import doorward


def test_the_schema_is_printed_and_nothing_else() -> None:
    found = doorward("schema")
    assert (found.code, found.err) == (0, "")
    assert found.out == schema_text()
    assert found.json == build_schema()
