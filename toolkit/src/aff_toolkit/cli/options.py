"""Options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

IndexerUrl = Annotated[
    str, typer.Option("--indexer-url", envvar="AFF_INDEXER_URL", help="Address of the gallery indexer.")
]
QueryUrl = Annotated[str, typer.Option("--query-url", envvar="AFF_QUERY_URL", help="Address of the query service.")]
BundlePath = Annotated[Path, typer.Option("--bundle", help="Directory of the model bundle.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto for CUDA where there is a card.")]

DEFAULT_INDEXER_URL = "http://127.0.0.1:8002"
DEFAULT_QUERY_URL = "http://127.0.0.1:8001"
DEFAULT_BUNDLE = Path("bundles/tiny")
