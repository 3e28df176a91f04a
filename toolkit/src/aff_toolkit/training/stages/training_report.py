"""The report of a training that was judged, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aff_toolkit.export.export_gate import EXPORT_FIGURES
from aff_toolkit.training.stages.judgement import Judgement

REPORT_NAME = "training-report.md"
_FIGURES = {"map": "mAP", "recall_at_1": "recall@1", "recall_at_5": "recall@5", "recall_at_10": "recall@10"}


def write_report(
    path: Path, judgement: Judgement, metrics: Mapping[str, Any], *, base: Path, trained: Path, lines: Sequence[str]
) -> None:
    """Write what was compared, what was kept and why.

    Args:
        path: Of the report.
        judgement: The outcome.
        metrics: Of the trained bundle, with those of its base.
        base: Directory of the base.
        trained: Where the trained bundle lies, whether it was kept or not.
        lines: What the photographs were taken for.
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
        "Chosen by the validation, the weights of the start among them, where photographs were held out for it.",
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
