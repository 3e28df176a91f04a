"""`aff train RECIPE`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aff_toolkit.cli.console import JsonOption, errors_told, messages, output, print_json


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe in TOML, for example toolkit/configs/tiny.toml.")],
    out: Annotated[Path, typer.Option(help="Directory of the new bundle.")],
    work_dir: Annotated[
        Path, typer.Option(help="Directory of logs, features and checkpoints; a killed run goes on from it.")
    ] = Path("out/train"),
    as_json: JsonOption = False,
) -> None:
    """Train extractor, mixer and query encoder by a recipe, and write a measured bundle."""
    from aff_toolkit.evaluation.protocols import protocols_of_recipe  # noqa: PLC0415 - torch takes seconds
    from aff_toolkit.training.recipe import load_recipe  # noqa: PLC0415
    from aff_toolkit.training.train_bundle import TrainBundle  # noqa: PLC0415
    from aff_toolkit.training.training_log import TrainingLog  # noqa: PLC0415
    from aff_toolkit.training.training_source import absent_sources  # noqa: PLC0415

    with errors_told(as_json):
        settings = load_recipe(recipe)
        work_dir.mkdir(parents=True, exist_ok=True)
        for path in absent_sources(settings.sources):
            messages.print(f"without the photographs of {path}: there is no such file")
        protocols = protocols_of_recipe(settings)
        manifest = TrainBundle(settings, work_dir, TrainingLog(work_dir, messages)).run(out, protocols)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    else:
        output.print(
            f"{out}: bundle {manifest.name}, fingerprint {manifest.fingerprint[:12]}. "
            f"Next: aff bundle inspect {out}, or aff serve --bundle {out}"
        )
