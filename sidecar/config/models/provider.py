"""The identity provider of a site."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from sidecar.config.addresses import ProxyUrl, Url
from sidecar.config.models.base import LIST, TEXT, Model, SecretForm, form_of
from sidecar.config.values import ClaimPath, Duration, FilePath, Kind, Size, Switch, Text, Whole, complaint
from sidecar.core.authorization import RESERVED_PARAMETERS

__all__ = ["ClaimSettings", "EndpointSettings", "ProviderSettings"]

# Besides what the authorization request sets itself: parameters of the token request, secrets that must not
# stand in a URL (RFC 9700 §4.3), and what would start a flow that we don't speak (§2.4).
_OWN_PARAMS: Final = RESERVED_PARAMETERS | {
    "client_assertion",
    "client_assertion_type",
    "client_secret",
    "code",
    "code_verifier",
    "grant_type",
    "password",
    "username",
}
_OWN_KEYS: Final = {
    "audience": "audience",
    "client_id": "client_id",
    "client_secret": "client_secret",
    "response_mode": "response_mode",
    "scope": "scopes",
}


def _extra_param(name: str) -> str:
    if name in _OWN_KEYS:
        raise complaint(f'"{name}" has a key of its own; set provider.{_OWN_KEYS[name]}')
    if name in _OWN_PARAMS:
        raise complaint(f'"{name}" is set by Doorward itself; remove it')
    return name


def _algorithm(name: str) -> str:
    known = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
    if name in known:
        return name
    if name.startswith("HS") or name == "none":
        raise complaint(
            f'"{name}" is refused: a token must be signed with a key that the provider alone has;'
            f" write {', '.join(known)}"
        )
    raise complaint(f'"{name}" is no signature algorithm known here; write {", ".join(known)}')


def _scope(text: str) -> str:
    if " " in text:
        raise complaint(f'"{text}" holds a space; write one scope an entry: [{", ".join(text.split())}]')
    return text


ParamName = Annotated[Text, AfterValidator(_extra_param)]
ClaimsForm = Annotated[
    Annotated[ClaimPath, Tag(TEXT)] | Annotated[tuple[ClaimPath, ...], Field(min_length=1), Tag(LIST)],
    Discriminator(form_of),
    Kind("claim, or list of claims"),
]


class EndpointSettings(Model):
    """The provider's endpoints where they are not those of its discovery document."""

    authorization: Url | None = Field(
        default=None,
        description="Where browsers are sent to log in.",
        examples=["https://id.example.com/authorize"],
    )
    token: Url | None = Field(
        default=None,
        description="Where codes are redeemed.",
        examples=["http://id.auth.svc.cluster.local/token"],
    )
    userinfo: Url | None = Field(
        default=None,
        description="The UserInfo endpoint.",
        examples=["http://id.auth.svc.cluster.local/userinfo"],
    )
    jwks: Url | None = Field(
        default=None,
        description="The provider's signing keys.",
        examples=["http://id.auth.svc.cluster.local/keys"],
    )
    end_session: Url | None = Field(
        default=None,
        description="Where browsers are sent to sign out.",
        examples=["https://id.example.com/logout"],
    )


class ClaimSettings(Model):
    """Which claims mean what. Each may be a path, such as `realm_access.roles`."""

    user: ClaimsForm = Field(
        default=("sub",),
        description=(
            "Who somebody is, for `users` in rules and for X-Forwarded-User; of a list the first that is"
            " there. `sub` is the only claim that a provider never gives to somebody else."
        ),
        examples=[["preferred_username", "sub"]],
    )
    email: ClaimPath = Field(default="email", description="The e-mail address.", examples=["email"])
    email_verified: ClaimPath = Field(
        default="email_verified", description="Whether that address is verified.", examples=["email_verified"]
    )
    preferred_username: ClaimPath = Field(
        default="preferred_username", description="The name to log in with.", examples=["nickname"]
    )
    name: ClaimPath = Field(default="name", description="The name to show.", examples=["name"])
    groups: ClaimPath = Field(default="groups", description="The groups.", examples=["groups"])
    roles: ClaimPath = Field(default="roles", description="The roles.", examples=["realm_access.roles"])


class ProviderSettings(Model):
    """An OpenID provider."""

    type: Literal["oidc"] = Field(description="The family of providers it is of.", examples=["oidc"])
    issuer: Url = Field(
        description="Its issuer, exactly as its tokens name it, a slash at the end included.",
        examples=["https://id.example.com"],
    )
    client_id: Text = Field(description="The name under which we are registered there.", examples=["app"])
    client_secret: SecretForm | None = Field(
        default=None, description="The secret that goes with it.", examples=[{"file": "/run/secrets/client"}]
    )
    display_name: Text | None = Field(
        default=None,
        description="What the sign-in page calls it; else the issuer's host.",
        examples=["Example ID"],
    )
    auth_method: Literal["auto", "client_secret_basic", "client_secret_post", "private_key_jwt", "none"] = (
        Field(
            default="auto",
            description=(
                "How we authenticate at its token endpoint. `auto`: with `private_key` private_key_jwt, with"
                " `client_secret` client_secret_basic, with neither none (a public client; PKCE protects it)."
            ),
            examples=["client_secret_post"],
        )
    )
    private_key: SecretForm | None = Field(
        default=None,
        description="Our private key for private_key_jwt, PEM.",
        examples=[{"file": "/run/secrets/client-key.pem"}],
    )
    private_key_id: Text | None = Field(
        default=None, description="The `kid` under which the provider knows that key.", examples=["2026-01"]
    )
    private_key_algorithm: Annotated[Text, AfterValidator(_algorithm)] | None = Field(
        default=None, description="How we sign with it; else what fits the key.", examples=["ES256"]
    )
    assertion_audience: Text | None = Field(
        default=None,
        description=(
            "The audience of private_key_jwt; else the issuer. Some providers want the token endpoint's URL."
        ),
        examples=["https://id.example.com/token"],
    )
    scopes: tuple[Annotated[Text, AfterValidator(_scope)], ...] = Field(
        default=("openid", "profile", "email"),
        description=(
            "What we ask for. `openid` must be among them; `offline_access` brings a refresh token at many"
            " providers."
        ),
        examples=[["openid", "profile", "email", "offline_access"]],
    )
    response_mode: Literal["query", "form_post"] = Field(
        default="query",
        description="How the provider answers. `form_post` needs https, for its cookie is SameSite=None.",
        examples=["form_post"],
    )
    audience: Text | None = Field(
        default=None,
        description="The API that the access token is for, sent as `audience`.",
        examples=["https://api.example.com"],
    )
    extra_params: dict[ParamName, Text] = Field(
        default_factory=dict,
        description="Further parameters of the authorization request.",
        examples=[{"prompt": "select_account"}],
    )
    forwarded_params: tuple[ParamName, ...] = Field(
        default=(),
        description="Parameters that a caller of our start endpoint may hand on to the provider.",
        examples=[["login_hint"]],
    )
    endpoints: EndpointSettings = Field(
        default_factory=EndpointSettings,
        description=(
            "Endpoints that are not those of the discovery document, such as where browser and sidecar reach"
            " the provider by different names."
        ),
    )
    discovery: Switch = Field(
        default=True,
        description=(
            "Whether to read the discovery document; else `endpoints` must name authorization, token and"
            " jwks."
        ),
        examples=[False],
    )
    discovery_url: Url | None = Field(
        default=None,
        description=(
            "Where the discovery document is, when not below the issuer. The issuer it names is compared all"
            " the same."
        ),
        examples=["http://id.auth.svc.cluster.local/.well-known/openid-configuration"],
    )
    algorithms: Annotated[tuple[Annotated[Text, AfterValidator(_algorithm)], ...], Field(min_length=1)] = (
        Field(
            default=("RS256", "ES256", "PS256", "EdDSA", "RS384", "RS512", "ES384", "ES512"),
            description="How its tokens may be signed.",
            examples=[["ES256"]],
        )
    )
    max_state: Whole = Field(
        default=3000,
        ge=300,
        le=6000,
        description="How many characters a `state` may have that the provider takes (X: 500).",
        examples=[500],
    )
    claims: ClaimSettings = Field(default_factory=ClaimSettings, description="Which claims mean what.")
    require_verified_email: Switch = Field(
        default=True,
        description=(
            "An e-mail address that the provider does not call verified is refused; `false` is for providers"
            " that never say so and verify each address."
        ),
        examples=[False],
    )
    userinfo: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether to ask the UserInfo endpoint; `auto`: when a claim that is needed is missing.",
        examples=["always"],
    )
    clock_skew: Duration = Field(
        default=60.0,
        le=300.0,
        description="How far the provider's clock may be off, at most 5m.",
        examples=["30s"],
    )
    timeout: Duration = Field(
        default=10.0,
        le=60.0,
        description="How long one call to the provider may take in all.",
        examples=["5s"],
    )
    max_answer: Size = Field(
        default=1 << 20, le=16 << 20, description="How large its answer may be, decoded.", examples=["1MiB"]
    )
    keys_refetch: Duration = Field(
        default=60.0,
        ge=10.0,
        description="An unknown key id makes us fetch the keys anew at most once in this time.",
        examples=["60s"],
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="The certificate authorities, PEM, that it is trusted by, in place of the system's.",
        examples=["/etc/doorward/ca.pem"],
    )
    http_proxy: ProxyUrl | None = Field(
        default=None,
        description="A proxy for the calls to it. `doorward check` does not print its password.",
        examples=["http://proxy.example.com:3128"],
    )
    insecure_http: Switch = Field(
        default=False,
        description=(
            "Allows an http issuer and http endpoints beyond loopback: for an issuer inside a cluster."
            " Whoever can read or change that traffic can log in as anybody."
        ),
        examples=[True],
    )
