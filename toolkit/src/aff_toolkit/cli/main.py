"""The root of the `aff` command."""

from __future__ import annotations

import io
import sys
from importlib.metadata import entry_points

import typer

from aff_toolkit.cli import bundle, checkpoints, features, gallery, keys, protocol
from aff_toolkit.cli.demo import demo
from aff_toolkit.cli.evaluate import evaluate
from aff_toolkit.cli.index import index
from aff_toolkit.cli.openapi import openapi
from aff_toolkit.cli.search import search
from aff_toolkit.cli.serve import serve
from aff_toolkit.cli.train import train

app = typer.Typer(
    help="Asymmetric image retrieval: heavy models for the gallery, a light model for queries.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (serve, index, search, demo, train, evaluate, openapi):
    app.command()(command)
app.add_typer(protocol.app, name="protocol")
app.add_typer(bundle.app, name="bundle")
app.add_typer(gallery.app, name="gallery")
app.add_typer(features.app, name="features")
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(keys.app, name="keys")
for installed in entry_points(group="aff_toolkit.commands"):
    installed.load()(app)


def main() -> None:
    """Run the command line; characters that the terminal cannot encode are escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
