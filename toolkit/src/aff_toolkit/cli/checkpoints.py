"""`aff checkpoints`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aff_toolkit.cli.console import JsonOption, exit_on_error, output, print_json

app = typer.Typer(help="Convert released checkpoints into extractors.", no_args_is_help=True)


@app.command("list")
def list_formats(as_json: JsonOption = False) -> None:
    """Show the supported formats."""
    from aff_toolkit.weights.convert_checkpoint import CHECKPOINT_FORMATS  # noqa: PLC0415 - torch takes seconds

    if as_json:
        print_json([{"name": form.name, "source": form.source} for form in CHECKPOINT_FORMATS.values()])
        return
    for form in CHECKPOINT_FORMATS.values():
        output.print(f"{form.name:22} {form.source}")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="Released checkpoint, .pth or .pyth.")],
    directory: Annotated[Path, typer.Argument(metavar="OUT", help="Directory for the weights and the specification.")],
    form: Annotated[str, typer.Option("--as", help="Format of the checkpoint; see `aff checkpoints list`.")],
    as_json: JsonOption = False,
) -> None:
    """Check all weights of a checkpoint, and write them as safetensors with the specification of an extractor."""
    from aff_toolkit.weights.convert_checkpoint import convert_checkpoint, format_named  # noqa: PLC0415 - torch

    with exit_on_error(as_json):
        spec = convert_checkpoint(file, format_named(form), directory)
    if as_json:
        print_json(spec.model_dump(mode="json"))
        return
    path = directory / str(spec.weights)
    output.print(
        f"{path}: weights; {path.with_suffix('.json')}: specification. Next: set the specification in a recipe"
    )
