"""How every subcommand speaks: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from aff_contracts.client import ServiceError
from aff_contracts.errors import AffError
from aff_contracts.schemas.problem import problem_of

# Names of files and payloads are printed as they are: their square brackets are no markup.
output = Console(highlight=False, markup=False, soft_wrap=True)
messages = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def print_json(document: Any) -> None:
    """Print a JSON document for machines, unwrapped and uncoloured."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@contextmanager
def errors_told(as_json: bool) -> Iterator[None]:
    """End the command with status 1, and the error told in words, or as a problem (the service's own, if any)."""
    try:
        yield
    except AffError as error:
        if as_json:
            problem = error.problem if isinstance(error, ServiceError) else problem_of(error, local=True)
            print_json(problem.model_dump())
        else:
            messages.print(Text.assemble((f"{type(error).title}: ", "red"), str(error)))
        raise typer.Exit(1) from error


@contextmanager
def images_bar(description: str, total: int | None) -> Iterator[Any]:
    """Show a bar with images per second and the time that remains, where the total is known.

    Yields the function that advances it.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages) as bar:
        task = bar.add_task(description, total=total, rate="")

        def advance(images: int) -> None:
            bar.advance(task, images)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:.0f} images/s" if speed else "")

        yield advance
