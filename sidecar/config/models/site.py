"""A site: one host with its upstreams, provider, rules, session and cookie."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from sidecar.config.addresses import OriginText, parse_authority
from sidecar.config.models.access import RuleSettings
from sidecar.config.models.base import Model
from sidecar.config.models.headers import HeadersForm
from sidecar.config.models.provider import ProviderSettings
from sidecar.config.models.session import CookieSettings, SessionSettings
from sidecar.config.models.upstream import OptionalUpstreamForm, RoutePrefix, UpstreamForm
from sidecar.config.problems import quoted
from sidecar.config.values import Kind, PathPrefix, Switch, Text, complaint, said

__all__ = ["ListedSite", "SiteSettings"]


SITE_NAME: Final = r"[a-z0-9]([a-z0-9._:-]{0,62}[a-z0-9])?"


def _site_name(text: str) -> str:
    if not re.fullmatch(SITE_NAME, text):
        raise complaint(f"{quoted(text)} is no name of a site; write small letters, digits and . _ - between")
    return text


SiteName = Annotated[Text, AfterValidator(_site_name), Kind("name")]


def _provider_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?", text):
        raise complaint(
            f"{quoted(text)} is no name of a provider; write small letters, digits, _ and -:"
            " it is part of the callback's URL"
        )
    return text


ProviderName = Annotated[Text, AfterValidator(_provider_name), Kind("name")]


def _authority(text: str) -> str:
    parse_authority(text)
    return text.lower()


HostText = Annotated[Text, AfterValidator(said(_authority)), Kind("host")]


class SiteSettings(Model):
    """The keys of one site. In the short form they stand at the top of the file."""

    public_url: OriginText = Field(
        description=(
            "The URL under which browsers reach the site: scheme, host, port. https, but on loopback."
        ),
        examples=["https://app.example.com"],
    )
    hosts: tuple[HostText, ...] = Field(
        default=(),
        description=(
            "Further hosts of the site. Logins go by public_url, whose callback alone is registered, and come"
            " back to the host where they were needed: by the cookie, where `cookie.domain` covers the host,"
            " else the session is handed over."
        ),
        examples=[["www.example.com"]],
    )
    prefix: PathPrefix = Field(
        default="/oauth2",
        description="Where our own endpoints are. Move it where the application serves /oauth2 itself.",
        examples=["/auth"],
    )
    upstream: OptionalUpstreamForm | None = Field(
        default=None,
        description=(
            "Where requests go; `none` where Doorward only answers an ingress (forward auth) and nothing goes"
            " through it. Either this or `upstreams`."
        ),
        examples=["http://127.0.0.1:3000"],
    )
    upstreams: Annotated[dict[RoutePrefix, UpstreamForm], Field(min_length=1)] | None = Field(
        default=None,
        description=(
            "Upstreams by path: the longest path that the request's is, or is below of. `/` is for all the"
            " rest."
        ),
        examples=[{"/": "http://127.0.0.1:3000", "/api": "http://127.0.0.1:4000"}],
    )
    provider: ProviderSettings | None = Field(
        default=None,
        description=(
            "Who logs people in; the callback to register there is `<public_url><prefix>/callback`. Either"
            " this or `providers`."
        ),
        examples=[{"type": "oidc", "issuer": "https://id.example.com", "client_id": "app"}],
    )
    providers: Annotated[dict[ProviderName, ProviderSettings], Field(min_length=1)] | None = Field(
        default=None,
        description=(
            "Several providers by name, of which people choose one; each has a callback of its own,"
            " `<public_url><prefix>/callback/<name>`."
        ),
        examples=[{"staff": {"type": "oidc", "issuer": "https://id.example.com", "client_id": "app"}}],
    )
    session: SessionSettings = Field(
        description="How long a login lasts, and the keys that protect it.",
        examples=[{"keys": [{"file": "/run/secrets/session-key"}]}],
    )
    access: Annotated[tuple[RuleSettings, ...], Field(min_length=1)] = Field(
        description=(
            "Who may do what: the first rule that matches decides, and where none does, nobody passes."
        ),
        examples=[[{"allow": "authenticated"}]],
    )
    headers: HeadersForm = Field(
        default="oauth2-proxy",
        description="Which headers tell the upstream who somebody is.",
        examples=["remote-user"],
    )
    cookie: CookieSettings = Field(default_factory=CookieSettings, description="Our cookies.")
    sign_in: Literal["redirect", "page"] = Field(
        default="redirect",
        description=(
            "`redirect` goes to the only provider at once, `page` shows our sign-in page first, which also"
            " keeps the #fragment of the URL."
        ),
        examples=["page"],
    )
    trusted_origins: tuple[OriginText, ...] = Field(
        default=(),
        description="Other origins whose pages may send requests with our cookie and read our 401s.",
        examples=[["https://console.example.com"]],
    )
    return_hosts: tuple[HostText, ...] = Field(
        default=(),
        description=("Further hosts that a login or sign-out may return to; none stands for those below it."),
        examples=[["docs.example.com"]],
    )
    csrf_check: Switch = Field(
        default=True,
        description=(
            "Refuses requests other than GET, HEAD and OPTIONS, and WebSockets, that a page of another origin"
            " sends with our cookie."
        ),
        examples=[False],
    )
    path_case: Literal["fold", "exact"] = Field(
        default="fold",
        description=(
            "`fold`: a path that falls under another rule in small letters must satisfy both rules, for"
            " upstreams that serve /ADMIN as /admin. `exact`: the upstream tells them apart."
        ),
        examples=["exact"],
    )


class ListedSite(SiteSettings):
    """A site in a list."""

    name: SiteName | None = Field(
        default=None, description="What logs and metrics call the site; else its host.", examples=["wiki"]
    )
