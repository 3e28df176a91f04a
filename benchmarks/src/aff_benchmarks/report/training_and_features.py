"""What the frame around training and extraction costs."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from aff_benchmarks.bench.bench_features import bench_features
from aff_benchmarks.bench.bench_training import TrainingBenchSettings, bench_training
from aff_benchmarks.report.figure import figure
from aff_benchmarks.report.section import BenchContext, Section, Table

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
