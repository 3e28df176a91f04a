"""Selects the better of a trained bundle and its base by photographs held out of the training.

The rule: asymmetric search with both bundles is measured on the same queries by mAP and recall@1, and each difference
has a 95 % interval by the paired bootstrap over the held-out instances. The trained bundle is kept if the whole
interval of the mAP is above 0 and recall@1 did not fall; otherwise the base is kept. At least five instances are
needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.retrieval_scores import QueryScores, bootstrap_interval, difference
from aff_toolkit.export.export_gate import EXPORT_FIGURES
from aff_toolkit.training.recipe import RecipeError, TrainingRecipe
from aff_toolkit.training.stages.held_out import TrainingPhotographs

FEWEST_INSTANCES = 5
_POINTS = 100
REPORT_NAME = "training-report.md"
_FIGURES = {"map": "mAP", "recall_at_1": "recall@1", "recall_at_5": "recall@5", "recall_at_10": "recall@10"}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Difference(_Model):
    """A figure before and after the training, from 0 to 1, and the 95 % interval of after - before."""

    before: float
    after: float
    low: float
    high: float

    def describe(self) -> str:
        """Return the figures as text, in percent."""
        gain, low, high = (_POINTS * value for value in (self.after - self.before, self.low, self.high))
        return (
            f"{_POINTS * self.before:.1f} before, {_POINTS * self.after:.1f} after: {gain:+.1f} points, 95 % interval "
            f"{low:+.1f} to {high:+.1f}"
        )


class Judgement(_Model):
    """The bundle that is kept, and the reason.

    Attributes:
        protocol: Description of the protocol.
        queries: Number of queries.
        instances: Number of queried instances.
        map: mAP of asymmetric search; `recall_at_1` is its recall@1.
        steps: Number of steps after which the weights were saved, and number of all steps, by training stage.
    """

    kept: Literal["trained", "base"]
    protocol: str
    queries: int
    instances: int
    map: Difference
    recall_at_1: Difference
    steps: Mapping[str, tuple[int, int]] = {}

    def describe(self) -> str:
        """Return the outcome in a sentence."""
        kept = "Kept: the trained bundle." if self.kept == "trained" else "Nothing was gained: the base is kept."
        return (
            f"{kept} mAP {self.map.describe()}; recall@1 {self.recall_at_1.describe()} ({self.queries} queries for "
            f"{self.instances} things held out)"
        )


def can_judge(protocol: Protocol) -> bool:
    """Return whether a protocol queries enough instances that have positives in its gallery."""
    if protocol.originals is not None:
        return len(protocol.originals) >= FEWEST_INSTANCES
    relevant = protocol.relevance().relevant
    asked = {query.instance for query, rows in zip(protocol.queries, relevant, strict=True) if len(rows)}
    return len(asked) >= FEWEST_INSTANCES


def judge(
    protocol: Protocol, before: QueryScores, after: QueryScores, steps: Mapping[str, tuple[int, int]]
) -> Judgement:
    """Compare the asymmetric scores of a base with those of what was trained on it, by the module's rule."""
    instances = [protocol.queries[query].instance for query in before.queries]
    precision = _difference(before.average_precisions, after.average_precisions, instances)
    recall = _difference(before.found_first, after.found_first, instances)
    return Judgement(
        kept="trained" if precision.low > 0 and recall.after >= recall.before else "base",
        protocol=protocol.description,
        queries=len(instances),
        instances=len(set(instances)),
        map=precision,
        recall_at_1=recall,
        steps=steps,
    )


def _difference(before: NDArray[np.float64], after: NDArray[np.float64], instances: Sequence[str]) -> Difference:
    low, high = bootstrap_interval(after, before, difference, groups=instances)
    return Difference(before=float(before.mean()), after=float(after.mean()), low=low, high=high)


def require_judge(recipe: TrainingRecipe, photographs: TrainingPhotographs, protocols: Sequence[Protocol]) -> None:
    """Check before a training that a protocol can decide which bundle is better, if the recipe keeps the better one.

    Raises:
        RecipeError: There is no base to compare with.
        TooFewPhotographsError: No protocol queries enough instances.
    """
    if recipe.evaluation.keep == "trained":
        return
    if recipe.base is None:
        raise RecipeError("there is no base to compare the trained bundle with", item="evaluation.keep")
    held_out = photographs.protocol(recipe.seed, unreadable=())
    if any(can_judge(protocol) for protocol in (*protocols, *([held_out] if held_out else []))):
        return
    things = len({photograph.instance for photograph in photographs.held_out})
    raise TooFewPhotographsError(
        f"{things} instances can be held out, but {FEWEST_INSTANCES} are needed for a comparison: use photographs of "
        f"at least {2 * FEWEST_INSTANCES} instances, two or more of each, or pass a list with --labels, or train with "
        "--unlabelled",
        item="evaluation.held_out_share",
    )


def write_report(
    path: Path, judgement: Judgement, metrics: Mapping[str, Any], *, base: Path, trained: Path, lines: Sequence[str]
) -> None:
    """Write the compared bundles, the kept one and the reason.

    `metrics` are those of the trained bundle, which include those of its base; `lines` describe the photographs.
    """
    steps = [f"- {stage}: weights after step {step} of {total}" for stage, (step, total) in judgement.steps.items()]
    kept = "the trained bundle" if judgement.kept == "trained" else "the base"
    stated = [
        *lines,
        f"judged by: {judgement.protocol}",
        f"base: {base}",
        f"trained bundle: {trained}",
        f"kept: {kept}",
    ]
    parts = [
        "# Training",
        f"{judgement.describe()}.",
        "\n".join(f"- {line}" for line in stated),
        "## Steps",
        "Selected by the validation, if photographs were held out for it; the initial weights are candidates too.",
        "\n".join(steps),
        *(_table(measured) for name, measured in metrics.items() if name != EXPORT_FIGURES),
    ]
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def _table(measured: Mapping[str, Any]) -> str:
    rows = [
        f"| {pairing} | {when} | " + " | ".join(f"{100 * scores[figure]:.1f}" for figure in _FIGURES) + " |"
        for key, when in (("scores", "after"), ("before", "before"))
        for pairing, scores in measured.get(key, {}).items()
    ]
    heading = f"## {measured['protocol'].split(':')[0]}\n\n{measured['protocol']}; percent\n\n"
    columns = ["pairing", "", *_FIGURES.values()]
    return heading + "\n".join(["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *rows])
