"""The configuration of a run: a document such as anybody writes, compiled like any other."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.config import compile_parsed
from sidecar.config.yamltext import Document
from sidecar.core.development import ISSUER_PATH
from sidecar.core.seal import KeyRing
from sidecar.core.secret import Secret
from sidecar.dev.documents import add_provider, add_rules
from sidecar.devidp import Client, in_development

if TYPE_CHECKING:
    from sidecar.core.runtime import Runtime
    from sidecar.dev.options import Options

__all__ = ["Built", "DevSecrets", "build", "build_client", "issuer_url", "public_url"]

_CLIENT_ID: Final = "doorward-dev"
_SOURCE: Final = "doorward dev"
_KEY_NAME: Final = "DOORWARD_DEV_SESSION_KEY"
_SECRET_NAME: Final = "DOORWARD_DEV_CLIENT_SECRET"  # noqa: S105  the name of it
# A claim that nobody has: a constant's name is checked, and removed from what clients send, like any other.
_CONSTANT: Final = "claim:doorward_constant"
_TEXT: Final = "text:"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevSecrets:
    """Made anew for each run, kept by every reload of it, never written anywhere."""

    session_key: bytes = field(repr=False)
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a run serves; `constants` are header fields beside those that the configuration knows."""

    runtime: Runtime
    constants: tuple[tuple[bytes, bytes], ...] = ()
    warnings: tuple[str, ...] = ()


def public_url(options: Options, port: int) -> str:
    """Return what a browser has in its address bar."""
    if options.public_url is not None:
        return options.public_url
    host = options.listen[0] if options.listen[0].startswith("[") else "localhost"
    return f"http://{host}:{port}"


def issuer_url(port: int) -> str:
    """Return the issuer of the embedded provider."""
    return f"http://localhost:{port}{ISSUER_PATH}"


def build(
    options: Options, secrets: DevSecrets, environment: Mapping[str, str], *, port: int, issuer: str
) -> Built:
    """Return what `options` and their files say now. Raises ConfigurationError with every problem."""
    document = Document(value=_base(options, port, issuer))
    sources: dict[str, str] = {}
    if options.provider is not None:
        add_provider(document, options.provider, environment)
        sources |= dict.fromkeys(("provider", "providers"), str(options.provider))
    add_rules(document, options.rules, options.rules_file, environment)
    sources["access"] = _SOURCE if options.rules_file is None else str(options.rules_file)
    ours = {
        _KEY_NAME: base64.b64encode(secrets.session_key).decode("ascii"),
        _SECRET_NAME: secrets.client_secret,
    }
    # Files that a provider's settings name are beside those settings.
    folder = Path() if options.provider is None else options.provider.parent
    loaded = compile_parsed(document, folder / _SOURCE, {**environment, **ours}, sources)
    constants = tuple(
        (name.encode("ascii"), value.removeprefix(_TEXT).encode("ascii"))
        for name, value in options.headers
        if value.startswith(_TEXT)
    )
    runtime = _in_development(options, loaded.runtime, secrets.session_key)
    return Built(runtime=runtime, constants=constants, warnings=loaded.warnings)


def build_client(options: Options, secrets: DevSecrets, port: int) -> Client:
    """Return the gate as the embedded provider has it registered."""
    site = f"{public_url(options, port)}/oauth2"
    return Client(
        client_id=_CLIENT_ID,
        name=options.upstream,
        secret=Secret(secrets.client_secret.encode()),
        redirect_uris=(f"{site}/callback",),
        post_logout_redirect_uris=(f"{site}/sign_out/return",),
    )


def _base(options: Options, port: int, issuer: str) -> dict[str, object]:
    fields = {name: _CONSTANT if value.startswith(_TEXT) else value for name, value in options.headers}
    return {
        "listen": f"{options.listen[0]}:{port}",
        "public_url": public_url(options, port),
        "upstream": options.upstream,
        "headers": {"set": fields},
        "session": {"keys": ({"env": _KEY_NAME},), "idle": "8h", "absolute": "24h"},
        **({} if options.provider is not None else {"provider": _embedded(issuer)}),
    }


def _embedded(issuer: str) -> dict[str, object]:
    return {
        "type": "oidc",
        "display_name": "the embedded provider",
        "issuer": issuer,
        "client_id": _CLIENT_ID,
        "client_secret": {"env": _SECRET_NAME},
        "scopes": ("openid", "profile", "email", "groups"),
    }


def _in_development(options: Options, runtime: Runtime, key: bytes) -> Runtime:
    """Return the runtime with a key of this run and the banner (S72)."""
    if options.provider is None:
        return in_development(runtime, lambda _length: key)
    # A real provider stays one: nothing that an embedded provider says is accepted from it.
    keys = KeyRing.from_secrets([Secret(key)], mode="dev")
    sites = tuple(
        replace(site, session=replace(site.session, keys=keys), dev_banner="development mode")
        for site in runtime.sites
    )
    return replace(runtime, sites=sites)
