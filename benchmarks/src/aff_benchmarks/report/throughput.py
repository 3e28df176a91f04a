"""What indexing costs beside the extractors alone, and beside a plain loop."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from aff_benchmarks.bench.bench_index import IndexBench, bench_index
from aff_benchmarks.bench.bench_training import TrainingBenchSettings, bench_features, bench_training
from aff_benchmarks.report.report import shown
from aff_benchmarks.report.section import BenchContext, Figure, Section, Table, figure, ratio_of
from aff_benchmarks.report.theme import draw_bars, new_plot, save_plot

PLOT = "index_cost.svg"
_IMAGES = 256
_DEVICE = "auto"
_TEXT = """
From JPEG files of 640 x 480 pixels to points in an embedded store, in turn within each repetition:

- **ours**: the indexing pipeline, which decodes beside the extractors, embeds batches and writes many points at once;
- **extractors alone**: extractors and mixer in the same batches, on photographs in memory at their input sizes;
- **plain loop**: the usual tutorial with the same bundle and store: decode with Pillow, preprocess, extract and mix one
  photograph, write one point, and only then look at the next.
"""
_BARE = (
    "On a CPU, decoding takes from the extractors the cores that it needs: `attainable_over_bare` is what they allow."
)
_ATTAINABLE = "What the cores allow of the bare speed."


def index_cost(context: BenchContext) -> Section:
    """Measure.

    Raises:
        BundleError: The bundle cannot be used.
        CalledProcessError: The plain loop failed.
    """
    ours, plain = [], []
    for _ in range(context.repetitions):
        ours.append(bench_index(context.bundle, _IMAGES, 1, (), _DEVICE))
        plain.append(_plain_images_per_s(context.bundle))
    _plot(ours, plain, context.out / PLOT)
    return Section(
        key="index_cost",
        title="What indexing costs",
        text=_TEXT,
        figures=_figures(ours, plain),
        tables=[_table(ours, plain)],
        plots=[PLOT],
        settings={"images": _IMAGES, "batch_size": ours[0].batch_size, "device": ours[0].device},
        details={"ours": [one.model_dump() for one in ours], "plain_images_per_s": plain},
    )


def _plain_images_per_s(bundle: Path) -> float:
    module = "aff_benchmarks.bench.baselines.plain_indexing"
    command = [sys.executable, "-m", module, str(bundle), str(_IMAGES), _DEVICE]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _figures(ours: list[IndexBench], plain: list[float]) -> dict[str, Figure]:
    return {
        "throughput_over_bare": figure([one.throughput_over_bare for one in ours], at_least=0.9, note=_BARE),
        "attainable_over_bare": figure([one.attainable_over_bare for one in ours], note=_ATTAINABLE),
        "ours_over_plain_loop": ratio_of([one.images_per_s for one in ours], plain),
        "images_per_s": figure([one.images_per_s for one in ours], unit="images/s"),
    }


def _rates(ours: list[IndexBench], plain: list[float]) -> dict[str, float]:
    return {
        "extractors alone": statistics.median(one.bare_images_per_s for one in ours),
        "ours": statistics.median(one.images_per_s for one in ours),
        "plain loop": statistics.median(plain),
    }


def _table(ours: list[IndexBench], plain: list[float]) -> Table:
    rows = [[label, shown(rate)] for label, rate in _rates(ours, plain).items()]
    return Table(title="Medians of the repetitions", columns=["", "images/s"], rows=rows)


def _plot(ours: list[IndexBench], plain: list[float], path: Path) -> None:
    drawn, (axes,) = new_plot(height=3.2)
    draw_bars(axes, _rates(ours, plain), "images indexed per second")
    save_plot(drawn, path)


CARDS = "cards.json"
_IMAGES = 128
_TEXT = """
A step of the joint training (features and pixels from the store, augmentation, mixer, query network, losses, backward
pass, optimiser) against the query network's bare forward and backward pass on one batch that stays in memory; and an
extraction from JPEG files into a feature store against the extractors alone on decoded photographs.
"""
_STEP = "The mixer's own passes are part of the step and not of the bare pass: this is what joint training costs."
_EXTRACTION = "On a CPU, decoding takes from the extractors the cores that it needs, and shards are written and hashed."


class CardRun(BaseModel):
    """A comparison of `aff bench` that ran on a machine with a card.

    Attributes:
        card: Its name.
        date: Of the run.
        command: That printed the figures.
        what: Was compared.
        per_s: Images a second of the whole.
        bare_per_s: Images a second of the part that is its floor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: str
    date: str
    command: str
    what: str
    per_s: float
    bare_per_s: float


def training_and_features(context: BenchContext) -> Section:
    """Measure here, and show what was measured on cards, which `cards.json` beside the report holds."""
    steps, extractions = [], []
    settings = TrainingBenchSettings(rounds=1)
    for _ in range(context.repetitions):
        steps.append(bench_training(context.bundle, settings))
        extractions.append(bench_features(context.bundle, _IMAGES, rounds=1))
    figures = {
        "joint_step_over_query_step": figure([one.step_over_bare for one in steps], note=_STEP),
        "joint_images_per_s": figure([one.images_per_s for one in steps], unit="images/s"),
        "extraction_over_extractors": figure(
            [one.extraction_over_bare for one in extractions], at_least=0.9, note=_EXTRACTION
        ),
        "extraction_images_per_s": figure([one.images_per_s for one in extractions], unit="images/s"),
    }
    return Section(
        key="training_and_features",
        title="Training and features",
        text=_TEXT,
        figures=figures,
        tables=_cards(context.out / CARDS),
        settings={"images": _IMAGES, "device": steps[0].device, **settings.model_dump(exclude={"rounds"})},
        details={"training": steps[-1].model_dump(), "features": extractions[-1].model_dump()},
    )


def _cards(path: Path) -> list[Table]:
    if not path.exists():
        return []
    runs = TypeAdapter(list[CardRun]).validate_json(path.read_text(encoding="utf-8"))
    rows = [
        [
            run.card,
            run.date,
            run.what,
            f"{run.per_s:,.0f}",
            f"{run.bare_per_s:,.0f}",
            f"{run.per_s / run.bare_per_s:.2f}",
        ]
        for run in runs
    ]
    columns = ["card", "date", "what", "images/s", "floor, images/s", "share"]
    return [Table(title="On a card, in runs of their own", columns=columns, rows=rows)]
