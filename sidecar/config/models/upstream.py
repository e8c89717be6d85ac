"""Upstreams: where requests go."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Discriminator, Field, Tag

from sidecar.config.addresses import parse_origin
from sidecar.config.models.base import MAPPING, TEXT, Model, form_of
from sidecar.config.problems import quoted
from sidecar.config.values import Duration, FilePath, Kind, Text, Whole, complaint

__all__ = ["NO_UPSTREAM", "OptionalUpstreamForm", "RoutePrefix", "UpstreamForm", "UpstreamSettings"]


NO_UPSTREAM: Final = "none"
"""Stands for a site without an application behind: only our own endpoints are served (forward auth)."""


def _upstream(text: str) -> str:
    """Check an upstream's URL: scheme, host and port, or a socket; never a path."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or not path.strip("/"):
            raise complaint(f"{quoted(text)} is no socket; write unix:/run/app.sock")
        return f"unix:/{path.lstrip('/')}"
    try:
        parse_origin(text)
    except ValueError as error:
        raise complaint(
            f"{error}" if "://" in text else f"{quoted(text)} is no upstream; {_UPSTREAM}"
        ) from None
    if re.search(r"[?#\s]|://[^/]*/.", text):
        raise complaint(
            f"{quoted(text)} holds a path or query: paths go upstream as they come; end it after the port"
        )
    return text.rstrip("/")


_UPSTREAM: Final = "write http://127.0.0.1:3000, https://app.internal:8443 or unix:/run/app.sock"
UpstreamUrl = Annotated[Text, AfterValidator(_upstream), Kind("URL of an upstream")]


def _upstream_or_none(text: str) -> str:
    return text if text == NO_UPSTREAM else _upstream(text)


OptionalUrl = Annotated[Text, AfterValidator(_upstream_or_none)]


class UpstreamSettings(Model):
    """An upstream with options."""

    url: UpstreamUrl = Field(
        description="http://host:port, https://host:port or unix:/path.",
        examples=["https://app.internal:8443"],
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="The certificate authorities, PEM, that it is trusted by, in place of the system's.",
        examples=["/etc/doorward/upstream-ca.pem"],
    )
    certificate: FilePath | None = Field(
        default=None, description="Our client certificate, PEM.", examples=["/etc/doorward/client.crt"]
    )
    key: FilePath | None = Field(
        default=None,
        description="The client certificate's private key, PEM.",
        examples=["/etc/doorward/client.key"],
    )
    server_name: Text | None = Field(
        default=None,
        description="The name its certificate must have and that is asked for (SNI); else the URL's host.",
        examples=["app.example.com"],
    )
    host_header: Text | None = Field(
        default=None,
        description="A Host to send in place of the browser's. Most applications want the browser's.",
        examples=["app.internal"],
    )
    connect_timeout: Duration = Field(
        default=5.0, description="How long connecting may take.", examples=["5s"]
    )
    response_timeout: Duration | None = Field(
        default=None,
        description="How long it may take until an answer begins; no limit unless set.",
        examples=["5m"],
    )
    keepalive: Duration = Field(
        default=4.0,
        description=(
            "How long an idle connection is kept. Less than the upstream keeps it (Node: 5s), so that no"
            " request meets a dying one."
        ),
        examples=["4s"],
    )
    max_idle: Whole = Field(
        default=64,
        ge=0,
        le=10_000,
        description="How many idle connections are kept, for each worker.",
        examples=[64],
    )


UpstreamForm = Annotated[
    Annotated[UpstreamUrl, Tag(TEXT)] | Annotated[UpstreamSettings, Tag(MAPPING)],
    Discriminator(form_of),
    Kind("URL of an upstream, or mapping"),
]

OptionalUpstreamForm = Annotated[
    Annotated[OptionalUrl, Tag(TEXT)] | Annotated[UpstreamSettings, Tag(MAPPING)],
    Discriminator(form_of),
    Kind("URL of an upstream, `none`, or mapping"),
]


def _route(text: str) -> str:
    if not text.startswith("/") or re.search(r"[?#*%;\\]|//|/\.\.?(/|$)", text):
        raise complaint(
            f"{quoted(text)} is no path here; write /api for it and all below it, / for all the rest"
        )
    return text.rstrip("/") or "/"


RoutePrefix = Annotated[Text, AfterValidator(_route)]
