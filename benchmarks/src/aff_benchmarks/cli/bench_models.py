"""The subcommands of `aff bench` that measure networks: train, features, index, remix, extractors."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from pydantic import BaseModel

from aff_shared.errors.requests import InvalidParameterError
from aff_toolkit.cli.console import DEFAULT_BUNDLE, BundlePath, Device, JsonOption, exit_on_error, output, print_json

GALLERY_SIZES = (1_000, 10_000, 100_000)

Rounds = Annotated[int, typer.Option(min=1, help="Rounds, summarised by the median.")]
Images = Annotated[int, typer.Option(min=1, help="Photographs per round.")]
Precision = Annotated[Literal["fp32", "bf16"], typer.Option(help="Floating-point precision.")]


def add_commands(app: typer.Typer) -> None:
    """Add the subcommands of this module."""
    for command in (train, features, index, remix, extractors):
        app.command()(command)


def train(
    bundle: BundlePath = DEFAULT_BUNDLE,
    query_backbone: Annotated[str, typer.Option(help="Query network.")] = "residual-16",
    train_size: Annotated[int, typer.Option(min=16, help="Input side in pixels.")] = 96,
    batch_size: Annotated[int, typer.Option(min=2, help="Photographs per step.")] = 64,
    precision: Precision = "fp32",
    reading_threads: Annotated[int, typer.Option(min=1, help="Threads that read batches ahead.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Steps per round.")] = 10,
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare a joint training step with the forward and backward pass of the query network alone."""
    given = dict(locals())
    from aff_benchmarks.bench.bench_training import TrainingBenchSettings, bench_training  # noqa: PLC0415 - torch
    from aff_toolkit.models.query_encoder import QUERY_BACKBONES  # noqa: PLC0415

    with exit_on_error(as_json):
        if query_backbone not in QUERY_BACKBONES:
            detail = f"unknown backbone {query_backbone}; known: {', '.join(QUERY_BACKBONES)}"
            raise InvalidParameterError(detail, item="--query-backbone")
        names = TrainingBenchSettings.model_fields.keys() & given.keys()
        settings = TrainingBenchSettings(backbone=query_backbone, **{name: given[name] for name in names})
        found = bench_training(bundle, settings)
    show(
        found,
        as_json,
        f"joint step {found.images_per_s:.0f} images/s, query network alone {found.bare_images_per_s:.0f}: "
        f"{found.step_over_bare:.0%} ({query_backbone} at {train_size} pixels, {found.tokens} tokens, "
        f"{found.threads} threads, {found.device})",
    )


def features(
    bundle: BundlePath = DEFAULT_BUNDLE, images: Images = 256, rounds: Rounds = 5, as_json: JsonOption = False
) -> None:
    """Compare feature extraction from JPEG files to a feature store with the extractors alone."""
    from aff_benchmarks.bench.bench_training import bench_features  # noqa: PLC0415 - torch is slow to import

    with exit_on_error(as_json):
        found = bench_features(bundle, images, rounds)
    show(
        found,
        as_json,
        f"extraction {found.images_per_s:.0f} images/s, extractors alone {found.bare_images_per_s:.0f}: "
        f"{found.extraction_over_bare:.0%} ({found.threads} threads, {found.device})",
    )


def index(
    bundle: BundlePath = DEFAULT_BUNDLE,
    images: Images = 256,
    gallery_size: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Gallery size of the memory measurement; repeatable; by default 1000, 10000, 100000."),
    ] = None,
    device: Device = "auto",
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare indexing, from JPEG bytes to an embedded store, with the extractors alone; and measure its memory."""
    from aff_benchmarks.bench.bench_index import bench_index  # noqa: PLC0415 - torch is slow to import

    with exit_on_error(as_json):
        found = bench_index(bundle, images, rounds, gallery_size or GALLERY_SIZES, device)
    memory = [
        f"gallery of {size:7} images: peak memory {peak:.0f} MiB, of which {found.peak_anonymous_mb[size]:.0f} "
        f"anonymous; {found.stand_in_images_per_s[size]:.0f} images/s with a stand-in for the extractors"
        for size, peak in found.peak_memory_mb.items()
    ]
    show(
        found,
        as_json,
        f"indexing {found.images_per_s:.0f} images/s, extractors alone {found.bare_images_per_s:.0f}: "
        f"{found.throughput_over_bare:.0%}, upper bound on {found.cores} cores {found.attainable_over_bare:.0%} "
        f"(extractors use {found.bare_cores:.1f}, decoding {found.decode_cores:.1f}; {found.device})",
        *memory,
    )


def remix(
    bundle: BundlePath = DEFAULT_BUNDLE,
    images: Images = 256,
    device: Device = "auto",
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare mixing a gallery again from cached features with decoding and extracting again."""
    from aff_benchmarks.bench.bench_index import bench_remix  # noqa: PLC0415 - torch is slow to import

    with exit_on_error(as_json):
        found = bench_remix(bundle, images, rounds, device)
    show(
        found,
        as_json,
        f"from cached features {found.images_per_s:.0f} images/s, from photographs {found.again_images_per_s:.0f}: "
        f"{found.speedup:.1f} times as fast, {found.bytes_per_image:.0f} bytes per image ({found.device})",
    )


def extractors(
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Format of `aff checkpoints list`, or model such as dinov2-base; repeatable; all by default."
        ),
    ] = None,
    precision: Precision = "fp32",
    batch_size: Annotated[int, typer.Option(min=1, help="Photographs per batch.")] = 8,
    device: Device = "auto",
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Measure extractors with random weights, at their input sizes, relative to the machine's matrix throughput."""
    import aff_benchmarks.bench.bench_extractors as bench  # noqa: PLC0415 - torch is slow to import
    from gallery_indexer.features.networks.layers import device_named  # noqa: PLC0415

    found = []
    with exit_on_error(as_json):
        known = bench.benched_extractors(precision)
        if unknown := sorted(set(only or ()) - set(known)):
            detail = f"unknown extractor {', '.join(unknown)}; known: {', '.join(known)}"
            raise InvalidParameterError(detail, item="--only")
        place = device_named(device)
        for name in only or known:
            one = bench.bench_extractor(name, precision=precision, batch_size=batch_size, rounds=rounds, device=place)
            found.append(one)
            if not as_json:
                output.print(
                    f"{one.name:16} {one.input_size:5} pixels x {one.scales} scales  {one.gflop_per_image:8.1f} GFLOP  "
                    f"{one.images_per_s:8.1f} images/s  {one.tflop_per_s:7.2f} of {one.matrix_tflop_per_s:.1f} TFLOP/s"
                    f"  {one.share:.0%}"
                )
    if as_json:
        print_json([one.model_dump() for one in found])


def show(found: BaseModel, as_json: bool, *lines: str) -> None:
    """Print a result as JSON, or these lines about it."""
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    for line in lines:
        output.print(line)
