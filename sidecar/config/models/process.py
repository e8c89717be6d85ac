"""Settings of the process: listeners, limits, logs."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from sidecar.config.addresses import Listen, check_network
from sidecar.config.models.base import Model, SecretForm
from sidecar.config.problems import quoted
from sidecar.config.values import Duration, FilePath, Kind, Size, Switch, Text, Whole, complaint

__all__ = [
    "MODES",
    "UNIX_PEERS",
    "ForwardAuthSettings",
    "LimitSettings",
    "LogSettings",
    "ProcessSettings",
    "TlsSettings",
]


class TlsSettings(Model):
    """TLS on the public listener."""

    certificate: FilePath = Field(
        description="The certificate and its chain, PEM. Read again when the file changes.",
        examples=["/etc/doorward/tls.crt"],
    )
    key: FilePath = Field(
        description="Its private key, PEM, without a passphrase.", examples=["/etc/doorward/tls.key"]
    )
    client_ca: FilePath | None = Field(
        default=None,
        description=(
            "Whoever connects must show a certificate of this authority, PEM: for a listener that only an"
            " ingress may reach. Express engine only."
        ),
        examples=["/etc/doorward/ingress-ca.pem"],
    )


class LimitSettings(Model):
    """What one peer may cost us. A body that flows has no total limit."""

    head_size: Size = Field(
        default=64 << 10,
        le=1 << 20,
        description="A request's head in all; more is answered 431.",
        examples=["64KiB"],
    )
    headers: Whole = Field(
        default=128,
        ge=16,
        le=10_000,
        description="How many header fields a request may have.",
        examples=[128],
    )
    target_size: Size = Field(
        default=16 << 10, le=1 << 20, description="Path and query; more is answered 414.", examples=["16KiB"]
    )
    head_timeout: Duration = Field(
        default=10.0, description="A whole head must arrive within this time.", examples=["10s"]
    )
    body_grace: Duration = Field(
        default=20.0,
        description="How long a body may be slower than `body_min_rate` before it is cut off.",
        examples=["20s"],
    )
    body_min_rate: Whole = Field(
        default=100,
        ge=0,
        description="Bytes per second that a body must reach while we read it.",
        examples=[100],
    )
    idle_timeout: Duration = Field(
        default=75.0,
        description="How long a connection may stay open between two requests.",
        examples=["75s"],
    )
    connections: Whole = Field(
        default=10_000,
        ge=1,
        description="How many connections are open at once, for each worker.",
        examples=[10000],
    )
    session_memory: Size = Field(
        default=64 << 20,
        ge=1 << 20,
        le=1 << 40,
        description=(
            "How much memory opened sessions may take, for each worker: about 5KiB each. A session that"
            " finds no room is opened anew by each of its requests, which costs some 150 microseconds."
        ),
        examples=["64MiB"],
    )
    drain: Duration = Field(
        default=30.0, description="How long running requests may go on after SIGTERM.", examples=["30s"]
    )


class LogSettings(Model):
    """What is logged, and how. Secrets, codes, cookies and tokens never are."""

    format: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or text for people.", examples=["console"]
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important level that is written.", examples=["info"]
    )
    access: Switch = Field(
        default=True, description="One line for each request, with its rule and reason.", examples=[True]
    )


def _trusted(text: str) -> str:
    if text == UNIX_PEERS:
        return text
    network = check_network(text)
    if network.endswith("/0"):
        raise complaint(
            f'"{text}" is everybody, who could then invent the address a request comes from;'
            " name the networks of your proxies, as in 10.0.0.0/8"
        )
    return network


UNIX_PEERS: Final = "unix"
"""Stands for whoever connects to our unix socket."""

TrustedProxy = Annotated[Text, AfterValidator(_trusted), Kind("network")]


MODES: Final = ("reverse", "transparent", "regular", "local", "socks5", "wireguard")
"""The ways in which the interception engine can meet requests."""


def _mode(text: str) -> str:
    name, colon, data = text.partition(":")
    if name not in MODES:
        raise complaint(f"{quoted(text)} is no mode; it is one of {', '.join(MODES)}")
    if name == "reverse" and colon:
        raise complaint("reverse takes nothing: where requests go is the upstream's url")
    if (colon and not data) or "@" in data:
        raise complaint(f"{quoted(text)} is no mode; write {name}, and the address into listen")
    return text


Mode = Annotated[Text, AfterValidator(_mode), Kind("mode")]


class ForwardAuthSettings(Model):
    """Who may ask whether a request of somebody else may pass: the ingress. All that is written must hold."""

    callers: tuple[TrustedProxy, ...] = Field(
        default=(),
        description=(
            "Addresses that may ask; `unix` stands for whoever connects to our unix socket. Their"
            " X-Forwarded-For is believed."
        ),
        examples=[["10.0.0.0/8"]],
    )
    secret: SecretForm | None = Field(
        default=None,
        description="What the ingress sends in `X-Doorward-Secret`; at least 16 characters.",
        examples=[{"file": "/run/secrets/forward-auth"}],
    )
    grpc: Listen | None = Field(
        default=None,
        description=(
            "Where Envoy asks by gRPC (ext_authz), over TLS where `tls` is written; needs the extra"
            " `doorward[envoy]`. HTTP needs no address of its own."
        ),
        examples=["127.0.0.1:4181"],
    )


class ProcessSettings(Model):
    """The keys that a process has once, whatever sites it serves."""

    engine: Literal["express", "interception"] = Field(
        default="express",
        description=(
            "What carries the bytes. `express`: HTTP/1.1, fast, for a reverse proxy or forward auth."
            " `interception`: mitmproxy, for HTTP/2, HTTP/3 and the other modes; one worker."
        ),
        examples=["interception"],
    )
    mode: Mode = Field(
        default="reverse",
        description=(
            "How the interception engine meets requests: `reverse` is a server, `transparent` catches what"
            " network rules send it, `regular` and `socks5` are proxies that a client is told of, `local` or"
            " `local:curl` captures this machine's programs, `wireguard` is a VPN server. In the last four"
            " only hosts of our sites are gated; all others pass untouched."
        ),
        examples=["regular"],
    )
    authority_folder: FilePath | None = Field(
        default=None,
        description=(
            "Where the interception engine keeps its certificate authority and keys; made, with 0700, when it"
            " is not there. Without it: `doorward/interception` in $XDG_STATE_HOME, else ~/.local/state."
        ),
        examples=["/var/lib/doorward/authority"],
    )
    listen: Listen = Field(
        default="127.0.0.1:8080",
        description="Where requests come in: host:port, :port for all IPv4 addresses, or unix:/path.",
        examples=["127.0.0.1:8080"],
    )
    admin: Listen | None = Field(
        default=None,
        description=(
            "Where health (/healthz), readiness (/readyz) and metrics (/metrics) are served, never on the"
            " public listener. Nothing listens unless this is set."
        ),
        examples=["127.0.0.1:9080"],
    )
    tls: TlsSettings | None = Field(
        default=None,
        description=(
            "TLS on the public listener. Without it, listen speaks plain HTTP: for loopback, or behind a"
            " proxy that does TLS."
        ),
    )
    trusted_proxies: tuple[TrustedProxy, ...] = Field(
        default=(),
        description=(
            "Networks of the proxies in front of us; `unix` stands for whoever connects to our unix socket."
            " X-Forwarded-* is read from these peers only, from everybody else it is removed; nobody is"
            " trusted by default."
        ),
        examples=[["10.0.0.0/8"]],
    )
    forward_auth: ForwardAuthSettings | None = Field(
        default=None,
        description=(
            "Answer an ingress that asks about each request (forward auth). Without it, nobody may ask."
        ),
        examples=[{"callers": ["10.0.0.0/8"]}],
    )
    compat: Literal["oauth2-proxy"] | None = Field(
        default=None,
        description=(
            "Keep to oauth2-proxy's paths, parameters and statuses where they differ: 202 from the auth"
            " endpoint, a link that signs out, its recipes for nginx, Traefik and Caddy as published."
        ),
        examples=["oauth2-proxy"],
    )
    workers: Whole = Field(
        default=1,
        ge=1,
        le=256,
        description="Worker processes on the same address; one for each CPU is the most that helps.",
        examples=[2],
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What one peer may cost us.")
    log: LogSettings = Field(default_factory=LogSettings, description="What is logged, and how.")
