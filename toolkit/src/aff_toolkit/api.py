"""Training and evaluation by a call, as `aff train` and `aff evaluate` do them; see docs/python.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from aff_shared.bundles.default_bundle import default_bundle
from aff_shared.errors import InvalidParameterError
from aff_toolkit.evaluation import BenchmarkName
from aff_toolkit.evaluation.evaluation_record import MODES, Advance, EvaluationConfig, Mode, Similarity
from aff_toolkit.evaluation.evaluation_report import EvaluationReport
from aff_toolkit.evaluation.export_rankings import ExportRankings
from aff_toolkit.evaluation.given_rankings import export_given
from aff_toolkit.evaluation.score_evaluation import score_evaluation
from aff_toolkit.models.loaded_bundle import Bundle
from aff_toolkit.training.default_recipe import recipe_for_path
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.recipe import load_recipe
from aff_toolkit.training.stages.evaluate_bundle import protocols_of_recipe
from aff_toolkit.training.stages.train_bundle import TrainBundle, TrainingOutcome


def train(
    source: str | Path,
    output: str | Path,
    *,
    base: str | Path | None = None,
    work_directory: str | Path | None = None,
    trackers: Sequence[str] | None = None,
    quiet: bool = False,
    **settings: Any,
) -> TrainingOutcome:
    """Train a bundle, as `aff train` does; a killed training resumes when it is called again.

    Args:
        source: A recipe (`.toml`), or photographs: a folder, a list or a data set (docs/training.md).
        output: Directory of the new bundle.
        base: With photographs: bundle to start from; None for the default bundle.
        work_directory: Directory of features, checkpoints and logs; None for `out/train/NAME`.
        trackers: Trackers of the figures, instead of the recipe's; `[]` for none.
        quiet: Whether to print nothing.
        settings: With photographs: `gallery`, `backbone`, `epochs`, `labelled` of recipe_for_path.

    Returns:
        The manifest, and the judgement against the base: `judgement.kept` is `base` if there was no gain.

    Raises:
        AffError: The recipe, the photographs or the base cannot be used, or the training fails.
    """
    path, place = Path(source), Path(output)
    if path.suffix == ".toml":
        if base is not None or settings:
            raise InvalidParameterError("a recipe contains all settings", item=next(iter(settings), "base"))
        recipe = load_recipe(path)
    else:
        recipe = recipe_for_path(path, default_bundle() if base is None else Path(base), **settings)
    work = Path("out/train") / place.resolve().name if work_directory is None else Path(work_directory)
    console = Console(stderr=True, quiet=quiet)
    log = TrainingLog(work, console, recipe.trackers if trackers is None else trackers, recipe.model_dump(mode="json"))
    return TrainBundle(recipe, work, log).run(place, protocols_of_recipe(recipe))


def evaluate(
    subject: Bundle | tuple[str | Path, str | Path],
    benchmark: BenchmarkName,
    path: str | Path | None = None,
    *,
    output: str | Path,
    modes: Sequence[Mode] = MODES,
    baselines: bool = False,
    depth: int = 1000,
    similarity: Similarity = "cosine",
) -> EvaluationReport:
    """Evaluate a bundle, or features of another program, as `aff evaluate` does, and write the report.

    Args:
        subject: A bundle, or files of features of the gallery and of the queries (docs/evaluation.md).
        benchmark: Name of the benchmark.
        path: Its files; None for `scenes`.
        output: Directory of rankings and report; a killed evaluation resumes.
        modes: Pairings of the bundle's encoders.
        baselines: Whether baselines without training are measured too.
        depth: Gallery images kept per ranking.
        similarity: How given features are compared.

    Returns:
        The report: `report.modes["asymmetric"].setups["all"].figures["map"]`; `features` is the mode of given features.

    Raises:
        BenchmarkError: The benchmark cannot be used.
        FeaturesError: The features cannot be used.
        RankingsError: The directory contains another evaluation, or cannot be written.
        BundleError, EncoderError: An encoder cannot be loaded, or fails.
        InvalidParameterError: An argument has another value than these.
    """
    place, given = Path(output), not isinstance(subject, Bundle)
    config = _config(
        benchmark={"name": benchmark, "path": None if path is None else Path(path).resolve()},
        depth=depth,
        precision=subject.precision if isinstance(subject, Bundle) else "auto",
        given="features" if given else None,
        similarity=similarity,
    )
    if isinstance(subject, Bundle):
        _require_modes(modes)
        ExportRankings(config, subject.directory, place, _no_bar).run(modes, baselines=baselines)
    else:
        export_given(config, _feature_files(subject), place, _no_bar)
    return score_evaluation(place)


def _config(**settings: Any) -> EvaluationConfig:
    try:
        return EvaluationConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidParameterError(f"{first['input']!r}: {first['msg']}", item=str(first["loc"][0])) from error


def _require_modes(modes: Sequence[Mode]) -> None:
    if isinstance(modes, str) or not modes or not set(modes) <= set(MODES):
        raise InvalidParameterError(f"{modes!r} is not a list of {', '.join(MODES)}", item="modes")


def _feature_files(subject: Any) -> list[Path]:
    if isinstance(subject, tuple | list) and [isinstance(one, str | Path) for one in subject] == [True, True]:
        return [Path(one) for one in subject]
    detail = "is neither a Bundle (load_bundle) nor two paths of features, of the gallery and of the queries"
    raise InvalidParameterError(detail, item="subject")


@contextmanager
def _no_bar(_description: str, _total: int) -> Iterator[Advance]:
    yield lambda _count: None
