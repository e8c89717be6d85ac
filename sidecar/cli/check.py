"""`doorward check`: everything that is wrong with a configuration, or what it means."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from sidecar.cli.samples import SAMPLES, CookieSize, cookie_size
from sidecar.cli.words import condition_words, rule_words
from sidecar.config import compile_text, read_config
from sidecar.config.values import duration_text
from sidecar.core.entrance import handoff_hosts
from sidecar.core.errors import ConfigurationError, UnreadableConfiguration
from sidecar.core.forwardauth.dialects import BY_NAME

if TYPE_CHECKING:
    from sidecar.config import Loaded
    from sidecar.core.runtime import Provider, Runtime, Site

__all__ = ["check", "summary"]

type _Rows = Iterator[tuple[str, str]]

_HEADER_LIMIT = 8192
"""What nginx and many others take of a request's head before they answer 400."""


def check(file: Path, environment: Mapping[str, str], output: Literal["text", "json"]) -> int:
    """Judge the configuration in `file` and print the finding. Returns the exit code."""
    try:
        loaded = compile_text(read_config(file), file, environment)
    except ConfigurationError as error:
        code = 2 if isinstance(error, UnreadableConfiguration) else 1
        if output == "json":
            typer.echo(_json({"valid": False, "problems": error.problems}))
        else:
            typer.echo(str(error), err=True)
        return code
    typer.echo(_json(summary(loaded)) if output == "json" else "\n".join(_text(file, loaded)))
    return 0


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


# For programs


def summary(loaded: Loaded) -> dict[str, Any]:
    """Return what a configuration means; no secret is in it."""
    runtime = loaded.runtime
    return {
        "valid": True,
        "warnings": loaded.warnings,
        "listen": runtime.listen,
        "admin": runtime.admin,
        "tls": runtime.tls is not None,
        "workers": runtime.workers,
        "trusted_proxies": _trusted(runtime),
        "forward_auth": _forward_auth(runtime),
        "sites": [_site(site) for site in runtime.sites],
    }


def _site(site: Site) -> dict[str, Any]:
    session = site.session
    return {
        "name": site.name,
        "public_url": str(site.public_url),
        "hosts": sorted(site.hosts),
        "upstreams": {route.prefix: route.upstream.name for route in site.routes},
        "providers": {
            key: {
                "issuer": provider.issuer,
                "client_id": provider.client_id,
                "auth_method": provider.auth_method,
                "redirect_uri": f"{site.public_url}{provider.redirect_path}",
            }
            for key, provider in site.providers.items()
        },
        "post_logout_redirect_uri": _after_logout(site),
        "rules": [
            {"name": rule.name, "matches": rule_words(rule), "allow": condition_words(rule.allow)}
            for rule in site.rules.rules
        ],
        "headers": {rule.name: rule.source for rule in site.headers.upstream},
        "ingress_headers": {rule.name: rule.source for rule in site.headers.auth_response},
        "assertion": None if site.headers.assertion is None else site.headers.assertion.header,
        "session": {
            "store": session.store,
            "idle_seconds": session.idle_seconds,
            "absolute_seconds": session.absolute_seconds,
            "cookie": site.cookie.session_name.decode("ascii"),
            "kept_claims": session.kept_claims,
            "kept_tokens": _kept_tokens(site),
            "cookie_sizes": {
                sample: {"bytes": size.total_bytes, "cookies": size.cookies}
                for sample, size in _sizes(site).items()
            },
        },
    }


def _sizes(site: Site) -> dict[str, CookieSize]:
    now = time.time()
    return {sample: cookie_size(site, groups, now) for sample, groups in SAMPLES.items()}


def _trusted(runtime: Runtime) -> list[str]:
    unix = ["unix"] if runtime.trusts_unix_peers else []
    return [*map(str, runtime.trusted_proxies), *unix]


def _forward_auth(runtime: Runtime) -> dict[str, Any] | None:
    policy = runtime.forward_auth
    if policy is None:
        return None
    return {
        "callers": [*map(str, policy.callers), *(["unix"] if policy.trusts_unix else [])],
        "secret": policy.secret is not None,
        "client_certificate": policy.needs_certificate,
        "grpc": policy.grpc,
        "compat": runtime.compat,
        "loses": {name: dialect.loses for name, dialect in BY_NAME.items() if dialect.loses},
    }


def _after_logout(site: Site) -> str:
    return f"{site.public_url}{site.prefix}/sign_out/return"


def _kept_tokens(site: Site) -> list[str]:
    session = site.session
    tokens = {
        "refresh token": True,
        "access token": session.keep_access_token,
        "ID token": session.keep_id_token,
    }
    return [name for name, is_kept in tokens.items() if is_kept]


# For people


def _text(file: Path, loaded: Loaded) -> Iterator[str]:
    runtime = loaded.runtime
    yield f"{file}: valid"
    yield ""
    yield from _aligned(_process_rows(runtime), "")
    for site in runtime.sites:
        yield ""
        yield f"site {site.name}"
        yield from _aligned(_site_rows(site), "  ")
        if runtime.forward_auth is not None:
            yield from _aligned(_ingress_rows(site), "  ")
    if loaded.warnings:
        yield ""
        yield "warnings"
        yield from (f"  {warning}" for warning in loaded.warnings)


def _aligned(rows: _Rows, indent: str) -> Iterator[str]:
    """Write label and value in two columns; a label that is repeated stands once."""
    before = ""
    for label, value in rows:
        yield f"{indent}{'' if label == before else label:<14}{value}".rstrip()
        before = label


def _process_rows(runtime: Runtime) -> _Rows:
    yield "listen", f"{runtime.listen}{' (TLS)' if runtime.tls is not None else ''}"
    yield "admin", runtime.admin or "not served: no health, readiness, metrics"
    yield "workers", str(runtime.workers)
    yield "trusts", ", ".join(_trusted(runtime)) or "no proxy: forwarded headers of clients are removed"

    policy = runtime.forward_auth
    if policy is not None:
        addresses = ", ".join(map(str, policy.callers)) or ("our unix socket" if policy.trusts_unix else "")
        proofs = [
            *([f"from {addresses}"] if addresses else []),
            *(["with the secret"] if policy.secret is not None else []),
            *(["with a client certificate"] if policy.needs_certificate else []),
        ]
        yield "may ask", f"an ingress {', '.join(proofs)}"
        if policy.grpc is not None:
            yield "may ask", f"by gRPC at {policy.grpc}"


def _ingress_rows(site: Site) -> _Rows:
    """Say how an ingress asks about this site, and what some of them lose."""
    yield "asked at", f"{site.prefix}/auth/<dialect>: {', '.join(BY_NAME)}"
    told = ", ".join(f"{rule.name} ({rule.source})" for rule in site.headers.auth_response)
    yield "told", told or "nothing"
    for dialect in BY_NAME.values():
        if dialect.loses:
            yield "loses", f"{dialect.name}: {dialect.loses}"
    if any(size.cookies > 1 for size in _sizes(site).values()):
        yield "loses", "there, keep a session within one cookie (above): ask the provider for fewer groups"


def _site_rows(site: Site) -> _Rows:
    yield "public URL", str(site.public_url)
    handed_over = handoff_hosts(site)
    for host in sorted(site.hosts - {site.public_url.authority}):
        yield "also", f"{host}  ({'the session is handed over' if host in handed_over else 'same cookie'})"
    for route in site.routes:
        yield (
            "upstream",
            route.upstream.name if route.prefix == "/" else f"{route.upstream.name} for {route.prefix}",
        )
    if not site.routes:
        yield "upstream", "none: only our own endpoints are served (forward auth)"
    for provider in site.providers.values():
        yield "provider", _provider_words(provider)
        yield "callback", f"{site.public_url}{provider.redirect_path}  (register it at the provider)"
    yield "after logout", f"{_after_logout(site)}  (likewise)"
    for rule in site.rules.rules:
        yield "rules", f"{rule.name}: {rule_words(rule)}: {condition_words(rule.allow)}"
    yield "rules", "everything else: nobody"
    yield from _header_rows(site)
    yield from _session_rows(site)


def _provider_words(provider: Provider) -> str:
    how = {"none": "public client"}.get(provider.auth_method, provider.auth_method)
    return f"{provider.issuer} as {provider.client_id} ({how})"


def _header_rows(site: Site) -> _Rows:
    headers = ", ".join(f"{rule.name} ({rule.source})" for rule in site.headers.upstream)
    yield "headers", headers or "none"
    if site.headers.assertion is not None:
        yield "headers", f"{site.headers.assertion.header} (signed assertion)"


def _session_rows(site: Site) -> _Rows:
    session = site.session
    idle, absolute = duration_text(session.idle_seconds), duration_text(session.absolute_seconds)
    yield "session", f"ends after {idle} without use, {absolute} in all"
    kept = [*_kept_tokens(site), *(f"claim {path}" for path in session.kept_claims)]
    yield "session", f"keeps who it is, {', '.join(kept)}"
    yield "cookie", site.cookie.session_name.decode("ascii")
    for sample, size in _sizes(site).items():
        yield "cookie", f"{sample}: {_size_words(size)}"


def _size_words(size: CookieSize) -> str:
    if not size.cookies:
        return "does not fit, such people can't log in; ask the provider for fewer groups"
    split = f" in {size.cookies} cookies" if size.cookies > 1 else ""
    much = "; many servers in front take 8KiB of headers only" if size.total_bytes > _HEADER_LIMIT else ""
    return f"about {size.total_bytes} bytes{split}{much}"
