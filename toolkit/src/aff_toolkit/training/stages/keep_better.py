"""Writes the better of a trained bundle and its base, if the recipe requests it, with a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aff_shared.bundles.bundle import load_manifest
from aff_toolkit.data.training_source import describe_sources
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.export.bundle_files import put_bundle
from aff_toolkit.export.export_gate import EXPORT_FIGURES
from aff_toolkit.training.recipe.training_recipe import RecipeError, TrainingRecipe
from aff_toolkit.training.stages.bundle_writer import BundleWriter
from aff_toolkit.training.stages.held_out import TrainingPhotographs
from aff_toolkit.training.stages.joint_training import TrainedPair
from aff_toolkit.training.stages.judgement import FEWEST_INSTANCES, Judgement, can_judge

REPORT_NAME = "training-report.md"
_FIGURES = {"map": "mAP", "recall_at_1": "recall@1", "recall_at_5": "recall@5", "recall_at_10": "recall@10"}


def require_judge(recipe: TrainingRecipe, photographs: TrainingPhotographs, protocols: Sequence[Protocol]) -> None:
    """Check before a training that a protocol can decide which bundle is better.

    Args:
        recipe: Recipe; only one that keeps the better bundle needs a protocol.
        photographs: Photographs, including the held-out ones.
        protocols: Other protocols that measure the bundle.

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


def write_kept(
    writer: BundleWriter, pair: TrainedPair, output: Path, protocols: Sequence[Protocol], trained: Path
) -> Judgement | None:
    """Write the bundle that the recipe keeps; if it keeps the better one, also write a report.

    Args:
        writer: Writer of the trained bundle.
        pair: The trained pair.
        output: Directory of the bundle; a kept base is copied exactly.
        protocols: Protocols that measure both bundles; see require_judge.
        trained: Directory of the trained bundle, which remains there.

    Returns:
        See BundleWriter.write.

    Raises:
        AffError: See BundleWriter.write.
        OSError: The disk is full or not writable.
    """
    recipe, base = writer.recipe, writer.gallery.base
    if base is None or recipe.evaluation.keep == "trained":
        (output / REPORT_NAME).unlink(missing_ok=True)
        return writer.write(pair, output, protocols)
    judgement = writer.write(pair, trained, protocols)
    assert judgement is not None, "require_judge requires a protocol that judges"
    put_bundle(trained if judgement.kept == "trained" else base.directory, output)
    metrics, lines = load_manifest(trained).metrics, describe_sources(recipe.joint.sources)
    write_report(output / REPORT_NAME, judgement, metrics, base=base.directory, trained=trained, lines=lines)
    return judgement


def write_report(
    path: Path, judgement: Judgement, metrics: Mapping[str, Any], *, base: Path, trained: Path, lines: Sequence[str]
) -> None:
    """Write the compared bundles, the kept one and the reason.

    Args:
        path: Path of the report.
        judgement: Judgement of both bundles.
        metrics: Metrics of the trained bundle, which include those of its base.
        base: Directory of the base.
        trained: Directory of the trained bundle.
        lines: Descriptions of the photographs.
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
