"""`aff openapi DIRECTORY`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from aff_toolkit.cli.console import JsonOption, output, print_json


def openapi(
    directory: Annotated[Path, typer.Argument(help="Directory for the documents.")], as_json: JsonOption = False
) -> None:
    """Write the OpenAPI document of each service."""
    from gallery_indexer.app import create_app as create_indexer_app  # noqa: PLC0415 - torch takes seconds
    from gallery_indexer.settings import IndexerSettings  # noqa: PLC0415
    from query_api.app import create_app as create_query_app  # noqa: PLC0415
    from query_api.settings import QuerySettings  # noqa: PLC0415

    documents = {
        "gallery_indexer": create_indexer_app(IndexerSettings()).openapi(),
        "query_api": create_query_app(QuerySettings()).openapi(),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (directory / f"{name}.json").write_text(text, encoding="utf-8")
    if as_json:
        print_json({name: str(directory / f"{name}.json") for name in documents})
    else:
        output.print(f"{', '.join(f'{name}.json' for name in documents)} written to {directory}")
