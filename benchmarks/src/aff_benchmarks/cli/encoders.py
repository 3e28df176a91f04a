"""`aff encoders`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from aff_shared.errors import InvalidParameterError, MissingExtraError
from aff_toolkit.cli.console import JsonOption, exit_on_error, messages, output, print_json


def encoders(
    only: Annotated[list[str] | None, typer.Option(help="Query backbone; all when not given.")] = None,
    size: Annotated[int, typer.Option(min=32, help="Pixels of a side.")] = 224,
    dimension: Annotated[int, typer.Option(min=2, help="Of the embedding.")] = 512,
    threads: Annotated[int, typer.Option(min=1, help="Of the ONNX runtime.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Show what each query backbone costs: parameters, arithmetic, size, latency on this machine."""
    from aff_benchmarks.bench.bench_encoders import measure_encoder  # noqa: PLC0415 - torch takes seconds
    from aff_toolkit.models.query_backbones import QUERY_BACKBONES  # noqa: PLC0415

    with exit_on_error(as_json):
        unknown = [name for name in only or () if name not in QUERY_BACKBONES]
        if unknown:
            raise InvalidParameterError(f"there is none; there are {', '.join(QUERY_BACKBONES)}", item=unknown[0])
        found = []
        for name in only or QUERY_BACKBONES:
            messages.print(name)
            try:
                found.append(measure_encoder(name, size=size, dimension=dimension, threads=threads))
            except MissingExtraError as error:
                if only:
                    raise
                messages.print(f"left out: {error}")
    if as_json:
        print_json([one.model_dump() for one in found])
        return
    table = Table(title=f"{size} x {size} pixels, {dimension} dimensions, {threads} thread{'s' if threads > 1 else ''}")
    for heading in ("backbone", "parameters", "MFLOP", "ONNX MB", "ms"):
        table.add_column(heading, justify="left" if heading == "backbone" else "right")
    for one in found:
        figures = (f"{one.parameters:,}", f"{one.mflop:,.0f}", f"{one.onnx_mb:.1f}", f"{one.latency_ms:.1f}")
        table.add_row(one.name, *figures)
    output.print(table)
