"""`doorward dev`: the gate in front of an application on this machine; recordings, and their replay."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.core.errors import ConfigurationError

if TYPE_CHECKING:
    from sidecar.core.runtime import Runtime
    from sidecar.dev.options import EngineName, Options
    from sidecar.dev.running import Serve

__all__ = ["DevWords", "command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DevWords:
    """The command line, as it was typed."""

    upstream: str
    listen: str
    user: str | None
    groups: str | None
    email: str | None
    claims: tuple[str, ...]
    provider: Path | None
    headers: tuple[str, ...]
    rules: tuple[str, ...]
    rules_file: Path | None
    exposed: bool
    public_url: str | None
    engine: EngineName | None
    inspects: bool
    record: Path | None
    replay: Path | None
    config: Path | None
    shows_all: bool


def command(words: DevWords, environment: Mapping[str, str]) -> int:
    """Do what the words say. Returns the exit code: 2 when they do not go together."""
    try:
        if words.replay is not None:
            return _replay(words, words.replay, environment)
        options = _options(words)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201  what a person meets at the terminal
        return 2
    return _serve(options, words)


def _serve(options: Options, words: DevWords) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0, or 1 when it can't."""
    from sidecar.cli.demo import write_terminal
    from sidecar.dev.observer import DevObserver
    from sidecar.dev.running import run_dev, serve_express, serve_interception
    from sidecar.engines import express
    from sidecar.supervisor.serving import build_surroundings

    is_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    observer = DevObserver(write_terminal, time.time, is_coloured=is_coloured)
    is_intercepting = words.engine != "express"
    try:
        begin: Serve = serve_interception if is_intercepting else serve_express
        inspection = None
        if words.inspects:
            from sidecar.dev.inspecting import Inspection

            inspection = Inspection(time.time)
            begin = inspection.serve
        # mitmproxy is written for the standard loop.
        express.run(
            run_dev(options, observer, build_surroundings(), os.environ, begin, inspection=inspection),
            loop="asyncio" if is_intercepting else "uvloop",
        )
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201  what a person meets at the terminal
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        # A second Ctrl-C, while open connections were given their time.
        return 0
    return 0


def _options(words: DevWords) -> Options:
    from sidecar.config.models.headers import SOURCES
    from sidecar.dev import options

    if words.replay is None and (words.config is not None or words.shows_all):
        raise ConfigurationError("--config and --all are for --replay; rules to serve with are --rules FILE.")
    if words.inspects and words.engine == "express":
        raise ConfigurationError("--inspect is the interception engine's; leave --engine out.")
    if not words.upstream:
        raise ConfigurationError("Which application? doorward dev http://localhost:3000")
    return options.Options(
        upstream=options.parse_upstream(words.upstream),
        listen=options.parse_listen(words.listen),
        public_url=words.public_url,
        persona=options.parse_persona(words.user, words.groups, words.email, words.claims),
        provider=words.provider,
        headers=options.parse_headers(words.headers, SOURCES),
        rules=words.rules,
        rules_file=words.rules_file,
        exposed=words.exposed,
        record=words.record,
    )


def _replay(words: DevWords, file: Path, environment: Mapping[str, str]) -> int:
    """Print which decisions of a recording another configuration changes.

    Returns 0 when none does, 1 when one does. Raises ConfigurationError, with one sentence, when the
    recording or the configuration can't be used.
    """
    import typer

    from sidecar.dev.recording import read_recording
    from sidecar.dev.replay import Replay, summary, table
    from sidecar.supervisor.serving import build_surroundings

    asked = Replay(_other_runtime(words, environment), build_surroundings())
    recorded = read_recording(file)
    found = list(asked.compare(recorded))
    changes = [comparison for comparison in found if comparison.is_change]
    shown = found if words.shows_all else changes
    for line in table(shown) if shown else ():
        typer.echo(line)
    for warning in asked.warnings:
        typer.echo(f"Note: {warning}", err=True)
    skipped = f"; {asked.skipped} of Doorward's own endpoints left out" if asked.skipped else ""
    typer.echo(f"{summary(found)}{skipped}.")
    return 1 if changes else 0


def _other_runtime(words: DevWords, environment: Mapping[str, str]) -> Runtime:
    """Return what the file configures, or what `doorward dev` would serve with these rules."""
    from sidecar.config import load
    from sidecar.dev.configuration import DevSecrets, build, issuer_url
    from sidecar.dev.documents import one_line

    if words.config is None and not words.rules and words.rules_file is None:
        raise ConfigurationError("--replay: by which rules? Name them with --config FILE or --rules FILE.")
    try:
        if words.config is not None:
            return load(words.config, environment)
        upstream = words.upstream or "http://localhost:3000"
        options = _options(replace(words, upstream=upstream, record=None))
        secrets = DevSecrets(session_key=os.urandom(32), client_secret=os.urandom(24).hex())
        return build(options, secrets, environment, port=8080, issuer=issuer_url(1)).runtime
    except ConfigurationError as error:
        raise ConfigurationError(one_line(error)) from error
