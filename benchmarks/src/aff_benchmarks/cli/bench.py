"""`aff bench`: how fast it is, as ratios."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from aff_benchmarks.cli.bench_all import everything
from aff_benchmarks.cli.bench_load import load
from aff_benchmarks.cli.bench_shards import shards
from aff_shared.errors import InvalidParameterError
from aff_toolkit.cli.console import DEFAULT_BUNDLE, BundlePath, Device, JsonOption, exit_on_error, output, print_json

app = typer.Typer(help="Measure speed, as ratios taken in one run.", no_args_is_help=True)
app.command("all")(everything)
app.command()(load)
app.command()(shards)

_GALLERY_SIZES = (1_000, 10_000, 100_000)

Rounds = Annotated[int, typer.Option(min=1, help="Rounds, of which the median counts.")]


@app.command()
def train(
    bundle: BundlePath = DEFAULT_BUNDLE,
    query_backbone: Annotated[str, typer.Option(help="Query network.")] = "residual-16",
    train_size: Annotated[int, typer.Option(min=16, help="Pixels of a side.")] = 96,
    batch_size: Annotated[int, typer.Option(min=2, help="Photographs of a step.")] = 64,
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the forward pass.")] = "fp32",
    reading_threads: Annotated[int, typer.Option(min=1, help="Threads that read batches ahead.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a round.")] = 10,
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare a step of the joint training with the query network's bare forward and backward pass."""
    from aff_benchmarks.bench.bench_training import TrainingBenchSettings, bench_training  # noqa: PLC0415 - torch
    from aff_toolkit.models.query_backbones import QUERY_BACKBONES  # noqa: PLC0415

    with exit_on_error(as_json):
        if query_backbone not in QUERY_BACKBONES:
            known = ", ".join(QUERY_BACKBONES)
            raise InvalidParameterError(f"there is no {query_backbone}; there are {known}", item="--query-backbone")
        settings = TrainingBenchSettings(
            backbone=query_backbone,
            train_size=train_size,
            batch_size=batch_size,
            precision=precision,
            reading_threads=reading_threads,
            steps=steps,
            rounds=rounds,
        )
        found = bench_training(bundle, settings)
    if as_json:
        print_json(found.model_dump())
        return
    output.print(
        f"joint step {found.images_per_s:.0f} images/s, query network alone {found.bare_images_per_s:.0f}: "
        f"{found.step_over_bare:.0%} ({query_backbone} at {train_size} pixels, {found.tokens} tokens, "
        f"{found.threads} threads, {found.device})"
    )


@app.command()
def features(
    bundle: BundlePath = DEFAULT_BUNDLE,
    images: Annotated[int, typer.Option(min=1, help="Photographs of a round.")] = 256,
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare an extraction from JPEG files to a feature store with the extractors alone."""
    from aff_benchmarks.bench.bench_training import bench_features  # noqa: PLC0415 - torch takes seconds

    with exit_on_error(as_json):
        found = bench_features(bundle, images, rounds)
    if as_json:
        print_json(found.model_dump())
        return
    output.print(
        f"extraction {found.images_per_s:.0f} images/s, extractors alone {found.bare_images_per_s:.0f}: "
        f"{found.extraction_over_bare:.0%} ({found.threads} threads, {found.device})"
    )


@app.command()
def index(
    bundle: BundlePath = DEFAULT_BUNDLE,
    images: Annotated[int, typer.Option(min=1, help="Photographs of a round.")] = 256,
    gallery_size: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Images of a gallery whose memory is measured. [default: 1000, 10000, 100000]"),
    ] = None,
    device: Device = "auto",
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare indexing, from JPEG bytes to an embedded store, with the extractors alone; and show its memory."""
    from aff_benchmarks.bench.bench_index import bench_index  # noqa: PLC0415 - torch takes seconds

    with exit_on_error(as_json):
        found = bench_index(bundle, images, rounds, gallery_size or _GALLERY_SIZES, device)
    if as_json:
        print_json(found.model_dump())
        return
    output.print(
        f"indexing {found.images_per_s:.0f} images/s, extractors alone {found.bare_images_per_s:.0f}: "
        f"{found.throughput_over_bare:.0%}, where {found.cores} cores allow {found.attainable_over_bare:.0%} "
        f"(extractors {found.bare_cores:.1f}, decoding {found.decode_cores:.1f} of them; {found.device})"
    )
    for size, peak in found.peak_memory_mb.items():
        output.print(
            f"gallery of {size:7} images: peak memory {peak:.0f} MiB, of which {found.peak_anonymous_mb[size]:.0f} "
            f"anonymous; {found.stand_in_images_per_s[size]:.0f} images/s with a stand-in for the extractors"
        )


@app.command()
def query(
    bundle: BundlePath = DEFAULT_BUNDLE,
    gallery: Annotated[int, typer.Option(min=1, help="Images of the gallery.")] = 50_000,
    searches: Annotated[int, typer.Option(min=8, help="Searches of a round.")] = 200,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of each load.")] = 5.0,
    growth: Annotated[
        list[int] | None,
        typer.Option(
            min=10,
            help="Images of a gallery whose vector search is measured. [default: 1000, 10000, 100000; 500000 takes "
            "half an hour]",
        ),
    ] = None,
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare a search through the query service with decoding, encoder and vector search in a bare loop."""
    from aff_benchmarks.bench.bench_query import bench_query  # noqa: PLC0415 - takes a while to import

    with exit_on_error(as_json):
        found = bench_query(
            bundle,
            gallery=gallery,
            rounds=rounds,
            searches=searches,
            seconds=seconds,
            growth_sizes=growth or _GALLERY_SIZES,
        )
    if as_json:
        print_json(found.model_dump())
        return
    output.print(
        f"one client: {found.p50_ms:.2f} ms, {found.p50_over_floor:.2f} of the floor ({found.floor_p50_ms:.2f} ms); as "
        f"a form {found.form_p50_over_floor:.2f}; 12 megapixels {found.p50_12mp_over_640px:.2f} of 640 pixels "
        f"(floor {found.floor_12mp_over_640px:.2f})\n"
        f"16 clients: {found.per_s:.0f} searches/s, {found.throughput_over_floor:.2f} of the floor "
        f"({found.floor_per_s:.0f}); p99 {found.p99_over_p50_at_70pct:.1f} of p50 at 70 % load\n"
        f"ready after {found.ready_s:.2f} s; {found.resident_mb:.0f} MiB resident beside the model, of which "
        f"{found.resident_anonymous_mb:.0f} anonymous ({found.gallery} images, {found.cores} cores)"
    )
    for point in found.overload:
        output.print(
            f"{point.load:4.1f} of the capacity: {point.per_s:5.0f} searches/s, p50 {point.p50_ms:6.1f} ms, "
            f"p99 {point.p99_ms:6.1f} ms, {point.refused:.0%} answered with 429"
        )
    for size in found.growth:
        output.print(
            f"{size.images:7} images, {size.quantization:6}: vector search p50 {size.p50_ms:.2f} ms, p99 "
            f"{size.p99_ms:.2f} ms, exact {size.exact_p50_ms:.2f} ms; recall@10 {size.recall_at_10:.4f}; "
            f"{size.disk_mb:.0f} MiB on the disk"
        )


@app.command()
def remix(
    bundle: BundlePath = DEFAULT_BUNDLE,
    images: Annotated[int, typer.Option(min=1, help="Photographs of a round.")] = 256,
    device: Device = "auto",
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare fusing a gallery again from kept tokens with decoding and extracting again."""
    from aff_benchmarks.bench.bench_remix import bench_remix  # noqa: PLC0415 - torch takes seconds

    with exit_on_error(as_json):
        found = bench_remix(bundle, images, rounds, device)
    if as_json:
        print_json(found.model_dump())
        return
    output.print(
        f"from kept tokens {found.images_per_s:.0f} images/s, from photographs {found.again_images_per_s:.0f}: "
        f"{found.speedup:.1f} times as fast, {found.bytes_per_image:.0f} bytes an image ({found.device})"
    )


@app.command()
def extractors(
    only: Annotated[
        list[str] | None, typer.Option(help="A format of `aff checkpoints list`, or a model such as dinov2-base.")
    ] = None,
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the networks.")] = "fp32",
    batch_size: Annotated[int, typer.Option(min=1, help="Photographs that go through together.")] = 8,
    device: Device = "auto",
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Measure extractors at their own input sizes, with fresh weights, beside the machine's matrix throughput."""
    from aff_benchmarks.bench.bench_extractors import (
        bench_extractor,
        benched_extractors,
    )
    from gallery_indexer.features.device import device_named  # noqa: PLC0415

    found = []
    with exit_on_error(as_json):
        known = benched_extractors(precision)
        for name in only or known:
            if name not in known:
                raise InvalidParameterError(f"there is no {name}; there are {', '.join(known)}", item="--only")
            one = bench_extractor(
                name,
                precision=precision,
                batch_size=batch_size,
                rounds=rounds,
                device=device_named(device),
            )
            found.append(one)
            if not as_json:
                output.print(
                    f"{one.name:16} {one.input_size:5} pixels x {one.scales} scales  {one.gflop_per_image:8.1f} GFLOP  "
                    f"{one.images_per_s:8.1f} images/s  {one.tflop_per_s:7.2f} of {one.matrix_tflop_per_s:.1f} TFLOP/s"
                    f"  {one.share:.0%}"
                )
    if as_json:
        print_json([one.model_dump() for one in found])
