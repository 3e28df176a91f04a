"""The root of the `aff` command."""

from __future__ import annotations

import typer

from aff_toolkit.cli import bundle, features
from aff_toolkit.cli.ablate import ablate
from aff_toolkit.cli.demo import demo
from aff_toolkit.cli.index import index
from aff_toolkit.cli.openapi import openapi
from aff_toolkit.cli.search import search
from aff_toolkit.cli.serve import serve
from aff_toolkit.cli.train import train

app = typer.Typer(
    help="Asymmetric image retrieval: a rich gallery, a light query.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (serve, index, search, demo, train, ablate, openapi):
    app.command()(command)
app.add_typer(bundle.app, name="bundle")
app.add_typer(features.app, name="features")


def main() -> None:
    """Run the command line."""
    app()
