"""`aff protocol`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from aff_shared.errors import InvalidParameterError
from aff_toolkit.cli.console import JsonOption, exit_on_error, output, print_json

app = typer.Typer(help="Create CSV files for `aff evaluate csv`.", no_args_is_help=True)


@app.callback()
def protocol() -> None:
    """Create CSV files for `aff evaluate csv`."""


@app.command()
def frames(
    frames_csv: Annotated[
        Path,
        typer.Argument(
            metavar="FRAMES_CSV",
            help="CSV file with the columns path, instance (the video or walk) and frame (a number).",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="CSV file to write.")],
    role: Annotated[str | None, typer.Option(help="Use only rows with this value in the column role.")] = None,
    query_every: Annotated[int, typer.Option(min=2, help="The first row and every n-th row after it are queries.")] = 3,
    positive_within: Annotated[
        float, typer.Option(min=0, help="Frames of the query's video are positives up to this difference.")
    ] = 2,
    junk_within: Annotated[
        float,
        typer.Option(
            min=0, help="Frames beyond --positive-within are junk up to this difference, and negatives beyond it."
        ),
    ] = 5,
    as_json: JsonOption = False,
) -> None:
    """Create queries, gallery, positives and junk from the frames of videos or walks."""
    from aff_toolkit.evaluation.protocols import frames_protocol, write_protocol  # noqa: PLC0415 - slow imports

    with exit_on_error(as_json):
        if out.resolve() == frames_csv.resolve():
            raise InvalidParameterError("is the input file; choose another one", item="OUT")
        rows = frames_protocol(
            frames_csv,
            role=role,
            query_every=query_every,
            positive_within=positive_within,
            junk_within=junk_within,
        )
        write_protocol(rows, frames_csv.parent, out)
    roles = Counter(row.role for row in rows)
    positives = sum(len(row.positives) for row in rows)
    if as_json:
        print_json({"file": str(out), "queries": roles["query"], "gallery": roles["gallery"], "positives": positives})
        return
    output.print(
        f"{out}: {roles['query']} queries with {positives} positives, {roles['gallery']} gallery images. Next: "
        f"aff evaluate csv {out}"
    )
