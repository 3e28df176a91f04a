"""Options, output, errors and progress bars of all subcommands.

Results go to standard output, progress and errors to standard error.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from aff_shared.bundles.default_bundle import DEFAULT_BUNDLE, default_bundle
from aff_shared.errors import AffError, InvalidFilterError

__all__ = [
    "DEFAULT_BUNDLE",
    "DEFAULT_INDEXER_URL",
    "DEFAULT_QUERY_URL",
    "BundlePath",
    "Device",
    "FilterOption",
    "IndexerUrl",
    "JsonOption",
    "QueryUrl",
    "bundle_named",
    "exit_on_error",
    "find_default_bundle",
    "images_bar",
    "messages",
    "output",
    "payload_filter",
    "print_json",
    "printable",
]

DEFAULT_INDEXER_URL = "http://127.0.0.1:8002"
DEFAULT_QUERY_URL = "http://127.0.0.1:8001"

# Terminal commands, changes of the writing direction, line separators, and halves of UTF-16 pairs.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def find_default_bundle(context: typer.Context, option: typer.CallbackParam, given: Path) -> Path:
    """Return the bundle of an option, or the default bundle if the option is not set."""
    source = context.get_parameter_source(str(option.name))
    return default_bundle() if source is not None and source.name == "DEFAULT" else bundle_named(given) or given


def bundle_named(given: Path | None) -> Path | None:
    """Return the directory of a bundle: a path, or the name of a bundle in the directory of the default bundle."""
    if given is None or given.exists() or len(given.parts) != 1:
        return given
    named = default_bundle().parent / given
    return named if named.is_dir() else given


JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
IndexerUrl = Annotated[
    str, typer.Option("--indexer-url", envvar="AFF_INDEXER_URL", help="Address of the gallery indexer.")
]
QueryUrl = Annotated[str, typer.Option("--query-url", envvar="AFF_QUERY_URL", help="Address of the query service.")]
BundlePath = Annotated[
    Path, typer.Option("--bundle", callback=find_default_bundle, help="Path or name of the model bundle.")
]
FilterOption = Annotated[
    str | None,
    typer.Option("--filter", help="Payload filter: KEY=VALUE, or JSON (docs/searching.md)."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto (CUDA if available).")]


def payload_filter(text: str | None) -> dict[str, Any] | None:
    """Return the payload filter of an option: JSON, or `key=value`, in which the value is JSON or text.

    Raises:
        InvalidFilterError: The text is neither.
    """
    if text is None:
        return None
    key, separator, value = text.partition("=")
    shorthand = bool(separator) and not text.lstrip().startswith("{")
    try:
        parsed = json.loads(value if shorthand else text)
    except ValueError as error:
        if not shorthand:
            raise InvalidFilterError(f"is neither KEY=VALUE nor JSON: {error}", item="--filter") from error
        parsed = value
    if shorthand:
        return {"must": [{"key": key, "match": parsed}]}
    if not isinstance(parsed, dict):
        raise InvalidFilterError("is not a JSON object", item="--filter")
    return parsed


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text with control characters written as escapes such as `\x1b` and `\u202e`.

    Args:
        text: Text such as a file name.
        keep: Control characters that are kept.
    """
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}"  # noqa: PLR2004


class _PlainConsole(Console):
    """Console without markup in square brackets, which escapes control characters."""

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a text or a cell of a table; see Console."""
        return super().render_str(printable(text, keep="\n\t"), **options)


output = _PlainConsole(stderr=False)
messages = _PlainConsole(stderr=True)


def print_json(document: Any) -> None:
    """Print a JSON document, unwrapped and uncoloured; characters that are unsafe to print are escaped."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    encoding = sys.stdout.encoding or "utf-8"
    shown = printable(text, keep="\n").encode(encoding, "replace").decode(encoding)
    typer.echo(text if shown == text else json.dumps(document, indent=2))


@contextmanager
def exit_on_error(as_json: bool) -> Iterator[None]:
    """Print an error as text, or as a JSON problem (the service's, if it sent one), and exit with status 1."""
    try:
        yield
    except AffError as error:
        if as_json:
            from aff_client import ForeignAnswerError, ServiceError  # noqa: PLC0415 - httpx takes 0.2 s
            from aff_shared.schemas.problem import problem_of  # noqa: PLC0415

            theirs = (ServiceError, ForeignAnswerError)
            problem = error.problem if isinstance(error, theirs) else problem_of(error, local=True)
            print_json(problem.model_dump())
        else:
            words = str(error).replace(error.item or "", printable(error.item or ""))
            messages.print(f"{type(error).title}: ", style="red", end="")
            messages.print(words)
        raise typer.Exit(1) from error


@contextmanager
def images_bar(description: str, total: int | None, failed: Callable[[], int] = lambda: 0) -> Iterator[Any]:
    """Show a bar with images per second, the number of failures, and the remaining time if the total is known.

    Args:
        description: Text before the bar.
        total: Number of images; None if it is not known yet.
        failed: Returns the number of failed images.

    Yields:
        A function that advances the bar by a number of images, and sets the total if one is passed.
    """
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[failed]}", style="red"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages) as bar:
        task = bar.add_task(description, total=total, rate="", failed="")

        def advance(images: int, total: int | None = total) -> None:
            bar.advance(task, images)
            speed, failures = bar.tasks[0].speed, failed()
            bar.update(
                task,
                total=total,
                rate=f"{speed:.0f} images/s" if speed else "",
                failed=f"{failures} failed" if failures else "",
            )

        yield advance
