"""Identity headers."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from sidecar.config.models.base import LIST, MAPPING, TEXT, Model, SecretForm, form_of
from sidecar.config.problems import suggestion
from sidecar.config.values import Duration, HeaderName, InboundName, Kind, Text, complaint
from sidecar.core.headers import PRESETS

__all__ = ["SOURCES", "AssertionSettings", "HeaderSettings", "HeaderSource", "HeadersForm", "SourceForm"]

SOURCES: Final = (
    "user",
    "email",
    "groups",
    "roles",
    "preferred_username",
    "name",
    "subject",
    "issuer",
    "access_token",
    "id_token",
)
_CLAIM: Final = "claim:"
# Those frame the message, name its host, carry our cookie, or are set from the connection (`core.forwarded`).
_RESERVED_HEADERS: Final = frozenset(
    {
        "connection", "content-length", "cookie", "expect", "forwarded", "host", "keep-alive",
        "proxy-authenticate", "proxy-authorization", "proxy-connection", "set-cookie", "te", "trailer",
        "transfer-encoding", "upgrade", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
        "x-forwarded-proto", "x-real-ip",
    }
)  # fmt: skip


def _preset(name: str) -> str:
    if name not in PRESETS:
        mend = suggestion(name, PRESETS) or f"; there are {', '.join(PRESETS)}"
        raise complaint(f'"{name}" is no preset{mend}')
    return name


def _source(text: str) -> str:
    if text in SOURCES or (text.startswith(_CLAIM) and "" not in text.removeprefix(_CLAIM).split(".")):
        return text
    mend = suggestion(text, SOURCES) or f"; write {', '.join(SOURCES)}"
    claim = text.removeprefix(_CLAIM).strip(".") or "name"
    raise complaint(f'"{text}" is no source{mend} (or {_CLAIM}{claim}, to send that claim)')


def _settable(name: str) -> str:
    if name.lower() in _RESERVED_HEADERS:
        raise complaint(f'"{name}" is set by Doorward itself; choose another header')
    return name


Preset = Annotated[Text, AfterValidator(_preset), Kind("preset")]
Source = Annotated[Text, AfterValidator(_source), Kind("source")]
SettableHeader = Annotated[HeaderName, AfterValidator(_settable)]


def _header_prefix(value: object) -> str:
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
        raise complaint('must be text of visible ASCII and spaces, such as "Bearer "')
    return value


HeaderPrefix = Annotated[str, BeforeValidator(_header_prefix), Kind("text")]


class HeaderSource(Model):
    """Where the value of a header comes from."""

    source: Source = Field(
        description=(
            "What of the session goes in: `user`, `email`, `groups`, `roles`, `preferred_username`, `name`,"
            " `subject`, `issuer`, `access_token`, `id_token`, or `claim:` and the path of a claim."
        ),
        examples=["access_token"],
    )
    prefix: HeaderPrefix = Field(
        default="", description="Text in front of it; its last space counts.", examples=["Bearer "]
    )


SourceForm = Annotated[
    Annotated[Source, Tag(TEXT)] | Annotated[HeaderSource, Tag(MAPPING)],
    Discriminator(form_of),
    Kind("source"),
]


class AssertionSettings(Model):
    """A signed statement (JWT, ES256) of who it is, which an upstream can verify with our /oauth2/jwks."""

    keys: Annotated[tuple[SecretForm, ...], Field(min_length=1)] = Field(
        description=(
            "EC P-256 private keys, PEM: the first signs, all are published. `doorward keys assertion` makes"
            " one."
        ),
        examples=[[{"file": "/run/secrets/assertion.pem"}]],
    )
    header: SettableHeader = Field(
        default="X-Doorward-Assertion",
        description="The header it is sent in.",
        examples=["X-Doorward-Assertion"],
    )
    issuer: Text | None = Field(
        default=None,
        description="Its `iss`; else the site's public_url.",
        examples=["https://app.example.com"],
    )
    audience: Text | None = Field(
        default=None, description="Its `aud`; else the site's public_url.", examples=["internal-api"]
    )
    lifetime: Duration = Field(
        default=60.0, ge=30.0, le=3600.0, description="How long it is valid.", examples=["60s"]
    )


class HeaderSettings(Model):
    """Which headers tell the upstream who somebody is. Any of them that a client sends is removed."""

    presets: tuple[Preset, ...] = Field(
        default=("oauth2-proxy",),
        description="Families of headers by name; `[]` for none.",
        examples=[["remote-user"]],
    )
    set: dict[SettableHeader, SourceForm] = Field(
        default_factory=dict,
        description=(
            "Further headers on requests to the upstream, each from a source; one of the same name in a"
            " preset is replaced."
        ),
        examples=[{"X-Department": "claim:department"}],
    )
    set_auth_response: dict[SettableHeader, SourceForm] = Field(
        default_factory=dict,
        description="The same for answers of our auth endpoint, from which an ingress copies them.",
        examples=[{"X-Auth-Request-Department": "claim:department"}],
    )
    assertion: AssertionSettings | None = Field(
        default=None, description="A signed assertion with each request."
    )
    keep_inbound: tuple[InboundName, ...] = Field(
        default=(),
        description=(
            "Headers that clients may send although they look like identity headers, or have other signs in"
            " their names than `-`. What we set ourselves is removed all the same."
        ),
        examples=[["X-Remote-Addr"]],
    )


HeadersForm = Annotated[
    Annotated[Preset, Tag(TEXT)]
    | Annotated[tuple[Preset, ...], Tag(LIST)]
    | Annotated[HeaderSettings, Tag(MAPPING)],
    Discriminator(form_of),
    Kind("preset, list of presets, or mapping"),
]
