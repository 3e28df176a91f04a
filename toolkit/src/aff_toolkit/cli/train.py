"""`aff train`: by a recipe, for one's own photographs, or a new query encoder for a gallery that stands."""

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
    exit_on_error,
    find_default_bundle,
    messages,
    output,
    print_json,
)
from aff_toolkit.cli.settle_labels import settle_labels

if TYPE_CHECKING:
    from aff_toolkit.training.recipe.training_recipe import TrainingRecipe
    from aff_toolkit.training.stages.train_bundle import TrainingOutcome

_NOTHING_GAINED = 3
_FOLDERS_LEFT_OUT = 4
_ONE_WAY = (
    "give a recipe, or --images for your own photographs, or --gallery-bundle with --query-backbone and --images for a "
    "new query encoder"
)


def train(
    out: Annotated[Path, typer.Option(help="Directory of the new bundle.")],
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe in TOML, for example toolkit/configs/photos.toml.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Your own photographs: a folder, with a subfolder per instance or without labels; a CSV file with the "
            "columns path and instance; or GLDv2's train_clean.csv."
        ),
    ] = None,
    labelled: Annotated[
        bool | None,
        typer.Option(
            "--labelled/--unlabelled",
            help="With --images: whether each subfolder holds one thing, or subfolders are albums. Default: by what "
            "lies there; asked about where they look like albums.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        Path, typer.Option(callback=find_default_bundle, help="With --images: the bundle to start from.")
    ] = DEFAULT_BUNDLE,
    gallery: Annotated[
        Literal["keep", "train"] | None,
        typer.Option(
            help="With --images: keep the gallery side of the base, whose indexed galleries stay valid, or train the "
            "mixer too: by labels, or by groups of alike photographs. Default: train with labels, keep without.",
            show_default=False,
        ),
    ] = None,
    gallery_bundle: Annotated[
        Path | None, typer.Option(help="Train a query encoder alone, for the embedding space of this bundle.")
    ] = None,
    query_backbone: Annotated[
        str | None, typer.Option(help="With --gallery-bundle: network of the query encoder, for example residual-32.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="With --images: a CSV file with the columns path and instance, and perhaps role (query, gallery, "
            "distractor), that the bundle is judged by. Nothing is learned from it."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="With --images: passes over the photographs.")] = None,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            help="Directory of logs, features and checkpoints; a killed run goes on from it. Default: below out/train, "
            "named after the bundle's directory.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a pair of encoders, and write a measured bundle: by a recipe, or for your own photographs.

    Some of your own photographs are held out, and what is written is the better of the trained bundle and its base on
    them. Status 3 where nothing was gained, so that it is the base; 4 where folders could not be read.
    """
    from aff_toolkit.data.training_source import (  # noqa: PLC0415
        absent_sources,
        describe_sources,
        left_out_folders,
    )
    from aff_toolkit.training.engine.training_log import TrainingLog  # noqa: PLC0415
    from aff_toolkit.training.recipe.default_recipe import recipe_for_path  # noqa: PLC0415
    from aff_toolkit.training.recipe.training_recipe import load_recipe  # noqa: PLC0415
    from aff_toolkit.training.stages.evaluate_bundle import protocols_of_recipe  # noqa: PLC0415 - torch takes seconds
    from aff_toolkit.training.stages.held_out import protocol_of_labels  # noqa: PLC0415
    from aff_toolkit.training.stages.train_bundle import TrainBundle  # noqa: PLC0415

    console = messages if _is_main_process() else Console(quiet=True)
    # One document on standard output, whichever processes fail; the others tell in words.
    with exit_on_error(as_json and _is_main_process()):
        _require_one_way(
            recipe,
            images,
            gallery_bundle,
            query_backbone,
            {"--labels": labels, "--epochs": epochs, "--gallery": gallery, "--labelled": labelled},
        )
        if recipe is not None:
            settings = load_recipe(recipe)
            for line in describe_sources(settings.sources):
                console.print(line)
        else:
            assert images is not None, "_require_one_way sees to it"
            labelled = settle_labels(images, labelled, console, ask=_can_ask() and not as_json)
            settings = recipe_for_path(
                images,
                gallery_bundle or base,
                gallery="keep" if gallery_bundle else gallery,
                backbone=query_backbone,
                epochs=epochs,
                labelled=labelled,
            )
        for path in absent_sources(settings.sources):
            messages.print(f"without the photographs of {path}: there is no such file")
        left_out = left_out_folders(settings.sources)
        protocols = protocols_of_recipe(settings)
        if labels is not None:
            protocols.append(protocol_of_labels(labels))
        work = work_dir or Path("out/train") / out.resolve().name
        outcome = TrainBundle(settings, work, TrainingLog(work, console)).run(out, protocols)
    if not _is_main_process():
        return
    if as_json:
        judgement = None if outcome.judgement is None else outcome.judgement.model_dump(mode="json")
        print_json(outcome.manifest.model_dump(mode="json") | {"judgement": judgement})
    else:
        _tell(outcome, out, settings)
    raise typer.Exit(_status(outcome, settings, left_out))


def _status(outcome: TrainingOutcome, recipe: TrainingRecipe, left_out: Sequence[str]) -> int:
    """Return the status of a training that came to its end, having told of the folders that were left out."""
    if left_out:
        messages.print(f"{len(left_out)} folders could not be read: what lies in them was left out")
        return _FOLDERS_LEFT_OUT
    return _NOTHING_GAINED if _keeps_base(outcome, recipe) else 0


def _tell(outcome: TrainingOutcome, out: Path, recipe: TrainingRecipe) -> None:
    """Print what was written, how good it is, and what comes next."""
    manifest, judgement = outcome.manifest, outcome.judgement
    if judgement is not None and recipe.evaluation.keep == "better":
        output.print(f"{judgement.describe()}.\nJudged by {judgement.protocol}.")
    if _keeps_base(outcome, recipe):
        assert recipe.base is not None, "it was kept"
        output.print(
            f"{out} is a copy of {recipe.base.bundle}, beside the report of the training. "
            f"Next: aff serve --bundle {recipe.base.bundle}"
        )
        return
    for table in metrics_tables(manifest.metrics):
        output.print(table)
    for protocol in fallen(manifest.metrics):
        messages.print(
            f"Warning: asymmetric search finds less than before ({protocol}). More photographs or fewer --epochs may "
            "help; what is measured on few queries says little."
        )
    output.print(
        f"{out}: bundle {manifest.title}. "
        f"Next: aff bundle inspect {out}; then aff serve --bundle {out} --gallery NEW, or for a gallery that is there: "
        f"aff gallery build SOURCE --bundle {out}, aff gallery switch"
    )


def _keeps_base(outcome: TrainingOutcome, recipe: TrainingRecipe) -> bool:
    """Return whether the base was kept rather than what was trained."""
    return recipe.evaluation.keep == "better" and outcome.judgement is not None and outcome.judgement.kept == "base"


def _require_one_way(
    recipe: Path | None,
    images: Path | None,
    gallery_bundle: Path | None,
    query_backbone: str | None,
    for_images: dict[str, Any],
) -> None:
    """Raise unless the options say one thing."""
    if (recipe is None) == (images is None):
        raise InvalidParameterError(_ONE_WAY, item="RECIPE")
    if (gallery_bundle is None) != (query_backbone is None) or (gallery_bundle and recipe):
        raise InvalidParameterError(_ONE_WAY, item="--gallery-bundle")
    useless = [option for option, value in for_images.items() if value is not None] if recipe else []
    if gallery_bundle and for_images["--gallery"]:
        useless.append("--gallery")
    if useless:
        raise InvalidParameterError("says nothing here: a recipe or a kept gallery side decides it", item=useless[0])


def _can_ask() -> bool:
    """Return whether somebody sits at the terminal of the one process."""
    return sys.stdin.isatty() and os.environ.get("WORLD_SIZE", "1") == "1"


def _is_main_process() -> bool:
    """Tell the process that speaks from the others of `accelerate launch`."""
    return os.environ.get("RANK", "0") == "0"
