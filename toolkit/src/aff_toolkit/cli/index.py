"""`aff index FOLDER`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from aff_toolkit.cli.console import JsonOption, errors_told, images_bar, messages, output, print_json
from aff_toolkit.cli.options import DEFAULT_INDEXER_URL, IndexerUrl
from aff_toolkit.client import IndexerClient
from aff_toolkit.folder_indexing import FolderSummary, find_photographs, index_folder

_SHOWN_FAILURES = 20


def index(
    folder: Annotated[Path, typer.Argument(help="Folder of photographs; subfolders are included.")],
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Put a folder of photographs into the gallery; running it again adds only what is new or changed."""
    with errors_told(as_json), IndexerClient(indexer_url) as client:
        paths = find_photographs(folder)
        with images_bar("indexing", len(paths)) as advance:
            summary = index_folder(client, folder, paths, advance)
        count = client.gallery().count
    if as_json:
        failures = {name: problem.model_dump() for name, problem in summary.failures.items()}
        print_json({**asdict(summary), "failures": failures, "gallery_images": count})
    else:
        _tell(summary, count)


def _tell(summary: FolderSummary, count: int) -> None:
    for name, problem in list(summary.failures.items())[:_SHOWN_FAILURES]:
        messages.print(f"  not indexed: {name}: {problem.detail}")
    if len(summary.failures) > _SHOWN_FAILURES:
        messages.print(f"  and {len(summary.failures) - _SHOWN_FAILURES} more (--json lists all)")
    output.print(
        f"{summary.indexed} indexed, {summary.updated} updated, {summary.duplicate} already there, "
        f"{len(summary.failures)} not indexed; the gallery holds {count} images. Next: aff search PHOTO"
    )
