"""How every subcommand speaks: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from aff_client import ForeignAnswerError, ServiceError
from aff_shared.errors import AffError
from aff_shared.schemas.problem import problem_of
from aff_toolkit.cli.printable import printable


class _PlainConsole(Console):
    """Prints texts as they are: no markup in square brackets, and no commands to the terminal in control characters."""

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console: what every text and every cell of a table becomes."""
        return super().render_str(printable(text, keep="\n\t"), **options)


output = _PlainConsole(stderr=False)
messages = _PlainConsole(stderr=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def print_json(document: Any) -> None:
    """Print a JSON document for machines, unwrapped and uncoloured; escaped where it is not safe to show."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    encoding = sys.stdout.encoding or "utf-8"
    shown = printable(text, keep="\n").encode(encoding, "replace").decode(encoding)
    typer.echo(text if shown == text else json.dumps(document, indent=2))


@contextmanager
def exit_on_error(as_json: bool) -> Iterator[None]:
    """End the command with status 1, and the error told in words, or as a problem (the service's own, if any)."""
    try:
        yield
    except AffError as error:
        if as_json:
            theirs = (ServiceError, ForeignAnswerError)
            problem = error.problem if isinstance(error, theirs) else problem_of(error, local=True)
            print_json(problem.model_dump())
        else:
            words = str(error).replace(error.item or "", printable(error.item or ""))
            messages.print(f"{type(error).title}: ", style="red", end="")
            messages.print(words)
        raise typer.Exit(1) from error


@contextmanager
def images_bar(description: str, total: int | None) -> Iterator[Any]:
    """Show a bar with images per second and the time that remains, where the total is known.

    Yields the function that advances it, and sets the total where that is known only now.
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

        def advance(images: int, total: int | None = total) -> None:
            bar.advance(task, images)
            speed = bar.tasks[0].speed
            bar.update(task, total=total, rate=f"{speed:.0f} images/s" if speed else "")

        yield advance
