"""Rules: which requests, and who may make them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from sidecar.config.addresses import NetworkText
from sidecar.config.models.base import LIST, MAPPING, TEXT, Model, form_of
from sidecar.config.problems import quoted
from sidecar.config.values import ClaimPath, Kind, Scalar, Text, complaint

__all__ = ["AllowForm", "AllowWord", "Condition", "RuleSettings"]

AllowWord = Literal["anyone", "authenticated", "nobody"]
_Values = Annotated[tuple[Text, ...], Field(min_length=1)]


class Condition(Model):
    """Who may pass. Several keys in one mapping must all hold; several values of one key are alternatives."""

    users: _Values | None = Field(
        default=None,
        description=(
            "One of these users, exactly: values of the claim that is the user (the provider's"
            " `claims.user`)."
        ),
        examples=[["248289761001"]],
    )
    emails: _Values | None = Field(
        default=None,
        description="One of these e-mail addresses, verified by the provider.",
        examples=[["ann@example.com"]],
    )
    email_domains: _Values | None = Field(
        default=None,
        description="A verified address in one of these domains; `*.example.com` is every domain below it.",
        examples=[["example.com"]],
    )
    groups: _Values | None = Field(
        default=None, description="A member of one of these groups.", examples=[["admins"]]
    )
    roles: _Values | None = Field(
        default=None, description="A holder of one of these roles.", examples=[["editor"]]
    )
    claims: Annotated[dict[ClaimPath, ClaimValues], Field(min_length=1)] | None = Field(
        default=None,
        description="Each of these claims is, or holds, one of its values. The name may be a path.",
        examples=[{"realm_access.roles": ["admin"]}],
    )
    networks: Annotated[tuple[NetworkText, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="A request from one of these networks, whoever makes it.",
        examples=[["10.0.0.0/8"]],
    )
    all: Annotated[tuple[AllowForm, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Every one of these conditions.",
        examples=[[{"groups": ["ops"]}, {"networks": ["10.0.0.0/8"]}]],
    )
    any: Annotated[tuple[AllowForm, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="At least one of these conditions.",
        examples=[[{"groups": ["ops"]}, {"emails": ["ann@example.com"]}]],
    )
    not_: AllowForm | None = Field(
        default=None,
        alias="not",
        description="Not this condition. Where what it asks for is unknown, nobody passes.",
        examples=[{"groups": ["contractors"]}],
    )


AllowForm = Annotated[
    Annotated[AllowWord, Tag(TEXT)] | Annotated[Condition, Tag(MAPPING)],
    Discriminator(form_of),
    Kind("condition"),
]
ClaimValues = Annotated[
    Annotated[Scalar, Tag(TEXT)] | Annotated[tuple[Scalar, ...], Field(min_length=1), Tag(LIST)],
    Discriminator(form_of),
    Kind("value, or list of values"),
]
PathForm = Annotated[
    Annotated[Text, Tag(TEXT)] | Annotated[tuple[Text, ...], Field(min_length=1), Tag(LIST)],
    Discriminator(form_of),
    Kind("path pattern, or list of them"),
]


def _method(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]+(-[A-Za-z]+)*", text):
        raise complaint(f"{quoted(text)} is no method; write GET, POST and so on, those that the rule is for")
    return text.upper()


class RuleSettings(Model):
    """One rule. The first whose host, path and method match decides; where none matches, nobody passes."""

    name: Text | None = Field(
        default=None,
        description="What logs and `doorward explain` call the rule; else its place, `access[2]`.",
        examples=["admin-writes"],
    )
    hosts: _Values | None = Field(
        default=None,
        description="The rule is for these of the site's hosts only; `*.example.com` is every host below.",
        examples=[["admin.example.com"]],
    )
    path: PathForm = Field(
        default="/**",
        description=(
            "The whole path: `*` is one segment or a part of one, `/**` at the end everything below. A list"
            " means any of them."
        ),
        examples=["/api/admin/**"],
    )
    methods: Annotated[tuple[Annotated[Text, AfterValidator(_method)], ...], Field(min_length=1)] | None = (
        Field(
            default=None,
            description="The rule is for these methods only. GET covers HEAD.",
            examples=[["POST", "DELETE"]],
        )
    )
    allow: AllowForm = Field(
        description="Who may pass: `anyone`, `authenticated`, `nobody`, or a mapping of what must hold.",
        examples=[{"groups": ["admins"]}],
    )
    preflight: Literal["pass", "check"] = Field(
        default="check",
        description="`pass` lets CORS preflights (OPTIONS without credentials) through to the upstream.",
        examples=["pass"],
    )
