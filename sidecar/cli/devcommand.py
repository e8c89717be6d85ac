"""The words of `doorward dev`, as typer wants them; what it does is in `sidecar.cli.dev`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

__all__ = ["dev"]

_Upstream = Annotated[
    str, typer.Argument(metavar="[URL]", help="The application: http://localhost:3000, or its port alone.")
]
_Listen = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Where to listen: a port, or an address of loopback.")
]
_User = Annotated[str | None, typer.Option("--as", metavar="USER", help="Be somebody, without signing in.")]
_Groups = Annotated[str | None, typer.Option(metavar="A,B", help="The groups of --as.")]
_Email = Annotated[str | None, typer.Option(help="The address of --as; else USER@example.com.")]
_Claim = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="A further claim of --as; may be repeated.")
]
_Provider = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Sign in at a real provider: that of this configuration file."),
]
_Header = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SOURCE",
        help="Send a header: claim:department, email, ..., or a constant; may be repeated.",
    ),
]
_Rule = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULE",
        help="'{path: /admin/**, allow: {groups: [admins]}}'; may be repeated. Without any rule, whoever has"
        " signed in is let in.",
    ),
]
_Rules = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A file of rules, or a configuration; read again when it changes."),
]
_Expose = Annotated[
    bool, typer.Option("--expose", help="Permit another address than loopback, with --provider.")
]
_PublicUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="What browsers have in their address bar, if another.")
]
_Engine = Annotated[
    Literal["express", "interception"] | None,
    typer.Option(help="What carries the bytes: interception (mitmproxy) if not named."),
]
_Inspect = Annotated[bool, typer.Option("--inspect", help="Show every step in mitmweb's view.")]
_Record = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write each request and its decision to a new file of flows."),
]
_Replay = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Show which decisions of a recording other rules would change."),
]
_Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The other rules, for --replay.")
]
_All = Annotated[bool, typer.Option("--all", help="Show requests whose decision stays, too, for --replay.")]


def dev(  # noqa: PLR0917  called by typer, by name
    upstream: _Upstream = "",
    listen: _Listen = "127.0.0.1:8080",
    user: _User = None,
    groups: _Groups = None,
    email: _Email = None,
    claim: _Claim = None,
    provider: _Provider = None,
    header: _Header = None,
    rule: _Rule = None,
    rules: _Rules = None,
    expose: _Expose = False,  # noqa: FBT002  a switch of the command line
    public_url: _PublicUrl = None,
    engine: _Engine = None,
    inspect: _Inspect = False,  # noqa: FBT002  likewise
    record: _Record = None,
    replay: _Replay = None,
    config: _Config = None,
    everything: _All = False,  # noqa: FBT002  likewise
) -> NoReturn:
    """Put the gate in front of an application on this machine.

    No configuration file: a provider is built in, decisions are printed as they are made. --replay exits with
    1 when a decision changes.
    """
    from sidecar.cli.dev import DevWords, command

    words = DevWords(
        upstream=upstream,
        listen=listen,
        user=user,
        groups=groups,
        email=email,
        claims=tuple(claim or ()),
        provider=provider,
        headers=tuple(header or ()),
        rules=tuple(rule or ()),
        rules_file=rules,
        exposed=expose,
        public_url=public_url,
        engine=engine,
        inspects=inspect,
        record=record,
        replay=replay,
        config=config,
        shows_all=everything,
    )
    sys.exit(command(words, os.environ))
