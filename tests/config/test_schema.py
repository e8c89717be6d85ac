"""The exported JSON Schema: current, and of the same mind as the models about the shape of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sidecar.config.schema import build_schema, schema_text
from sidecar.config.yamltext import parse_yaml
from tests.config.files import complete, problems

_ROOT = Path(__file__).parents[2]
# config/ingress has files of ingresses, which are YAML too, and one of ours.
_INGRESS = _ROOT / "config" / "ingress"
_EXAMPLES = sorted(
    {*(_ROOT / "config").rglob("*.yaml")} - {*_INGRESS.rglob("*.yaml")} | {_INGRESS / "doorward.yaml"}
)
_VALIDATOR = Draft202012Validator(build_schema())


def plain(value: object) -> Any:
    """Return a document's value as JSON has it."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def is_valid(text: str) -> bool:
    return _VALIDATOR.is_valid(plain(parse_yaml(text, {}).value))


def test_the_committed_schema_is_what_the_models_say() -> None:
    committed = (_ROOT / "config/doorward.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "write it anew: doorward schema > config/doorward.schema.json"


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(build_schema())


@pytest.mark.parametrize("file", _EXAMPLES, ids=lambda file: str(file.relative_to(_ROOT)))
def test_the_examples_fit(file: Path) -> None:
    value = plain(parse_yaml(file.read_text(encoding="utf-8"), {}).value)
    assert [error.message for error in _VALIDATOR.iter_errors(value)] == []


def test_each_file_finds_the_schema() -> None:
    for file in _EXAMPLES:
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        assert first.startswith("# yaml-language-server: $schema=")
        named = file.parent / first.partition("=")[2]
        assert named.resolve() == _ROOT / "config/doorward.schema.json"


@pytest.mark.parametrize(
    "text",
    [
        "upstreem: http://a:1\n",
        "listen: 8080\n",
        "workers: 0\n",
        "workers: many\n",
        "log: {access: 1}\n",
        "log: {level: warn}\n",
        "access: []\n",
        "access: [{path: /x}]\n",
        "access: [{allow: everyone}]\n",
        "access: [{allow: {groups: admins}}]\n",
        "access: [{allow: {group: [admins]}}]\n",
        "access: [{allow: {not: {gruops: [a]}}}]\n",
        "session: {keys: []}\n",
        "session: {}\n",
        "session: {keys: [{fil: x}]}\n",
        "provider: {type: oidc, issuer: https://a}\n",
        "provider: {type: google, issuer: https://a, client_id: a}\n",
        "limits: {head_timeout: 1 hour}\n",
        "limits: {head_size: 64KB}\n",
        "upstream: [http://a:1]\n",
        "headers: {preset: x}\n",
        "sites: {}\n",
        "sites: {a: {public_url: https://a}}\n",
        "sites: {a: {public_url: https://a}}\npublic_url: https://a\n",
    ],
)
def test_a_shape_that_the_models_refuse_does_not_fit(text: str) -> None:
    assert problems(text)
    assert not is_valid(complete(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "workers: ${N:-2}\nlog: {access: '${A:-true}', level: '${L:-info}'}\n",
        "limits: {head_timeout: '${T:-5s}', head_size: '${S:-1KiB}'}\n",
        "limits: {head_timeout: 5, head_size: 65536}\n",
        "headers: remote-user\n",
        "headers: [remote-user]\n",
        "upstream: {url: http://a:1}\n",
        "access: [{allow: {all: [anyone, {any: [{not: nobody}]}]}}]\n",
    ],
)
def test_a_shape_that_the_models_take_fits(text: str) -> None:
    assert problems(text) == []
    assert _VALIDATOR.is_valid(plain_as_written(complete(text)))


def plain_as_written(text: str) -> Any:
    """Return the value with its references as they are written, as an editor sees it."""
    return plain(parse_yaml(text.replace("${", "$${"), {}).value)


def schemas(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas(value)


def test_every_setting_is_explained() -> None:
    for definition in json.loads(schema_text())["$defs"].values():
        for key, setting in definition["properties"].items():
            assert setting.get("description"), key
            assert None not in setting.get("enum", []), key
