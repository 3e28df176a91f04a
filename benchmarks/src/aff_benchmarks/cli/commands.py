"""The subcommands `aff plan`, `aff ablate` and `aff encoders`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from aff_benchmarks.plan import Plan, PlannedQuantization, PlanRequest, make_plan
from aff_shared.errors.requests import InvalidParameterError
from aff_shared.errors.services import MissingExtraError
from aff_shared.resource_limits import usable_cores
from aff_toolkit.cli.console import JsonOption, exit_on_error, messages, output, print_json

_DEFAULTS = {name: field.default for name, field in PlanRequest.model_fields.items()}
_WHOLE = 100
_BINARY = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def ablate(
    benchmark: Annotated[
        str, typer.Argument(help="Name of a configuration in benchmarks/configs/ablation, or path of a TOML file.")
    ],
    out: Annotated[Path, typer.Option(help="Directory of the reports.")] = Path("out/ablation/report"),
    work_dir: Annotated[
        Path | None, typer.Option(help="Directory of features and runs; an interrupted ablation resumes from it.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Number of parallel trainings, with one thread each.")
    ] = usable_cores(),
    only: Annotated[list[str] | None, typer.Option(help="Train only this variant; repeatable.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train the variants behind the paper's findings with several seeds, and report a verdict for each finding."""
    from aff_benchmarks.ablation.ablate import run_ablation  # noqa: PLC0415 - torch is slow to import
    from aff_benchmarks.ablation.ablation_config import load_ablation_config  # noqa: PLC0415

    with exit_on_error(as_json):
        config = load_ablation_config(benchmark)
        directory = work_dir or Path("out/ablation") / config.name
        reports = run_ablation(config, directory, processes, messages, out, only or ())
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
        return
    for report in reports:
        for finding in (*report.findings, *report.questions):
            verdict = finding.verdict if finding.was_run else "not run"
            output.print(f"{finding.number or ' '}  {verdict:12}  {finding.claim}")
        output.print(f"Report: {out / report.benchmark}.md, plots: {report.benchmark}.png")


def encoders(
    only: Annotated[
        list[str] | None, typer.Option(help="Query backbone to measure; repeatable; all by default.")
    ] = None,
    size: Annotated[int, typer.Option(min=32, help="Input side in pixels.")] = 224,
    dimension: Annotated[int, typer.Option(min=2, help="Embedding dimension.")] = 512,
    threads: Annotated[int, typer.Option(min=1, help="Threads of ONNX Runtime.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Show the cost of the query backbones: parameters, arithmetic, size, latency on this machine."""
    from aff_benchmarks.report.accuracy_over_cost import measure_encoder  # noqa: PLC0415 - torch is slow to import
    from aff_toolkit.models.query_encoder import QUERY_BACKBONES  # noqa: PLC0415

    with exit_on_error(as_json):
        unknown = [name for name in only or () if name not in QUERY_BACKBONES]
        if unknown:
            raise InvalidParameterError(f"unknown backbone; known: {', '.join(QUERY_BACKBONES)}", item=unknown[0])
        found = []
        for name in only or QUERY_BACKBONES:
            messages.print(name)
            try:
                found.append(measure_encoder(name, size=size, dimension=dimension, threads=threads))
            except MissingExtraError as error:
                if only:
                    raise
                messages.print(f"skipped: {error}")
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


def plan(
    images: Annotated[float, typer.Option(help="Number of gallery images, for example 1e8.")],
    qps: Annotated[float, typer.Option(help="Searches per second.")],
    dimension: Annotated[int, typer.Option(help="Embedding dimension.")] = 128,
    quantization: Annotated[PlannedQuantization, typer.Option(help="Compression of the searched vectors.")] = "int8",
    node_memory_gib: Annotated[float, typer.Option(help="Memory of a Qdrant node.")] = _DEFAULTS["node_memory_gib"],
    node_disk_gib: Annotated[float, typer.Option(help="Disk of a Qdrant node.")] = _DEFAULTS["node_disk_gib"],
    replicas: Annotated[int, typer.Option(help="Copies of each shard.")] = _DEFAULTS["replicas"],
    shards_per_node: Annotated[int, typer.Option(help="Shards per node.")] = _DEFAULTS["shards_per_node"],
    headroom: Annotated[float, typer.Option(help="Factor on memory and disk.")] = _DEFAULTS["headroom"],
    target_load: Annotated[float, typer.Option(help="Target utilisation of the cores, 0 to 1.")] = _DEFAULTS[
        "target_load"
    ],
    index_images_per_s: Annotated[
        float | None,
        typer.Option(help="Images/s per GPU with your extractors (`aff bench index`); measured by default."),
    ] = None,
    query_core_ms: Annotated[
        float | None, typer.Option(help="Core milliseconds per search (`aff bench query`); measured by default.")
    ] = None,
    core_hour_price: Annotated[float, typer.Option(help="Hourly price of a query core, in any currency.")] = _DEFAULTS[
        "core_hour_price"
    ],
    node_hour_price: Annotated[float, typer.Option(help="Hourly price of a Qdrant node.")] = _DEFAULTS[
        "node_hour_price"
    ],
    gpu_hour_price: Annotated[float, typer.Option(help="Hourly price of a GPU.")] = _DEFAULTS["gpu_hour_price"],
    as_json: JsonOption = False,
) -> None:
    """Print the requirements of a gallery: bytes, nodes, GPU hours, cores and prices, and the basis of each."""
    given = {name: value for name, value in locals().items() if name in _DEFAULTS}
    with exit_on_error(as_json):
        try:
            request = PlanRequest(**{**given, "images": int(images) if math.isfinite(images) else 0})
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
    table.add_column("basis", no_wrap=True)
    table.add_column("computed from", overflow="fold", min_width=40)
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
