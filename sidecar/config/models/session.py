"""Sessions and our cookies."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from sidecar.config.models.base import Model, SecretForm
from sidecar.config.problems import quoted
from sidecar.config.values import Duration, Kind, Switch, Text, complaint

__all__ = ["CookieSettings", "SessionSettings"]


def _cookie_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise complaint(f"{quoted(text)} is no name for a cookie; write letters, digits, _ and -")
    return text


CookieName = Annotated[Text, AfterValidator(_cookie_name), Kind("cookie name")]


def _same_site(value: object) -> object:
    if value == "strict":
        raise complaint(
            '"strict" would lose each login on its way back: browsers keep such a cookie from a visit that'
            " began at another site, as the return from the provider does; write lax"
        )
    return value


SameSite = Annotated[Literal["lax", "none"], BeforeValidator(_same_site)]


class CookieSettings(Model):
    """Our cookies. On loopback over http their names carry the port and no `__Host-`."""

    name: CookieName = Field(
        default="doorward",
        description=(
            "The session cookie's name. `__Host-` (with `domain`: `__Secure-`) is put in front of it."
        ),
        examples=["doorward"],
    )
    domain: Text | None = Field(
        default=None,
        description=(
            "Shares the cookies with all hosts below this domain. Each of them can then read and replace"
            " them. One login serves all `hosts` without it too: those it does not cover get the session"
            " handed over."
        ),
        examples=["example.com"],
    )
    same_site: SameSite = Field(
        default="lax",
        description="`none` lets the site work inside other sites' frames; it needs https.",
        examples=["none"],
    )
    partitioned: Switch = Field(
        default=False,
        description=(
            "Keeps the cookies apart for each site that embeds us (CHIPS); with `same_site: none` only."
        ),
        examples=[True],
    )


def _store(text: str) -> str:
    if text in {"sqlite", "redis"}:
        raise complaint(f'"{text}" is not there yet: this version keeps sessions in the cookie; write cookie')
    if text != "cookie":
        raise complaint(f"{quoted(text)} is no store; write cookie")
    return text


class SessionSettings(Model):
    """How long a login lasts, and what protects it."""

    keys: Annotated[tuple[SecretForm, ...], Field(min_length=1)] = Field(
        description=(
            "Keys of 32 bytes: as base64, or a file of 32 bytes or of base64. The first seals, all of them"
            " open. `doorward keys new` makes one."
        ),
        examples=[[{"file": "/run/secrets/session-key"}]],
    )
    idle: Duration = Field(
        default=3600.0, description="A session ends when nothing came from it for this long.", examples=["1h"]
    )
    absolute: Duration = Field(
        default=43200.0,
        description="A session ends this long after its login, whatever happens.",
        examples=["12h"],
    )
    store: Annotated[Text, AfterValidator(_store), Kind("store")] = Field(
        default="cookie",
        description="Where sessions are kept. This version knows `cookie`.",
        examples=["cookie"],
    )
    refresh_before: Duration = Field(
        default=60.0,
        description=(
            "A session whose access token ends within this time is refreshed first, but not before half of"
            " the token's life."
        ),
        examples=["1m"],
    )
