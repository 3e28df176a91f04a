"""`aff train`: by a recipe, for a user's own photographs, or a new query encoder for an existing gallery."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from aff_shared.errors import InvalidParameterError
from aff_toolkit.cli.bundle import fallen, metrics_tables
from aff_toolkit.cli.console import (
    DEFAULT_BUNDLE,
    JsonOption,
    bundle_named,
    exit_on_error,
    find_default_bundle,
    messages,
    output,
    print_json,
)

if TYPE_CHECKING:
    from aff_toolkit.training.recipe import TrainingRecipe
    from aff_toolkit.training.stages.train_bundle import TrainingOutcome

_NO_GAIN = 3
_FOLDERS_LEFT_OUT = 4
_USAGE = (
    "pass a recipe; or --images with your own photographs; or --gallery-bundle, --query-backbone and --images for a "
    "new query encoder"
)


def train(
    out: Annotated[Path, typer.Option(help="Directory of the new bundle.")],
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe in TOML, or the name of one of the package's, such as photos.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Your own photographs: a folder, with one subfolder per instance or without labels; a CSV file with "
            "the columns path and instance; or train_clean.csv of Google Landmarks v2."
        ),
    ] = None,
    labelled: Annotated[
        bool | None,
        typer.Option(
            "--labelled/--unlabelled",
            help="With --images: whether each subfolder is one instance, or the subfolders are albums. Default: "
            "decided by the folder's structure; you are prompted if the subfolders look like albums.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        Path, typer.Option(callback=find_default_bundle, help="With --images: bundle to start from, path or name.")
    ] = DEFAULT_BUNDLE,
    gallery_side: Annotated[
        Literal["keep", "train"] | None,
        typer.Option(
            help="With --images: keep the gallery side of the base, so that indexed galleries stay valid, or train the "
            "mixer too, by labels or by groups of similar photographs. Default: train with labels, keep without.",
            show_default=False,
        ),
    ] = None,
    gallery_bundle: Annotated[
        Path | None,
        typer.Option(callback=bundle_named, help="Train only a query encoder, for the space of this bundle."),
    ] = None,
    query_backbone: Annotated[
        str | None, typer.Option(help="With --gallery-bundle: network of the query encoder: residual-32, timm:NAME.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="With --images: a CSV file with the columns path and instance, and optionally role (query, gallery, "
            "distractor), on which the bundle is evaluated. It is not used for training."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="With --images: passes over the photographs.")] = None,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            help="Directory of logs, features and checkpoints, from which a killed run resumes. Default: "
            "out/train/NAME, where NAME is the name of the bundle's directory.",
            show_default=False,
        ),
    ] = None,
    tracker: Annotated[list[str] | None, typer.Option(help="tensorboard (default) or wandb; repeatable.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a gallery mixer and a query encoder, evaluate them, and write them as a bundle.

    With --images, some photographs are held out, and the better of the trained bundle and its base on them is written.
    Exit status 3: no gain, so the base was written; 4: some folders could not be read.
    """
    from aff_toolkit.data.training_source import absent_sources, describe_sources, left_out_folders  # noqa: PLC0415
    from aff_toolkit.training.default_recipe import recipe_for_path  # noqa: PLC0415
    from aff_toolkit.training.engine.work_directory import TrainingLog  # noqa: PLC0415
    from aff_toolkit.training.recipe import load_recipe  # noqa: PLC0415
    from aff_toolkit.training.stages.evaluate_bundle import protocols_of_recipe  # noqa: PLC0415 - torch takes seconds
    from aff_toolkit.training.stages.held_out import protocol_of_labels  # noqa: PLC0415
    from aff_toolkit.training.stages.train_bundle import TrainBundle  # noqa: PLC0415

    console = messages if _is_main_process() else Console(quiet=True)
    with exit_on_error(as_json and _is_main_process()):
        for_images = {"--labels": labels, "--epochs": epochs, "--gallery-side": gallery_side, "--labelled": labelled}
        _require_one_mode(recipe, images, gallery_bundle, query_backbone, for_images)
        if recipe is not None:
            settings = load_recipe(recipe)
            for line in describe_sources(settings.sources):
                console.print(line)
        else:
            assert images is not None, "_require_one_mode requires it"
            labelled = settle_labels(images, labelled, console, prompt=_can_prompt() and not as_json)
            settings = recipe_for_path(
                images,
                gallery_bundle or base,
                gallery="keep" if gallery_bundle else gallery_side,
                backbone=query_backbone,
                epochs=epochs,
                labelled=labelled,
            )
        for path in absent_sources(settings.sources):
            messages.print(f"without the photographs of {path}: the file does not exist")
        left_out = left_out_folders(settings.sources)
        protocols = protocols_of_recipe(settings)
        if labels is not None:
            protocols.append(protocol_of_labels(labels))
        work = work_dir or Path("out/train") / out.resolve().name
        log = TrainingLog(work, console, tracker or settings.trackers, settings.model_dump(mode="json"))
        outcome = TrainBundle(settings, work, log).run(out, protocols)
    if not _is_main_process():
        return
    if as_json:
        judgement = None if outcome.judgement is None else outcome.judgement.model_dump(mode="json")
        print_json(outcome.manifest.model_dump(mode="json") | {"judgement": judgement})
    else:
        _print_outcome(outcome, out, settings)
    raise typer.Exit(_status(outcome, settings, left_out))


def settle_labels(images: Path, labelled: bool | None, console: Console, *, prompt: bool) -> bool | None:
    """Print how the photographs of a path are interpreted, and return whether its subfolders are instances.

    Args:
        images: A folder or a list.
        labelled: Value of the option; None if it is not set.
        console: Console for the description.
        prompt: Whether the user can be prompted.

    Returns:
        None if the form of the path decides.

    Raises:
        LabelsUnclearError: The subfolders look like albums, and the user cannot be prompted.
    """
    from aff_toolkit.data.folder import look_like_albums, survey_folder  # noqa: PLC0415 - torch takes seconds
    from aff_toolkit.data.photograph_source import FolderSource, source_of_path  # noqa: PLC0415
    from aff_toolkit.data.training_source import describe_source, name_some  # noqa: PLC0415
    from aff_toolkit.errors import LabelsUnclearError  # noqa: PLC0415

    source = source_of_path(images, labelled=labelled)
    for line in describe_source(source, options=labelled is None):
        console.print(line)
    if labelled is not None or not isinstance(source, FolderSource):
        return labelled
    folders = survey_folder(images).images
    if not look_like_albums(folders):
        return None
    if not prompt:
        raise LabelsUnclearError(
            f"its subfolders look like albums ({name_some(list(folders))}): use --unlabelled if they are, or "
            "--labelled if each contains photographs of one thing",
            item=str(images),
        )
    labelled = typer.confirm("These look like albums. Does each subfolder contain photographs of one thing?", err=True)
    if not labelled:
        for line in describe_source(source_of_path(images, labelled=False)):
            console.print(line)
    return labelled


def _status(outcome: TrainingOutcome, recipe: TrainingRecipe, left_out: Sequence[str]) -> int:
    """Return the exit status of a finished training; folders that were left out are reported."""
    if left_out:
        messages.print(f"{len(left_out)} folders could not be read; their photographs were left out")
        return _FOLDERS_LEFT_OUT
    return _NO_GAIN if _keeps_base(outcome, recipe) else 0


def _print_outcome(outcome: TrainingOutcome, out: Path, recipe: TrainingRecipe) -> None:
    """Print what was written, its figures, and the next commands."""
    manifest, judgement = outcome.manifest, outcome.judgement
    if judgement is not None and recipe.evaluation.keep == "better":
        output.print(f"{judgement.describe()}.\nJudged by {judgement.protocol}.")
    if _keeps_base(outcome, recipe):
        assert recipe.base is not None, "the base was kept"
        output.print(
            f"{out} is a copy of {recipe.base.bundle}, with a report of the training. "
            f"Next: aff serve --bundle {recipe.base.bundle}"
        )
        return
    for table in metrics_tables(manifest.metrics):
        output.print(table)
    for protocol in fallen(manifest.metrics):
        messages.print(
            f"Warning: asymmetric search is less accurate than before ({protocol}). More photographs or fewer --epochs "
            "may help; figures of few queries are uncertain."
        )
    output.print(
        f"{out}: bundle {manifest.title}. "
        f"Next: aff bundle inspect {out}; then aff serve --bundle {out} --gallery-dir NEW, or for an existing gallery: "
        f"aff gallery build SOURCE --bundle {out}, aff gallery switch"
    )


def _keeps_base(outcome: TrainingOutcome, recipe: TrainingRecipe) -> bool:
    """Return whether the base was written rather than the trained bundle."""
    return recipe.evaluation.keep == "better" and outcome.judgement is not None and outcome.judgement.kept == "base"


def _require_one_mode(
    recipe: Path | None, images: Path | None, gallery_bundle: Path | None, query_backbone: str | None, for_images: Any
) -> None:
    """Reject options that contradict each other."""
    if (recipe is None) == (images is None):
        raise InvalidParameterError(_USAGE, item="RECIPE")
    if (gallery_bundle is None) != (query_backbone is None) or (gallery_bundle and recipe):
        raise InvalidParameterError(_USAGE, item="--gallery-bundle")
    useless = [option for option, value in for_images.items() if value is not None] if recipe else []
    if gallery_bundle and for_images["--gallery-side"]:
        useless.append("--gallery-side")
    if useless:
        raise InvalidParameterError("has no effect with a recipe or with --gallery-bundle", item=useless[0])


def _can_prompt() -> bool:
    """Return whether the standard input is a terminal and there is only one process."""
    return sys.stdin.isatty() and os.environ.get("WORLD_SIZE", "1") == "1"


def _is_main_process() -> bool:
    """Return whether this is the main process of `accelerate launch`."""
    return os.environ.get("RANK", "0") == "0"
