"""The reference page of `doorward.yaml`, made from the models.

`python -m sidecar.config.reference` writes it; a test holds the page in `docs` against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from sidecar.config.fields import alternatives, kind_of, settings_of
from sidecar.config.models.access import Condition, RuleSettings
from sidecar.config.models.base import Model, SecretSource
from sidecar.config.models.document import LongDocument
from sidecar.config.models.headers import AssertionSettings, HeaderSettings, HeaderSource
from sidecar.config.models.process import (
    ForwardAuthSettings,
    LimitSettings,
    LogSettings,
    ProcessSettings,
    TlsSettings,
)
from sidecar.config.models.provider import ClaimSettings, EndpointSettings, ProviderSettings
from sidecar.config.models.session import CookieSettings, SessionSettings
from sidecar.config.models.site import ListedSite, SiteSettings
from sidecar.config.models.upstream import UpstreamSettings
from sidecar.config.values import Kind
from sidecar.config.yamlwriting import flow
from sidecar.core.headers import PRESETS

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = ["PAGE", "SECTIONS", "reference_text"]

PAGE: Final = Path(__file__).parents[2] / "docs/reference/configuration.md"

SECTIONS: Final[tuple[tuple[str, type[Model]], ...]] = (
    ("The process", ProcessSettings),
    ("tls", TlsSettings),
    ("forward_auth", ForwardAuthSettings),
    ("limits", LimitSettings),
    ("log", LogSettings),
    ("A site", SiteSettings),
    ("upstream", UpstreamSettings),
    ("provider", ProviderSettings),
    ("provider.endpoints", EndpointSettings),
    ("provider.claims", ClaimSettings),
    ("session", SessionSettings),
    ("cookie", CookieSettings),
    ("access", RuleSettings),
    ("allow", Condition),
    ("headers", HeaderSettings),
    ("headers.set", HeaderSource),
    ("headers.assertion", AssertionSettings),
    ("Secrets", SecretSource),
    ("sites", ListedSite),
)
_TITLES: Final = {model: title for title, model in SECTIONS}

_INTRODUCTION: Final = """\
# Configuration

Doorward reads one YAML file. `doorward check FILE` says everything that is wrong with it at once, each
with line, column and mend; `doorward explain --config FILE METHOD URL` shows what it means for a
request.

This page is made from the source by `python -m sidecar.config.reference`; `config/doorward.schema.json`
says the same to editors (put `# yaml-language-server: $schema=doorward.schema.json` into the first
line). The file to start from is `config/doorward.example.yaml`.

## How values are written

- **Keys** that are not listed here are errors, and so are keys without a value and keys that stand
  there twice.
- **Text** follows YAML 1.2: `yes`, `no`, `on` and `off` are text, only `true` and `false` are switches.
  A number where text is wanted needs quotes.
- **`${NAME}`** in any text is replaced by that environment variable, `${NAME:-default}` by the default
  where it is unset or empty; an unset variable without a default is an error. `$${` stands for `${`.
  Inside of `{ }` and `[ ]` it needs quotes.
- **Durations** are `12h`, `30m`, `90s`, `1h30m`, `500ms` or plain seconds; **sizes** `64KiB`, `1MiB` or
  plain bytes.
- **Files** with a relative path are looked for from the folder of the configuration file.
- **Secrets** are text, `{file: PATH}` or `{env: NAME}`, see [Secrets](#secrets).

One site's keys stand at the top of the file, beside those of the process. Several sites stand under
[`sites`](#sites), each with the same keys, and none of them at the top then.
"""

_NOTES: Final[dict[type[Model], str]] = {
    RuleSettings: """\
`access` is a list of rules. The first rule whose host, path and method match decides; `allow` takes no
part in that choice. Where no rule matches, nobody passes. Our own endpoints below `prefix` are not
subject to rules.

| path | matches |
|---|---|
| `/x` | `/x` and `/x/` |
| `/x/**` | `/x` and everything below it |
| `/a/*/b` | one segment of any name in the middle |
| `/static/*.css` | a part of one segment |
| `/**/edit` | any number of segments, none included |
| `/**` | everything |
""",
    Condition: """\
`allow` is `anyone`, `authenticated` (everybody who can sign in), `nobody` (closes a path), or a mapping.
**Several keys in one mapping must all hold**; the values of one key are alternatives:

    allow: {groups: [admins, ops], networks: [10.0.0.0/8]}   # (admins or ops) and from 10.0.0.0/8
    allow: {any: [{groups: [admins]}, {emails: [ann@example.com]}]}
    allow: {email_domains: [example.com], not: {groups: [contractors]}}

What a condition asks for may be unknown: a claim that the provider did not send. Unknown never lets
anybody in, and `not` of unknown is unknown too.
""",
    SecretSource: """\
A secret is text, or a mapping with one of these keys. Text is the least good of the three: whoever can
read the configuration can read it. `doorward check` warns where others can read a file that holds
secrets. Session keys are 32 bytes: base64 text (either alphabet, padding optional), or a file of
exactly 32 bytes.
""",
    ListedSite: """\
Several hosts in one process. Either a mapping, whose keys are the sites' names, or a list:

    sites:
      wiki:
        public_url: https://wiki.example.com
        upstream: http://127.0.0.1:3000
        ...
      shop:
        public_url: https://shop.example.com
        ...

Each site has all [keys of a site](#a-site) and nothing in common with the others. What is the same for
several is written once with YAML's own means (`session: &session {...}`, then `session: *session`). In
a list, a site may also have:
""",
}


def reference_text() -> str:
    """Return the page."""
    parts = [_INTRODUCTION]
    for title, model in SECTIONS:
        parts.append(f"## {title}\n")
        parts.append(_NOTES.get(model) or f"{_first_line(model)}\n")
        parts.append("\n".join(_table(model)) + "\n")
        if model is HeaderSettings:
            parts.append("\n".join(_presets()) + "\n")
    return "\n".join(parts)


def _first_line(model: type[Model]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _table(model: type[Model]) -> Iterator[str]:
    yield "| key | kind | default | meaning | example |"
    yield "|---|---|---|---|---|"
    inherited = SiteSettings.model_fields if model is ListedSite else {}
    for key, field in settings_of(model):
        if key in inherited:
            continue
        cells = (f"`{key}`", _kind(field), _default(field), field.description or "", _example(key, field))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    if model is ProcessSettings:
        sites = LongDocument.model_fields["sites"]
        yield f"| `sites` | mapping or list, see [sites](#sites) | | {sites.description} | |"


def _presets() -> Iterator[str]:
    yield "| preset | upstream | auth endpoint | |"
    yield "|---|---|---|---|"
    for name, preset in PRESETS.items():
        columns = (
            ", ".join(f"`{rule.name}`" for rule in rules) for rules in (preset.upstream, preset.auth_response)
        )
        yield f"| `{name}` | {' | '.join(columns)} | {preset.summary} |"


def _kind(field: FieldInfo) -> str:
    return _forms(field.annotation, tuple(field.metadata))


def _forms(annotation: Any, around: tuple[object, ...] = ()) -> str:  # noqa: ANN401  annotations have no type
    """Say what may stand for an annotation; where a kind names the whole, it alone."""
    forms = [(form, (*metadata, *around)) for form, metadata in alternatives(annotation)]
    words = " or ".join(dict.fromkeys(_form(form, metadata) for form, metadata in forms))
    links = [_link(model) for model in _models(annotation)]
    return f"{words}, see {', '.join(links)}" if links and links[0] not in words else words


def _form(form: Any, metadata: tuple[object, ...]) -> str:  # noqa: ANN401  see above
    kinds = [item for item in metadata if isinstance(item, Kind)]
    origin = get_origin(form)
    if kinds:
        return kinds[-1].word
    if origin is Literal:
        return ", ".join(f"`{option}`" for option in get_args(form))
    if origin is tuple:
        return f"list: {_forms(get_args(form)[0])}"
    if origin is dict:
        return f"mapping: {_forms(get_args(form)[0])} to {_forms(get_args(form)[1])}"
    return f"mapping, see {_link(form)}"


def _models(annotation: Any) -> list[type[Model]]:  # noqa: ANN401  see above
    forms = [form for form, _ in alternatives(annotation)]
    return [form for form in forms if isinstance(form, type) and issubclass(form, Model)]


def _link(model: type[Model]) -> str:
    title = _TITLES[model]
    return f"[{title}](#{title.lower().replace(' ', '-').replace('.', '')})"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    if field.default_factory is not None or field.default is None:
        return ""
    kind = kind_of(field)
    is_number = isinstance(field.default, int | float) and not isinstance(field.default, bool)
    return f"`{kind.write(field.default) if kind is not None and is_number else flow(field.default)}`"


def _example(key: str, field: FieldInfo) -> str:
    return f"`{key}: {flow(field.examples[0])}`" if field.examples else ""


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(reference_text(), encoding="utf-8")
