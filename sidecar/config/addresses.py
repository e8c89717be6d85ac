"""Hosts, URLs, listening addresses and networks: how they are written and checked."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from sidecar.config.problems import quoted
from sidecar.config.values import Kind, Text, complaint, said
from sidecar.core.runtime import Network, Origin

__all__ = [
    "Listen",
    "NetworkText",
    "OriginText",
    "ProxyUrl",
    "Url",
    "check_network",
    "is_loopback",
    "parse_authority",
    "parse_network",
    "parse_origin",
]


_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def _parse_host(text: str) -> str:
    """Return a host in lower case, IPv6 without brackets. Raises ValueError with the end of a sentence."""
    bare = text.lower()
    if bare.startswith("[") and bare.endswith("]"):
        return str(IPv6Address(bare[1:-1]))
    if not bare.isascii():
        try:
            ascii_form = bare.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(f"holds the host {quoted(text)}, which is none") from None
        raise ValueError(f"holds a host with letters beyond ASCII; write it as {ascii_form}")
    if bare.startswith(("*.", ".")):
        name = bare.lstrip("*.")
        raise ValueError(f"stands for hosts below {quoted(name)}; write each by its name, as in app.{name}")
    if not _HOST.fullmatch(bare):
        raise ValueError(f"holds the host {quoted(text)}, which is none")
    if bare.rpartition(".")[2].isdigit() or bare.rpartition(".")[2].startswith("0x"):
        return str(IPv4Address(bare))  # browsers take whatever ends in a number for an address
    return bare


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: 127.0.0.0/8, ::1, localhost and *.localhost (RFC 6761 §6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


_AUTHORITY: Final = re.compile(r"(\[[^\[\]@/]*\]|[^\[\]:@/?#\s]+)(?::([0-9]{1,5}))?")


def parse_authority(text: str) -> tuple[str, int | None]:
    """Return host and port (None when there is none). Raises ValueError with the end of a sentence."""
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise ValueError(f"{quoted(text)} is no host; write app.example.com or app.example.com:8443")
    port = None if found[2] is None else int(found[2])
    if port is not None and not 0 < port <= _MAX_PORT:
        raise ValueError(f"{quoted(text)} holds a port that is none; ports are 1 to 65535")
    try:
        return _parse_host(found[1]), port
    except ValueError as error:
        raise ValueError(f"{quoted(text)} {_host_complaint(error, found[1])}") from None


def _host_complaint(error: ValueError, host: str) -> str:
    said = str(error)
    return (
        said if said.startswith(("holds", "stands")) else f"holds the address {quoted(host)}, which is none"
    )


def parse_origin(text: str) -> Origin:
    """Return the origin of a URL. Raises ValueError with the end of a sentence."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme not in {"http", "https"}:
        raise ValueError(f"{quoted(text)} has the scheme {quoted(scheme)}; write http or https")
    if not separator:
        raise ValueError(f"{quoted(text)} is no URL; write it with its scheme, as in https://app.example.com")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        raise ValueError(f"{quoted(text)} holds a user or password; remove them")
    host, port = parse_authority(authority)
    return Origin(
        scheme="https" if scheme == "https" else "http",
        host=host,
        port=port if port is not None else {"http": 80, "https": 443}[scheme],
    )


def _url(text: str) -> str:
    """Check an http(s) URL and leave it byte for byte as it is: issuers are compared exactly (S16)."""
    parse_origin(text)
    if re.search(r"[\s\\\x00-\x20\x7f<>\"{}|^`]", text) or not text.isascii():
        raise ValueError(f"{quoted(text)} holds a character that no URL may hold; percent-encode it")
    if "#" in text:
        raise ValueError(f"{quoted(text)} holds a fragment (#), which is never sent; remove it")
    return text


def _origin(text: str) -> str:
    _url(text)
    parts = urlsplit(text)
    if parts.path not in {"", "/"} or parts.query or text.endswith("?"):
        raise ValueError(f"{quoted(text)} holds a path or query; end it after host and port")
    return text


def _proxy_url(text: str) -> str:
    """Check the URL of an outbound proxy, the one place where user and password may stand in a URL."""
    parts = urlsplit(text)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.path not in {"", "/"}
        or parts.query
    ):
        raise ValueError(f"{quoted(text)} is no proxy; write http://proxy.example.com:3128")
    parse_authority(parts.netloc.rpartition("@")[2])
    return text


Url = Annotated[Text, AfterValidator(said(_url)), Kind("URL")]
OriginText = Annotated[Text, AfterValidator(said(_origin)), Kind("URL without path")]
ProxyUrl = Annotated[Text, AfterValidator(said(_proxy_url)), Kind("URL of a proxy")]


_PORT: Final = re.compile(r"[0-9]{1,5}")
_MAX_PORT: Final = 65535
_MAX_SOCKET_BYTES: Final = len("unix:") + 107
"""What fits into `sockaddr_un` of Linux with its closing NUL."""


def _listen(text: str) -> str:
    """Return the address in its one form: "host:port" (IPv6 in brackets) or "unix:/path"."""
    if text.startswith("unix:"):
        if not text.startswith("unix:/") or len(text.encode()) > _MAX_SOCKET_BYTES:
            raise ValueError(f"{quoted(text)} is no socket; write unix:/run/doorward.sock, at most 107 bytes")
        return text
    wanted = ValueError(f"{quoted(text)} is no address; write 127.0.0.1:8080, :8080 for all, or unix:/path")
    host, colon, port = text.rpartition(":")
    if (
        not colon
        or not _PORT.fullmatch(port)
        or int(port) > _MAX_PORT
        or (":" in host and not host.startswith("["))
    ):
        raise wanted
    try:
        name = "0.0.0.0" if host in {"", "*"} else _parse_host(host)  # noqa: S104  the operator asks for it
    except ValueError:
        raise wanted from None
    return f"[{name}]:{int(port)}" if ":" in name else f"{name}:{int(port)}"


def _address_text(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        raise complaint(f'{value} is no address; write 127.0.0.1:{value}, or ":{value}" for all addresses')
    return value


Listen = Annotated[Text, BeforeValidator(_address_text), AfterValidator(said(_listen)), Kind("address")]


def check_network(text: str) -> str:
    """Return a network in its one form. Raises PydanticCustomError."""
    try:
        return str(ip_network(text))
    except ValueError:
        pass
    try:
        wider = ip_network(text, strict=False)
    except ValueError:
        raise complaint(
            f"{quoted(text)} is no network; write 10.0.0.0/8, 2001:db8::/32 or one address"
        ) from None
    raise complaint(f"{quoted(text)} has bits set behind its mask; write {wider}")


NetworkText = Annotated[Text, AfterValidator(check_network), Kind("network")]


def parse_network(text: str) -> Network:
    """Return the network of a `NetworkText`."""
    return ip_network(text)
