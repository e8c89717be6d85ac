"""What a developer asks for, read from the words of the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sidecar.core.errors import ConfigurationError
from sidecar.core.hosts import is_loopback_name
from sidecar.devidp import Person
from sidecar.devidp.people import PROTOCOL_CLAIMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.core.identity import Json

__all__ = ["EngineName", "Options", "parse_headers", "parse_listen", "parse_persona", "parse_upstream"]

type EngineName = Literal["express", "interception"]

_MAX_PORT: Final = 65535
_DEFAULT_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run of `doorward dev`.

    `listen` is host and port (0: a free one); `persona` is who everybody is, None asks the provider;
    `provider` is the file with a real provider's settings, None for the embedded one; `headers` are names
    with a source of the configuration or, behind "text:", a constant; `exposed` permits an address other
    than loopback.
    """

    upstream: str
    listen: tuple[str, int] = (_DEFAULT_HOST, 8080)
    public_url: str | None = None
    persona: Person | None = None
    provider: Path | None = None
    headers: tuple[tuple[str, str], ...] = ()
    rules: tuple[str, ...] = ()
    rules_file: Path | None = None
    exposed: bool = False
    record: Path | None = None

    def __post_init__(self) -> None:
        if self.persona is not None and self.provider is not None:
            raise ConfigurationError("--as needs no provider; leave out --as or --provider.")
        if is_loopback_name(self.listen[0]):
            return
        if self.provider is None:
            raise ConfigurationError(
                f"--listen {self.listen[0]}: whoever reaches this could be anybody; use 127.0.0.1:PORT or"
                " [::1]:PORT (other addresses are for --provider)."
            )
        if not self.exposed:
            raise ConfigurationError(
                f"--listen {self.listen[0]}: others could reach it; use 127.0.0.1:PORT, or say --expose."
            )


def parse_upstream(text: str) -> str:
    """Return an upstream's URL; a port alone is one of this machine. The configuration checks the rest."""
    return f"http://localhost:{int(text)}" if text.isascii() and text.isdigit() else text


def parse_listen(text: str) -> tuple[str, int]:
    """Return host (IPv6 in its brackets) and port of "host:port", or of a port alone.

    Raises ConfigurationError.
    """
    host, colon, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT or (colon and not host):
        raise ConfigurationError(f"--listen {text}: is no address; write 127.0.0.1:8080, [::1]:8080 or 8080.")
    if host.count(":") and not host.startswith("["):
        raise ConfigurationError(f"--listen {text}: write an IPv6 address in brackets, [::1]:8080.")
    return host or _DEFAULT_HOST, int(port)


def parse_headers(texts: Sequence[str], sources: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return name and source of each "NAME=SOURCE".

    What is neither one of `sources` nor a claim is a constant. Raises ConfigurationError.
    """
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigurationError(
                f"--header {text}: write NAME=claim:department, NAME=email, or NAME=text:anything."
            )
        is_source = value in sources or value.startswith(("claim:", "text:"))
        pairs.append((name.strip(), value if is_source else f"text:{value}"))
    for name, value in pairs:
        constant = value.removeprefix("text:")
        if value.startswith("text:") and not (constant and constant.isascii() and constant.isprintable()):
            raise ConfigurationError(f"--header {name}: a constant is visible ASCII and not empty.")
    return tuple(pairs)


def parse_persona(
    user: str | None, groups: str | None, email: str | None, claims: Sequence[str]
) -> Person | None:
    """Return who everybody is, None without `user`. Raises ConfigurationError."""
    if user is None:
        if groups is not None or email is not None or claims:
            raise ConfigurationError(
                "--groups, --email and --claim say more about --as; name somebody with it."
            )
        return None
    name, at, _ = user.partition("@")
    return Person(
        sub=user,
        name=(name if at else user).replace(".", " ").title(),
        email=email or (user if at else f"{user}@example.com"),
        groups=tuple(group.strip() for group in (groups or "").split(",") if group.strip()),
        claims=_claims(claims),
    )


def _claims(texts: Sequence[str]) -> Mapping[str, Json]:
    claims: dict[str, Json] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--claim {text}: write NAME=VALUE; the value may be JSON.")
        if name in PROTOCOL_CLAIMS:
            raise ConfigurationError(f"--claim {name}: is the protocol's own; choose another claim.")
        claims[name] = _json_or_text(value)
    return claims


def _json_or_text(text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value
