"""`aff bench shards`."""

from __future__ import annotations

from typing import Annotated

import typer

from aff_shared.store.settings import Quantization
from aff_toolkit.cli.console import JsonOption, exit_on_error, output, print_json


def shards(
    images: Annotated[int, typer.Option(min=10, help="Of the gallery.")] = 200_000,
    dimension: Annotated[int, typer.Option(min=2, help="Of the embeddings.")] = 128,
    count: Annotated[list[int] | None, typer.Option(min=1, help="Shards of the gallery. [default: 1, 2, 4, 8]")] = None,
    quantization: Annotated[Quantization, typer.Option(help="Of the vectors.")] = "none",
    as_json: JsonOption = False,
) -> None:
    """Search one gallery in one shard and in several, and merge their hits: what is found, what it costs."""
    from aff_benchmarks.bench.gallery_growth import SHARD_COUNTS, measure_sharding  # noqa: PLC0415 - a while to import

    found = []
    with exit_on_error(as_json):
        for point in measure_sharding(dimension, images, count or SHARD_COUNTS, quantization):
            found.append(point)
            if not as_json:
                output.print(
                    f"{point.shards:3} shards of {point.images // point.shards:8} images, {point.quantization}: "
                    f"recall@10 {point.recall_at_10:.4f}; in parallel p50 {point.parallel_p50_ms:.2f} ms, p99 "
                    f"{point.parallel_p99_ms:.2f} ms; one after the other {point.serial_p50_ms:.2f} ms, of which the "
                    f"merge {point.merge_p50_ms:.3f} ms; built in {point.built_s:.0f} s"
                )
    if as_json:
        print_json([point.model_dump() for point in found])
