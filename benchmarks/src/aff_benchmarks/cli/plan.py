"""`aff plan`."""

from __future__ import annotations

import math
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from aff_benchmarks.planning.plan import Plan, make_plan
from aff_benchmarks.planning.plan_request import PlannedQuantization, PlanRequest
from aff_shared.errors import InvalidParameterError
from aff_toolkit.cli.console import JsonOption, exit_on_error, output, print_json

_OF = PlanRequest.model_fields
_WHOLE = 100
_BINARY = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def plan(
    images: Annotated[float, typer.Option(help="Of the gallery; 1e8 will do.")],
    qps: Annotated[float, typer.Option(help="Searches a second.")],
    dimension: Annotated[int, typer.Option(help="Of the embeddings.")] = 128,
    quantization: Annotated[PlannedQuantization, typer.Option(help="Of the vectors that a search compares.")] = "int8",
    node_memory_gib: Annotated[float, typer.Option(help="Memory of a Qdrant node.")] = _OF["node_memory_gib"].default,
    node_disk_gib: Annotated[float, typer.Option(help="Disk of a Qdrant node.")] = _OF["node_disk_gib"].default,
    replicas: Annotated[int, typer.Option(help="Copies of each shard.")] = _OF["replicas"].default,
    shards_per_node: Annotated[int, typer.Option(help="Of the collection.")] = _OF["shards_per_node"].default,
    headroom: Annotated[float, typer.Option(help="Factor on memory and disk.")] = _OF["headroom"].default,
    target_load: Annotated[float, typer.Option(help="Share of their capacity at which cores work.")] = _OF[
        "target_load"
    ].default,
    index_images_per_s: Annotated[
        float | None, typer.Option(help="Of a card with your extractors (`aff bench index`). [default: measured]")
    ] = None,
    query_core_ms: Annotated[
        float | None, typer.Option(help="Core milliseconds of a search (`aff bench query`). [default: measured]")
    ] = None,
    core_hour_price: Annotated[float, typer.Option(help="Of a query core, in your currency.")] = _OF[
        "core_hour_price"
    ].default,
    node_hour_price: Annotated[float, typer.Option(help="Of a Qdrant node.")] = _OF["node_hour_price"].default,
    gpu_hour_price: Annotated[float, typer.Option(help="Of a card.")] = _OF["gpu_hour_price"].default,
    as_json: JsonOption = False,
) -> None:
    """Print what a gallery needs: bytes, nodes, GPU hours, cores and prices, and what each figure rests on."""
    with exit_on_error(as_json):
        try:
            request = PlanRequest(
                images=int(images) if abs(images) < float("inf") else 0,
                qps=qps,
                dimension=dimension,
                quantization=quantization,
                node_memory_gib=node_memory_gib,
                node_disk_gib=node_disk_gib,
                replicas=replicas,
                shards_per_node=shards_per_node,
                headroom=headroom,
                target_load=target_load,
                index_images_per_s=index_images_per_s,
                query_core_ms=query_core_ms,
                core_hour_price=core_hour_price,
                node_hour_price=node_hour_price,
                gpu_hour_price=gpu_hour_price,
            )
        except ValidationError as error:
            wrong = "; ".join(f"--{str(e['loc'][0]).replace('_', '-')}: {e['msg']}" for e in error.errors())
            raise InvalidParameterError(wrong) from error
        made = make_plan(request)
    if as_json:
        print_json(made.model_dump())
    else:
        output.print(_table(made))


def _table(plan: Plan) -> Table:
    request = plan.request
    title = f"{request.images:,} images, {request.qps:g} searches/s, {request.dimension} dimensions"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("rests on", no_wrap=True)
    table.add_column("how", overflow="fold", min_width=40)
    for figure in plan.figures:
        table.add_row(figure.name, _readable(figure.value, figure.unit), figure.basis, figure.how)
    return table


def _readable(value: float, unit: str) -> str:
    if unit == "bytes":
        power = min(int(math.log2(max(value, 1)) // 10), len(_BINARY) - 1)
        return f"{_short(value / 2 ** (10 * power))} {_BINARY[power]}"
    return _short(value) if unit == "currency" else f"{_short(value)} {unit}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= _WHOLE or float(value).is_integer() else f"{value:.3g}"
