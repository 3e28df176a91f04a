"""Adds the subcommands of this package to `aff`."""

from __future__ import annotations

import typer

from aff_benchmarks.cli import bench
from aff_benchmarks.cli.ablate import ablate
from aff_benchmarks.cli.encoders import encoders
from aff_benchmarks.cli.plan import plan


def add_commands(app: typer.Typer) -> None:
    """Add `ablate`, `encoders`, `plan` and the group `bench`."""
    app.command()(ablate)
    app.command()(encoders)
    app.command()(plan)
    app.add_typer(bench.app, name="bench")
