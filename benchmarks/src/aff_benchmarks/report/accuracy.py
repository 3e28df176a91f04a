"""Retrieval accuracy: AFF compared with the baselines, and the steps of the live path compared with each other."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aff_benchmarks.ablation.report import mean_and_deviation
from aff_benchmarks.report.live_steps import Step, live_steps
from aff_benchmarks.report.section import BenchContext, Figure, Section, Table, figure, ratio_of
from aff_toolkit.evaluation.protocols import Protocol, open_set_protocol, scenes_protocol

_FULL = "full"
# Variants of the ablation.
_BASELINES = {
    _FULL: "AFF: four features, transformer, ArcFace and decoupled regression, momentum",
    "raw_cnn_a_gem": "one global feature as it is, regression (the usual asymmetric search)",
    "raw_cnn_b_gem": "another global feature as it is, regression",
    "single_cnn_a_gem": "one global feature through the transformer",
    "single_cnn_b_gem": "another global feature through the transformer",
    "mlp": "four features, MLP",
    "laff": "four features, LAFF",
    "orthogonal": "four features, orthogonal fusion",
    "csd": "four features, CSD",
    "lce": "four features, LCE",
    "reg": "four features, regression alone",
    "arcface_0.99": "four features, ArcFace alone",
    "arcface_two_stage": "four features, ArcFace alone, mixer first and query encoder afterwards",
}
# Groups of baselines. ArcFace alone with its momentum is AFF itself, as the paper trains it.
_KINDS = {
    "single_feature": ("raw_cnn_a_gem", "raw_cnn_b_gem", "single_cnn_a_gem", "single_cnn_b_gem"),
    "other_mixers": ("mlp", "laff", "orthogonal"),
    "best_baseline": tuple(name for name in _BASELINES if name not in (_FULL, "arcface_0.99")),
}
_SCENES = {"instances": 100, "queries_each": 2, "gallery_each": 6, "distractors": 600, "difficulty": 0.8}
_RESULTS = ("scenes", "scenes-long", "grocery")
_TEXT = """
**AFF and the baselines**: the results of `aff ablate` (its report describes the trainings and evaluates the paper's
findings). Asymmetric: queries by the query encoder, gallery by the mixer; symmetric: the mixer on both sides; light
only: the query encoder on both sides.

**The live path, step by step**: asymmetric mAP@100 of the bundle. The gallery's embeddings are constant; the processing
of the query changes. The torch network has the weights of the ONNX graph, with folded layers, so that the first
difference is rounding. The export itself is checked when a bundle is created.
"""
_WHY = {
    "grocery": "33 instances are too few to train a mixer (docs/results/ablation)",
    "scenes": "4 epochs: a mixer of 18 tokens converges later; the baselines were not trained for longer "
    "(docs/results/ablation)",
}
_KEYS = {
    "ONNX, float32": "onnx_over_torch",
    "ONNX, int8": "int8_over_onnx",
    "embedded store, float32": "stored_over_exact",
    "embedded store, int8": "stored_int8_over_exact",
    "embedded store, turbo4": "stored_turbo4_over_exact",
    "both services over HTTP": "live_over_exact",
    "encoded in Chromium": "browser_over_onnx",
}
_LEAST = 0.99


def accuracy(context: BenchContext) -> Section:
    """Report the ablations, and measure the live path."""
    results = [found for name in _RESULTS if (found := read_ablation(context.ablations / f"{name}.json"))]
    protocols = [scenes_protocol(**_SCENES)]  # type: ignore[arg-type]
    if context.grocery is not None:
        protocols.append(open_set_protocol(context.grocery))
    steps = {protocol.name: live_steps(context.bundle, protocol) for protocol in protocols}
    figures: dict[str, Figure] = {}
    for result in results:
        figures |= _against_baselines(result)
    for name, taken in steps.items():
        figures |= _against_steps(name, taken)
    return Section(
        key="accuracy",
        title="Accuracy",
        text=_TEXT,
        figures=figures,
        tables=[*map(_baselines, results), *(_steps(protocol, steps[protocol.name]) for protocol in protocols)],
        settings={"scenes": _SCENES, "grocery": context.grocery is not None, "seed": 0},
        details={name: [asdict(step) for step in taken] for name, taken in steps.items()},
    )


def _against_baselines(result: AblationResult) -> dict[str, Figure]:
    """Compare asymmetric mAPs with the best baseline of each kind, seed by seed."""
    suffix, full = result.name.replace("-", "_"), result.maps[_FULL]
    figures = {}
    for kind, names in _KINDS.items():
        there = [name for name in names if name in result.maps]
        if there:
            best = max(there, key=lambda name: statistics.mean(result.maps[name]["asymmetric"]))
            note = f"best: {best}"
            found = ratio_of(full["asymmetric"], result.maps[best]["asymmetric"], at_least=1.0, note=note)
            if not found.met and result.name in _WHY:
                found = found.model_copy(update={"note": f"best: {best}. {_WHY[result.name]}"})
            figures[f"aff_over_{kind}_{suffix}"] = found
    figures[f"asymmetric_over_symmetric_{suffix}"] = ratio_of(full["asymmetric"], full["symmetric"])
    return figures


def _against_steps(protocol: str, steps: list[Step]) -> dict[str, Figure]:
    return {
        f"{_KEYS[step.name]}_{protocol}": figure([step.map_at_100 / before], at_least=_LEAST, note=step.note)
        for step, before in _with_earlier(steps)
        if before is not None and step.map_at_100 is not None
    }


def _with_earlier(steps: list[Step]) -> list[tuple[Step, float | None]]:
    """Return the steps, each with the mAP of the one to compare with."""
    maps = {step.name: step.map_at_100 for step in steps}
    return [(step, maps[step.before] if step.before else None) for step in steps]


def _baselines(result: AblationResult) -> Table:
    pairings = ("asymmetric", "symmetric", "light_only")
    return Table(
        title=f"{result.name}: mAP in percent, mean and deviation over seeds; {result.protocol}",
        columns=["variant", "asymmetric", "symmetric", "light only"],
        rows=[
            [text, *(result.cell(name, pairing) for pairing in pairings)]
            for name, text in _BASELINES.items()
            if name in result.maps
        ],
    )


def _steps(protocol: Protocol, steps: list[Step]) -> Table:
    rows = []
    for step, before in _with_earlier(steps):
        known = step.map_at_100 is not None and before is not None
        change = f"{100 * (step.map_at_100 - before):+.2f}" if known else ""  # type: ignore[operator]
        value = f"{100 * step.map_at_100:.2f}" if step.map_at_100 is not None else ""
        rows.append([step.name, value, change, step.before or "", step.note])
    return Table(
        title=f"Step by step, {protocol.name}: asymmetric mAP@100 in percent; {protocol.description}",
        columns=["step", "mAP@100", "difference, points", "compared with", ""],
        rows=rows,
    )


@dataclass(frozen=True, slots=True)
class AblationResult:
    """The ablation results of one benchmark.

    Attributes:
        maps: mAP of each seed, by variant and by pairing (asymmetric, symmetric, light_only).
    """

    name: str
    protocol: str
    maps: Mapping[str, Mapping[str, list[float]]]

    def cell(self, variant: str, pairing: str) -> str:
        """Return mean and sample deviation over seeds in percent."""
        return mean_and_deviation(self.maps[variant][pairing])


def read_ablation(path: Path) -> AblationResult | None:
    """Read a results file of `aff ablate`; return None if it does not exist."""
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    maps = {name: variant["map"] for name, variant in found["variants"].items() if variant["seeds"]}
    return AblationResult(path.stem, found["protocol"], maps)
