"""The speed of indexing, training and feature extraction, compared with the networks alone."""

from __future__ import annotations

import statistics
from pathlib import Path

from pydantic import TypeAdapter

from aff_benchmarks.bench.bench_index import IndexBench, bench_index
from aff_benchmarks.bench.bench_training import TrainingBenchSettings, bench_features, bench_training
from aff_benchmarks.bench.indexing_runs import plain_images_per_s
from aff_benchmarks.records import StrictModel
from aff_benchmarks.report.section import (
    BenchContext,
    Figure,
    Section,
    Table,
    draw_bars,
    figure,
    new_plot,
    ratio_of,
    save_plot,
    shown,
)

PLOT = "index_cost.svg"
CARDS = "cards.json"
_INDEXED_IMAGES, _EXTRACTED_IMAGES = 256, 128
_DEVICE = "auto"
_INDEX_TEXT = """
From JPEG files of 640 x 480 pixels to points in an embedded store, in turn within each repetition:

- **ours**: the indexing pipeline, which decodes in parallel to the extractors, embeds batches and writes many points
  per call;
- **extractors alone**: extractors and mixer in the same batches, on photographs in memory at their input sizes;
- **plain loop**: a tutorial's loop with the same bundle and store: for each photograph, decode with Pillow, preprocess,
  extract, mix, and write one point.
"""
_BARE = "On a CPU, decoding uses cores that the extractors then lack: `attainable_over_bare` is the resulting limit."
_ATTAINABLE = "Limit that the number of cores sets."
_TRAINING_TEXT = """
A joint training step (features and pixels from the store, augmentation, mixer, query network, losses, backward pass,
optimiser) compared with the forward and backward pass of the query network alone on one batch in memory; and a feature
extraction from JPEG files into a feature store compared with the extractors alone on decoded photographs.
"""
_STEP = "The step includes the mixer, the pass of the query network alone does not: this is the cost of joint training."
_EXTRACTION = "On a CPU, decoding uses cores that the extractors then lack, and shards are written and hashed."


class CardRun(StrictModel):
    """A comparison of `aff bench` on a GPU: images per second of a whole operation, and of the networks alone."""

    card: str
    date: str
    command: str
    what: str
    per_s: float
    bare_per_s: float


def index_cost(context: BenchContext) -> Section:
    """Measure indexing."""
    ours, plain = [], []
    for _ in range(context.repetitions):
        ours.append(bench_index(context.bundle, _INDEXED_IMAGES, 1, (), _DEVICE))
        plain.append(plain_images_per_s(context.bundle, _INDEXED_IMAGES, _DEVICE))
    rates = {
        "extractors alone": statistics.median(one.bare_images_per_s for one in ours),
        "ours": statistics.median(one.images_per_s for one in ours),
        "plain loop": statistics.median(plain),
    }
    drawn, (axes,) = new_plot(height=3.2)
    draw_bars(axes, rates, "images indexed per second")
    save_plot(drawn, context.out / PLOT)
    rows = [[label, shown(rate)] for label, rate in rates.items()]
    return Section(
        key="index_cost",
        title="Cost of indexing",
        text=_INDEX_TEXT,
        figures=_index_figures(ours, plain),
        tables=[Table(title="Medians of the repetitions", columns=["", "images/s"], rows=rows)],
        plots=[PLOT],
        settings={"images": _INDEXED_IMAGES, "batch_size": ours[0].batch_size, "device": ours[0].device},
        details={"ours": [one.model_dump() for one in ours], "plain_images_per_s": plain},
    )


def _index_figures(ours: list[IndexBench], plain: list[float]) -> dict[str, Figure]:
    return {
        "throughput_over_bare": figure([one.throughput_over_bare for one in ours], at_least=0.9, note=_BARE),
        "attainable_over_bare": figure([one.attainable_over_bare for one in ours], note=_ATTAINABLE),
        "ours_over_plain_loop": ratio_of([one.images_per_s for one in ours], plain),
        "images_per_s": figure([one.images_per_s for one in ours], unit="images/s"),
    }


def training_and_features(context: BenchContext) -> Section:
    """Measure training and feature extraction, and show the GPU runs of `cards.json` in the report's directory."""
    steps, extractions = [], []
    settings = TrainingBenchSettings(rounds=1)
    for _ in range(context.repetitions):
        steps.append(bench_training(context.bundle, settings))
        extractions.append(bench_features(context.bundle, _EXTRACTED_IMAGES, rounds=1))
    shares = [one.extraction_over_bare for one in extractions]
    figures = {
        "joint_step_over_query_step": figure([one.step_over_bare for one in steps], note=_STEP),
        "joint_images_per_s": figure([one.images_per_s for one in steps], unit="images/s"),
        "extraction_over_extractors": figure(shares, at_least=0.9, note=_EXTRACTION),
        "extraction_images_per_s": figure([one.images_per_s for one in extractions], unit="images/s"),
    }
    return Section(
        key="training_and_features",
        title="Training and features",
        text=_TRAINING_TEXT,
        figures=figures,
        tables=_gpu_runs(context.out / CARDS),
        settings={"images": _EXTRACTED_IMAGES, "device": steps[0].device, **settings.model_dump(exclude={"rounds"})},
        details={"training": steps[-1].model_dump(), "features": extractions[-1].model_dump()},
    )


def _gpu_runs(path: Path) -> list[Table]:
    if not path.exists():
        return []
    runs = TypeAdapter(list[CardRun]).validate_json(path.read_text(encoding="utf-8"))
    rows = [
        [run.card, run.date, run.what, *(f"{rate:,.0f}" for rate in rates), f"{rates[0] / rates[1]:.2f}"]
        for run in runs
        for rates in [(run.per_s, run.bare_per_s)]
    ]
    columns = ["GPU", "date", "operation", "images/s", "networks alone, images/s", "share"]
    return [Table(title="On GPUs, in separate runs", columns=columns, rows=rows)]
