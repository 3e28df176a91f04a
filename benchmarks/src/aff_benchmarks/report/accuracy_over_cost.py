"""Accuracy against query cost, for AFF and other training methods, as in the paper's Figure 2."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from aff_benchmarks.ablation.report import mean_and_deviation
from aff_benchmarks.bench.measuring import median_seconds
from aff_benchmarks.records import FrozenModel
from aff_benchmarks.report.section import (
    COLOURS,
    BenchContext,
    Figure,
    Section,
    Table,
    draw_line,
    figure,
    new_plot,
    ratio_of,
    save_plot,
    shown,
)
from aff_benchmarks.report.trained_encoders import (
    WAYS,
    EncoderScore,
    EncoderTrainings,
    Way,
    gallery_references,
    train_encoders,
)
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.export.query_encoder_graph import export_query_encoder
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.query_encoder import QUERY_BACKBONES
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder

PLOT = "accuracy_over_cost.svg"
_WORK = Path("out/bench-encoders")
_RUNS, _WARM_UP = 20, 3
_TRAININGS = EncoderTrainings()
_NAMES: Mapping[Way, str] = {
    "aff": "AFF",
    "fused_regression": "regression, fused gallery",
    "single_feature": "regression, one feature",
    "light_only": "light network on both sides",
}
_TEXT = """
Small query encoders of several costs, trained for the bundle's gallery side, which is frozen. All start from one
contrastive pretraining of their backbone, and train on the same photographs for the same number of epochs. The training
landmarks, those of the bundle's networks, and those of the queries are disjoint:

- **AFF**: ArcFace with the prototypes of the mixer's embeddings, and regression to them, with the fused gallery;
- **regression, fused gallery**: regression to the mixer's embeddings alone;
- **regression, one feature**: regression to one unchanged global feature, which is also the gallery (asymmetric metric
  learning, without fusion);
- **light network on both sides**: the contrastive training continues; the encoder also embeds the gallery, which is
  indexed again for each encoder.

Since the gallery side is frozen, AFF is the second of two training stages here; the ablation covers joint training. The
trainings are short, and the photographs small: compare the order of the lines, not their absolute values.
"""


def accuracy_over_cost(context: BenchContext) -> Section:
    """Run the missing trainings, and measure; the first run takes a quarter of an hour on two cores."""
    base = BaseBundle.open(context.bundle)
    materials, scores = train_encoders(base, _TRAININGS, _WORK)
    references = gallery_references(materials)
    costs = _costs(base.manifest.space.dimension, context.repetitions)
    _plot(scores, costs, references, context.out / PLOT)
    return Section(
        key="accuracy_over_cost",
        title="Accuracy against query cost",
        text=_TEXT,
        figures=_figures(scores, references),
        tables=[_table(scores, costs, references)],
        plots=[PLOT],
        settings=_settings(),
        details={
            "scores": [asdict(score) for score in scores],
            "costs": [cost.model_dump() for cost in costs],
            "gallery_side_on_both_sides": references,
            "trainings": _TRAININGS.model_dump(mode="json"),
        },
    )


def _settings() -> dict[str, object]:
    trainings, source = _TRAININGS, _TRAININGS.source
    return {
        "seeds": list(trainings.seeds),
        "photographs": source.instances * source.views,
        "epochs": f"{trainings.pretraining.epochs} of pretraining, {trainings.training.epochs} of training",
        "pixels": f"{trainings.train_size} in training, {trainings.input_size} in service",
        "threads": 1,
    }


def _costs(dimension: int, repetitions: int) -> list[EncoderFigures]:
    """Return the median run of every backbone, the cheapest first."""
    size, costs = _TRAININGS.input_size, []
    for name in _TRAININGS.backbones:
        runs = [measure_encoder(name, size=size, dimension=dimension, threads=1) for _ in range(repetitions)]
        costs.append(sorted(runs, key=lambda run: run.latency_ms)[len(runs) // 2])
    return sorted(costs, key=lambda cost: cost.mflop)


def _maps(scores: Sequence[EncoderScore], way: Way, backbone: str | None = None) -> list[float]:
    return [score.map for score in scores if score.way == way and backbone in {None, score.backbone}]


def _figures(scores: Sequence[EncoderScore], references: Mapping[Way, float]) -> dict[str, Figure]:
    """Return ratios within each encoder and seed."""
    ours = _maps(scores, "aff")
    figures = {
        f"aff_over_{way}": ratio_of(ours, theirs, at_least=1.0, note=_note(way, references))
        for way in WAYS
        if way != "aff" and (theirs := _maps(scores, way))
    }
    figures["aff_over_mixer_on_both_sides"] = figure([one / references["aff"] for one in ours])
    return figures


def _note(way: Way, references: Mapping[Way, float]) -> str:
    """Return a remark if the gallery without fusion is more accurate on both sides."""
    if references.get(way, 0.0) <= references["aff"]:
        return ""
    return (
        f"On both sides, this bundle's single feature reaches {100 * references[way]:.1f}, its fused vectors "
        f"{100 * references['aff']:.1f}: fusion does not help on these scenes, and the comparison shows which target a "
        "small network fits sooner. The ablation has galleries of several networks (docs/results/ablation)."
    )


def _table(scores: Sequence[EncoderScore], costs: Sequence[EncoderFigures], references: Mapping[Way, float]) -> Table:
    ways = [way for way in WAYS if _maps(scores, way)]
    both = ", ".join(f"{100 * value:.1f} ({_NAMES[way]})" for way, value in references.items())
    return Table(
        title=f"mAP in percent; {_TRAININGS.protocol.description}. The gallery side on both sides: {both}",
        columns=["encoder", "parameters", "MFLOP", "ms", *(_NAMES[way] for way in ways)],
        rows=[
            [
                cost.name,
                f"{cost.parameters:,}",
                shown(cost.mflop),
                f"{cost.latency_ms:.2f}",
                *(mean_and_deviation(_maps(scores, way, cost.name)) for way in ways),
            ]
            for cost in costs
        ],
    )


def _plot(
    scores: Sequence[EncoderScore], costs: Sequence[EncoderFigures], references: Mapping[Way, float], path: Path
) -> None:
    drawn, panels = new_plot(2, height=4.2)
    for axes, attribute, label in zip(
        panels, ("mflop", "latency_ms"), ("MFLOP of a query", "ms of a query, one thread"), strict=True
    ):
        places = {cost.name: float(getattr(cost, attribute)) for cost in costs}
        names = sorted(places, key=lambda name: places[name])
        for number, way in enumerate(WAYS):
            if _maps(scores, way):
                heights = [100 * statistics.mean(_maps(scores, way, name)) for name in names]
                draw_line(axes, number, _NAMES[way], [places[name] for name in names], heights)
        axes.axhline(
            100 * references["aff"], color=COLOURS[0], linestyle="--", linewidth=1, label="mixer on both sides"
        )
        axes.set(xscale="log", xlabel=label, title="mAP, percent")
        axes.set_xticks([places[name] for name in names], [f"{name}  {shown(places[name])}" for name in names])
        axes.tick_params(axis="x", labelrotation=90, labelsize=8)
        axes.minorticks_off()
        axes.margins(x=0.1, y=0.1)
    lines, labels = panels[0].get_legend_handles_labels()
    ink = panels[0].title.get_color()
    drawn.legend(
        lines, labels, loc="outside lower center", ncols=len(labels), fontsize=8, labelcolor=ink, frameon=False
    )
    save_plot(drawn, path)


class EncoderFigures(FrozenModel):
    """The cost of a query backbone.

    Attributes:
        mflop: 10^6 multiply-adds per photograph.
        onnx_mb: Size of the float32 graph in 10^6 bytes.
        latency_ms: Median latency of encoding one photograph as the query service does.
    """

    name: str
    parameters: int
    mflop: float
    onnx_mb: float
    latency_ms: float
    size: int
    dimension: int
    threads: int


def measure_encoder(name: str, *, size: int, dimension: int, threads: int) -> EncoderFigures:
    """Build a backbone with random weights, export it, and run the graph."""
    torch.manual_seed(0)
    encoder = QUERY_BACKBONES[name].build(dimension).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoder(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "query_encoder.onnx")
        export_query_encoder(encoder, size, path)
        served = OnnxQueryEncoder.open(path, Preprocessing(resize="stretch", size=size), dimension, threads=threads)
        return EncoderFigures(
            name=name,
            parameters=sum(parameter.numel() for parameter in encoder.parameters()),
            mflop=counter.get_total_flops() / 2e6,
            onnx_mb=path.stat().st_size / 1e6,
            latency_ms=1e3 * median_seconds(lambda: served.encode([image]), _RUNS, warm_up=_WARM_UP),
            size=size,
            dimension=dimension,
            threads=threads,
        )
