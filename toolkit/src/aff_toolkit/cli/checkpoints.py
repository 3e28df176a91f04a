"""`aff checkpoints`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aff_toolkit.cli.console import JsonOption, exit_on_error, output, print_json

app = typer.Typer(help="Convert checkpoints that others released.", no_args_is_help=True)


@app.command("list")
def list_formats(as_json: JsonOption = False) -> None:
    """Show the formats that can be converted."""
    from aff_toolkit.weights.convert_checkpoint import CHECKPOINT_FORMATS  # noqa: PLC0415 - torch takes seconds

    if as_json:
        print_json([{"name": form.name, "source": form.source} for form in CHECKPOINT_FORMATS.values()])
        return
    for form in CHECKPOINT_FORMATS.values():
        output.print(f"{form.name:22} {form.source}")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="What the authors released: .pth or .pyth.")],
    directory: Annotated[Path, typer.Argument(metavar="OUT", help="Where weights and specification go.")],
    form: Annotated[str, typer.Option("--as", help="Format; `aff checkpoints list` shows them.")],
    as_json: JsonOption = False,
) -> None:
    """Check every weight of a checkpoint, and write safetensors with an extractor's specification."""
    from aff_toolkit.weights.convert_checkpoint import (
        convert_checkpoint,  # noqa: PLC0415
        format_named,  # noqa: PLC0415 - torch takes seconds
    )

    with exit_on_error(as_json):
        spec = convert_checkpoint(file, format_named(form), directory)
    if as_json:
        print_json(spec.model_dump(mode="json"))
        return
    path = directory / str(spec.weights)
    output.print(f"{path}: the weights, and {path.with_suffix('.json')}. Next: name the latter in a recipe")
