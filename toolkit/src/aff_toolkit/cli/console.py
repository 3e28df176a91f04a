"""What the subcommands share: options, progress bars, results on standard output, messages and errors on standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from aff_client import ForeignAnswerError, ServiceError
from aff_shared.bundles.default_bundle import DEFAULT_BUNDLE, default_bundle
from aff_shared.errors import AffError
from aff_shared.schemas.problem import problem_of

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
# Commands to terminals, what turns the direction of writing around it, line separators, and halves of UTF-16 pairs.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
__all__ = [
    "DEFAULT_BUNDLE",
    "DEFAULT_INDEXER_URL",
    "DEFAULT_QUERY_URL",
    "BundlePath",
    "Device",
    "IndexerUrl",
    "QueryUrl",
    "find_default_bundle",
]
IndexerUrl = Annotated[
    str, typer.Option("--indexer-url", envvar="AFF_INDEXER_URL", help="Address of the gallery indexer.")
]
QueryUrl = Annotated[str, typer.Option("--query-url", envvar="AFF_QUERY_URL", help="Address of the query service.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto for CUDA where there is a card.")]
DEFAULT_INDEXER_URL = "http://127.0.0.1:8002"
DEFAULT_QUERY_URL = "http://127.0.0.1:8001"


class _PlainConsole(Console):
    """Prints texts as they are: no markup in square brackets, and no commands to the terminal in control characters."""

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console: what every text and every cell of a table becomes."""
        return super().render_str(printable(text, keep="\n\t"), **options)


output = _PlainConsole(stderr=False)
messages = _PlainConsole(stderr=True)


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


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text with control characters written as escapes such as `\x1b` and `\u202e`.

    Args:
        text: Such as a file name.
        keep: Control characters that stay.
    """
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}"  # noqa: PLR2004


def find_default_bundle(context: typer.Context, option: typer.CallbackParam, given: Path) -> Path:
    """Return the bundle that an option names, or the default one, wherever the command runs."""
    source = context.get_parameter_source(str(option.name))
    return default_bundle() if source is not None and source.name == "DEFAULT" else given


BundlePath = Annotated[
    Path, typer.Option("--bundle", callback=find_default_bundle, help="Directory of the model bundle.")
]
