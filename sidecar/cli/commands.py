"""The commands: names, options and help, as typer wants them; what they do is in one module each."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from sidecar.cli.devcommand import dev

__all__ = ["app"]

app = typer.Typer(
    name="doorward",
    help="An authenticating reverse proxy: sign-in by OpenID Connect in front of any web application.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_keys = typer.Typer(
    name="keys",
    help="Make the keys that a configuration names.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(_keys)

_Config = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")]
_Format = Annotated[Literal["text", "json"], typer.Option("--format", help="How to print.")]
_Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="Write it to a new file that nobody else can read."),
]
_DEFAULT_CONFIG = Path("doorward.yaml")


def _show_version(wanted: bool) -> None:  # noqa: FBT001  as typer calls it
    if wanted:
        from sidecar import __version__

        typer.echo(f"doorward {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
]


@app.callback()
def _options(_version: _Version = False) -> None:  # noqa: FBT002  a switch of the command line
    """Take the options that stand before a command."""


@app.command()
def run(config: _Config = _DEFAULT_CONFIG) -> NoReturn:
    """Serve what the configuration says.

    Until SIGTERM or Ctrl-C; what is under way then is brought to its end.
    """
    from sidecar.cli.run import run as serve

    sys.exit(serve(config))


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen on loopback.")] = 8080,
) -> NoReturn:
    """Show all of it on this machine: sign in, be let in.

    A site, an identity provider with three people and a small application, in one process on loopback.
    """
    from sidecar.cli.demo import demo as show

    sys.exit(show(port))


app.command()(dev)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="The configuration file.")] = _DEFAULT_CONFIG,
    output: _Format = "text",
) -> NoReturn:
    """Say what is wrong with a configuration.

    Everything at once, with line, column and mend; where nothing is wrong, what it means.
    """
    from sidecar.cli.check import check as judge

    sys.exit(judge(file, os.environ, output))


@app.command()
def explain(  # noqa: PLR0917  called by typer, by name
    method: Annotated[str, typer.Argument(help="GET, POST, ...")],
    url: Annotated[str, typer.Argument(help="A whole URL, or a path of the only site.")],
    config: _Config = _DEFAULT_CONFIG,
    claims: Annotated[
        Path | None,
        typer.Option(
            "--as", metavar="FILE", help="Claims (a JSON object) of who asks; nobody is signed in without."
        ),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of several providers, the one that the claims are from."),
    ] = None,
    peer: Annotated[
        str, typer.Option("--from", metavar="ADDRESS", help="Where the request comes from.")
    ] = "192.0.2.1",
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A further header; may be repeated.")
    ] = None,
    output: _Format = "text",
) -> NoReturn:
    """Show what happens with a request, and why.

    Site, readings of the path, rule, decision, reason and headers, by the code that serves. Nothing is sent
    anywhere.
    """
    from sidecar.cli.explain import Question
    from sidecar.cli.explain import explain as answer

    question = Question(
        method=method, url=url, claims=claims, provider=provider, peer=peer, headers=tuple(header or ())
    )
    sys.exit(answer(config, os.environ, question, output))


@app.command()
def doctor(  # noqa: PLR0917  called by typer, by name
    ingress: Annotated[str, typer.Option(metavar="URL", help="What people type: https://app.example.com")],
    path: Annotated[
        str | None, typer.Option(metavar="PATH", help="A path that needs a session; the URL's own without.")
    ] = None,
    public_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="A path that is open to anyone, to trick with.")
    ] = None,
    echo: Annotated[
        str | None, typer.Option(metavar="PATH", help="A page of the application that shows its headers.")
    ] = None,
    cookie: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The Cookie header of somebody signed in; sent, never printed."),
    ] = None,
    prefix: Annotated[str, typer.Option(metavar="PATH", help="Where Doorward's own pages are.")] = "/oauth2",
    kind: Annotated[
        Literal["nginx", "ingress-nginx", "traefik", "caddy", "envoy", "haproxy"] | None,
        typer.Option(help="Which ingress it is, to print how to mend this one."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002  a switch
) -> NoReturn:
    """Send probes through a live ingress and say what gets through.

    Some fifty requests that change nothing: spoofed headers, tricks with paths and methods, upgrades. Exit
    status 0 when nothing is open, 1 when something is, 2 when nothing can be said.
    """
    from sidecar.cli.doctor import Order
    from sidecar.cli.doctor import doctor as examine

    order = Order(
        url=ingress,
        path=path,
        public_path=public_path,
        echo=echo,
        cookie=cookie,
        prefix=prefix,
        kind=kind,
        as_json=as_json,
    )
    sys.exit(examine(order))


@app.command()
def netfilter(
    port: Annotated[
        list[int], typer.Option(metavar="PORT", help="A port of the application; may be repeated.")
    ],
    to: Annotated[int, typer.Option("--to", metavar="PORT", help="Doorward's port.")] = 8080,
    uid: Annotated[
        int, typer.Option(metavar="UID", help="The user that Doorward runs as, and nobody else.")
    ] = 1337,
    form: Annotated[Literal["nft", "iptables"], typer.Option("--format", help="Of which tool.")] = "nft",
    prints: Annotated[bool, typer.Option("--print", help="Print the rules only.")] = False,  # noqa: FBT002  a switch
) -> NoReturn:
    """Leave no way around Doorward in a pod.

    Sends what arrives for the application's port to Doorward's, and lets only Doorward's user reach the
    application. Without --print the rules come into force: in an init container with NET_ADMIN.
    """
    from sidecar.cli.netfilter import netfilter as guard

    sys.exit(guard(port, to, uid, form, prints=prints))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration."""
    from sidecar.config.schema import schema_text

    typer.echo(schema_text(), nl=False)


@_keys.command("new")
def keys_new(out: _Out = None) -> NoReturn:
    """Make a key for session.keys: 32 random bytes in base64."""
    from sidecar.cli.keys import new

    sys.exit(new(out))


@_keys.command("assertion")
def keys_assertion(out: _Out = None) -> NoReturn:
    """Make a key for headers.assertion.keys: EC P-256, PEM."""
    from sidecar.cli.keys import assertion

    sys.exit(assertion(out))


@_keys.command("rotate")
def keys_rotate(
    files: Annotated[list[Path], typer.Argument(metavar="NEWEST OLDER...", help="As in session.keys.")],
) -> NoReturn:
    """Put a new key in front of the others.

    The first file gets a new key, each other the key of the one before it, and the oldest is dropped:
    sessions that it sealed end, so rotate no faster than session.absolute. Where several machines serve,
    give all of them the new files before any is restarted.
    """
    from sidecar.cli.keys import rotate

    sys.exit(rotate(files))
